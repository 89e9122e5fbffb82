"""Models, or builds and settings of one, side by side at the same batch and prompt length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, permutations

from journal import units
from journal.compare.beside import Beside, Verdicts, judged_together
from journal.compare.difference import ALIKE
from journal.compare.points import Point, Points, lines
from journal.compare.ratios import Ratio
from journal.compare.room import meter
from journal.compare.token_text import characters_per_token, cut_differently
from journal.metrics.table import named
from journal.records.figure import Figure
from journal.records.load_shape import STEP_AXES
from journal.records.money import USD
from journal.report import how_measured
from journal.report.crossover_words import crossover_sentence
from journal.report.curves import figure_of, panel, plot_caption
from journal.report.day import Day
from journal.report.document import (
    Block,
    Box,
    Column,
    Panel,
    Paragraph,
    Plot,
    Section,
    Table,
    Text,
    say,
)
from journal.report.places import Places
from journal.report.sections import links
from journal.report.sections.cells_table import Quantity, figure_box, quantities, quantity
from journal.report.sections.cost import PRICES
from journal.report.verdict_words import range_words, tell

METRICS = {"throughput": "output_tokens_per_s", "ttft": "ttft_s.p50", "tpot": "tpot_s.p50"}
ENERGY = "energy_per_output_token_j"
UNITS = {"throughput": "tok/s", "characters": "chars/s", "energy": "J"}
CHARACTERS = "characters_per_s"


def side_by_side_section(points: Points, places: Places, day: Day) -> Section | None:
    """A section on the setups at cells that two or more of them share; None without such a cell."""
    shared = common(points)
    if not shared:
        return None
    blocks: list[Block] = []
    described = max(shared, key=lambda group: (group[0].load, group[0].prompt_tokens or 0))
    first = described[0]
    verdicts = setups_judged(shared)
    for other in described[1:]:
        about = (places.labels[other.setup], places.labels[first.setup])
        pair = Beside(first, other)
        sentences = tuple(_sentences(pair, verdicts))
        blocks.append(Paragraph(sentences, say("compare.about", a=about[0], b=about[1])))
        way = tuple(how_measured.measured_sentences(pair.way, about[1], about[0]))
        blocks.append(Paragraph(way))
    crossed = tuple(_crossovers(shared, places))
    blocks += [Paragraph(crossed, say("crossover.about"))] if crossed else []
    blocks.append(_table(shared, places))
    further = links.of_comparison(described, day)
    blocks += [further] if further else []
    panels = tuple(_panels(shared, places))
    blocks += [Plot(panels, plot_caption(panels))] if panels else []
    return Section(2, say("compare.heading"), tuple(blocks))


def common(points: Points) -> list[Points]:
    """The points of each cell that two or more setups measured well, in the order of setups."""
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if point.good:
            key = (point.shape, *point.lengths, point.manner)
            groups.setdefault(key, []).append(point)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def setups_judged(shared: Iterable[Points]) -> Verdicts:
    """The verdicts on all setups at the cells that they share, each against the first."""
    pairs = [Beside(group[0], other) for group in shared for other in group[1:]]
    return judged_together(pairs, (*METRICS.values(), CHARACTERS, ENERGY, *PRICES))


def _crossovers(shared: Sequence[Points], places: Places) -> Iterator[Text]:
    """Sentences on where two setups change their order, by the batches that both measured."""
    of_lines: dict[tuple[object, ...], list[Beside]] = {}
    for group in shared:
        for first, other in combinations(group, 2):
            if not first.shape.is_open:
                key = (first.setup, other.setup, *first.lengths, first.manner)
                of_lines.setdefault(key, []).append(Beside(first, other))
    several = len({first[0].prompt_tokens for first in shared}) > 1
    for pairs in of_lines.values():
        ordered = sorted(pairs, key=lambda pair: pair.first.load)
        ratios = [(p.first.load, r) for p in ordered if (r := p.ratio(METRICS["throughput"]))]
        one = ordered[0]
        labels = places.labels[one.first.setup], places.labels[one.other.setup]
        prompt = one.first.prompt_tokens if several else None
        sentence = crossover_sentence(ratios, *labels, prompt)
        if sentence is not None:
            yield sentence


def _sentences(pair: Beside, verdicts: Verdicts) -> Iterator[Text]:
    other = pair.other
    yield say(
        "compare.at_rate" if other.shape.is_open else "compare.at",
        load=other.load_text,
        prompt=units.whole(other.prompt_tokens),
    )
    for key, name in METRICS.items():
        yield from ratio_sentences(key, name, pair, verdicts)
    yield from _text(pair, verdicts)
    yield from _memory(pair.first, other)
    yield from ratio_sentences("energy", ENERGY, pair, verdicts)
    yield from _price(pair, verdicts)
    if min(pair.way.units) < 2:
        yield say("compare.repeat")


def _price(pair: Beside, verdicts: Verdicts) -> Iterator[Text]:
    """The sentence on the price of tokens, where both hosts have theirs in one currency."""
    in_usd, in_other = PRICES
    yield from ratio_sentences("cost", in_usd, pair, verdicts, USD)
    currencies = {run.facts.currency for p in (pair.first, pair.other) for run in p.good}
    if len(currencies) == 1 and (currency := next(iter(currencies))) is not None:
        yield from ratio_sentences("cost", in_other, pair, verdicts, currency)


def ratio_sentences(
    key: str, name: str, pair: Beside, verdicts: Verdicts, unit: str = ""
) -> Iterator[Text]:
    """The sentence on a metric of the other against that of the first, where both have it, by its
    verdict; in `unit`, else that of UNITS, else s."""
    judged, (a, b) = verdicts.get((pair, name)), pair.means(name)
    if judged is None:
        return
    quotient, found = judged.ratio, judged.verdict
    unit = unit or UNITS.get(key, "s")
    shown: dict[str, Text] = {
        "interval": _interval(quotient) if quotient.low is not None else "",
        "a": units.formatted(a, unit),
        "b": units.formatted(b, unit),
        "ratio": units.number(quotient.value, 3),
    }
    if found == "other":
        yield say(f"compare.{key}", **shown)
        return
    name_ = say(f"compare.name.{key}")
    if found == "open" and quotient.low is not None and quotient.high is not None:
        more = "longer" if key in ("ttft", "tpot") else "more"
        shown["range"] = range_words(quotient.low - 1, quotient.high - 1, more)
        shown["tell"] = tell(pair.repeats(name, quotient))
    yield say(f"compare.{found}", name=name_, within=units.percent(ALIKE), **shown)


def _text(pair: Beside, verdicts: Verdicts) -> Iterator[Text]:
    """The comparison in equal text, where equal numbers of tokens are not equal text."""
    first, other = pair.first, pair.other
    if cut_differently(first, other):
        a, b = (units.number(characters_per_token(point)) for point in (other, first))
        yield say("compare.tokenizers", a=a, b=b)
        yield from ratio_sentences("characters", CHARACTERS, pair, verdicts)


def _memory(first: Point, other: Point) -> Iterator[Text]:
    ours, theirs = meter(other), meter(first)
    if ours and theirs and ours[0] == theirs[0]:
        shown = {"a": units.data_size(ours[1]), "b": units.data_size(theirs[1])}
        yield say("compare.memory", meter=say(f"panel.{ours[0]}"), **shown)
    weights = other.value("weights_bytes"), first.value("weights_bytes")
    if None not in weights:
        yield say("compare.weights", a=units.data_size(weights[0]), b=units.data_size(weights[1]))


def _interval(quotient: Ratio) -> Text:
    low, high = units.number(quotient.low, 3), units.number(quotient.high, 3)
    return say("compare.interval", low=low, high=high)


def _table(shared: Sequence[Points], places: Places) -> Table:
    """A row for each setup at each shared cell; beneath each figure its ratio to the first's."""
    every = tuple(point for group in shared for point in group)
    shown = quantities(every)
    if any(cut_differently(group[0], other) for group in shared for other in group[1:]):
        tokens = [column.name for column in shown].index(METRICS["throughput"])
        shown.insert(tokens + 1, quantity(named(CHARACTERS), precise=True))
    scaled = [(column, *column.scale(every)) for column in shown]
    load = min((point.shape for point in every), key=lambda shape: shape.order).axis
    columns = (
        Column(say(f"column.{load}")),
        Column(say("column.prompt_tokens")),
        Column(say("column.setup"), numeric=False),
        *(Column(say("column.with_unit", title=q.title, unit=unit)) for q, _, unit in scaled),
    )
    rows = tuple(
        (
            Box(point.load_text),
            Box(units.whole(point.prompt_tokens)),
            Box(places.brief[point.setup]),
            *(_compared(q, factor, point, group) for q, factor, _ in scaled),
        )
        for group in shared
        for point in group
    )
    return Table(columns, rows, (say("compare.caption"),))


def _compared(column: Quantity, factor: float, point: Point, group: Points) -> Box:
    """A mean with its ratio to that of the first setup, and the ratio's interval."""
    is_first = point is group[0]
    pair = Beside(group[0], group[1] if is_first else point)
    own = pair.means(column.name)[1 if is_first else 0]
    box = figure_box(Figure(own), factor, precise=False)
    quotient = None if is_first else pair.ratio(column.name)
    if quotient is None:
        return box
    return replace(
        box, detail=times_with_interval(quotient if column.precise else Ratio(quotient.value))
    )


def times_with_interval(quotient: Ratio) -> str:
    """A ratio with its interval, in short: ×1.08 (1.02–1.14)."""
    shown = f"×{units.number(quotient.value, 3)}"
    if quotient.low is None or quotient.high is None:
        return shown
    return f"{shown} ({units.number(quotient.low, 3)}–{units.number(quotient.high, 3)})"


def _panels(shared: Sequence[Points], places: Places) -> Iterator[Panel]:
    """Plots against the batch at the longest shared prompt, else against the prompt length."""
    every = [point for group in shared for point in group]
    for across, fixed in permutations(STEP_AXES):
        values = [value for p in every if (value := getattr(p, fixed)) is not None]
        most = max(values, default=None)
        varied = lines((p for p in every if getattr(p, fixed) == most), across)
        if most is not None and len(varied) > 1:
            for key, name in METRICS.items():
                at = say(f"at.{fixed}", n=f"{most:,}")
                title = say("panel.at", title=say(f"panel.{key}"), at=at)
                unit = "tok/s" if key == "throughput" else "s"
                drawn = panel(f"models-{key}", title, unit, varied, across, figure_of(name), places)
                if drawn:
                    yield drawn
            return
