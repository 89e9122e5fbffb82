"""The page of a comparison: its sides, its findings, and its cells."""

from collections.abc import Iterator, Mapping, Sequence

from journal import units
from journal.compare.comparison import NOTICEABLE, Comparison, ComparisonRow
from journal.compare.pairing import Value
from journal.compare.starts import USUAL_SPREAD
from journal.compare.verdicts import Compared
from journal.metrics.table import named
from journal.records.load_shape import AXIS_NAMES
from journal.report import how_measured
from journal.report.crossover_words import crossover_sentence
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Page,
    Paragraph,
    Section,
    Sentence,
    Table,
    Text,
    say,
)
from journal.report.sections.cells_table import column_title

SHORT_ID = 8
MOST_IDS = 4  # of a side, named beside its figures
MOST_ALONE = 8  # cells of one side only, named
NAMED = (*AXIS_NAMES, "model", "quantisation")


def comparison_page(comparison: Comparison, *, whole_rows: bool = False) -> Page:
    """The page of `comparison`, in no language yet. With `whole_rows` each row of its table names
    its cell, and not only the first of a cell."""
    blocks: list[Block] = [Paragraph(tuple(_about(comparison)))]
    blocks.append(Paragraph(tuple(how_measured.measured_sentences(comparison.measured, "A", "B"))))
    items = tuple(_around(comparison))
    blocks += [Bullets(items)] if items else []
    sections = [Section(2, say("versus.what"), tuple(blocks))]
    one = comparison.judged if len(comparison.rows) == 1 else ()
    figures = comparison.overall or tuple(figure for row in one for figure in row.figures)
    if figures:
        sentences = tuple(map(figure_sentence, figures))
        sections.append(Section(2, say("versus.overall"), (Bullets(sentences),)))
    crossed = tuple(_crossovers(comparison))
    if crossed:
        sections.append(Section(2, say("versus.order"), (Bullets(crossed),)))
    sections.append(Section(2, say("versus.cells"), tuple(_cells(comparison, whole_rows))))
    title = say("versus.title", a=comparison.a.name, b=comparison.b.name)
    return Page(title, tuple(_lead(comparison)), tuple(sections))


def _crossovers(comparison: Comparison) -> Iterator[Text]:
    """The sentences on batches at which the sides change their order, for rows that differ in the
    batch alone."""
    lines = comparison.lines_over_batch
    for others, ratios in lines:
        prompt = others.get("prompt_tokens") if len(lines) > 1 else None
        shown = prompt if isinstance(prompt, int) else None
        sentence = crossover_sentence(ratios, comparison.a.name, comparison.b.name, shown)
        if sentence is not None:
            yield sentence


def _lead(comparison: Comparison) -> Iterator[Text]:
    for key, side in (("versus.a", comparison.a), ("versus.b", comparison.b)):
        count = sum(record.good for record in side.records)
        kind = say(f"versus.{side.kind}")
        yield say(key, name=side.name, kind=kind, runs=_runs(count))
    yield say("versus.ratio")


def _runs(count: int) -> Sentence:
    return say("count.run.one" if count == 1 else "count.run.many", n=f"{count:,}")


def _about(comparison: Comparison) -> Iterator[Text]:
    """The fields in which the sides differ, and the cells and runs that are not compared."""
    differs = comparison.pairing.differs
    for name, (a, b) in differs.items():
        yield say("versus.differs", name=_name(name), a=value_words(a), b=value_words(b))
    if not differs:
        yield say("versus.same_cells")
    for side, cells in zip((comparison.a, comparison.b), comparison.pairing.alone, strict=True):
        if cells:
            more = len(cells) - MOST_ALONE
            named = tuple(_cell(cell) for cell in cells[:MOST_ALONE])
            rest = (say("more", n=str(more)),) if more > 0 else ()
            yield say("versus.alone", name=side.name, cells=(*named, *rest))
    for side, records in zip((comparison.a, comparison.b), comparison.left_out, strict=True):
        if records:
            yield say("versus.left_out", name=side.name, runs=_runs(len(records)))


def _around(comparison: Comparison) -> Iterator[Text]:
    """The conditions that differ between the sides."""
    for name, (a, b) in comparison.pairing.conditions.items():
        ours, theirs = (tuple(value_words(value) for value in side) for side in (a, b))
        yield say("versus.condition", name=name, a=ours, b=theirs)


def figure_sentence(figure: Compared) -> Text:
    """The sentence on one figure: the effect first, then how sure it is."""
    headline, ratio = figure.headline, figure.ratio
    values = {
        "metric": metric_words(figure.metric),
        "a": units.formatted(figure.a, headline.unit),
        "b": units.formatted(figure.b, headline.unit),
    }
    if ratio is None:
        return say("versus.no_ratio", verdict=verdict(figure), **values)
    ratio_is = times(ratio.value)
    if ratio.low is None or ratio.high is None or ratio.probability is None:
        return say("versus.bare", ratio=ratio_is, verdict=verdict(figure), **values)
    return say(
        "versus.found",
        ratio=ratio_is,
        low=times(ratio.low),
        high=times(ratio.high),
        p=_chance(ratio.probability),
        verdict=verdict(figure),
        **values,
    )


def verdict(figure: Compared) -> Text:
    """The verdict in words: faster or slower, more or less, or why neither."""
    if figure.verdict == "cannot say":
        if figure.ratio is None:
            return say("versus.zero")
        a, b = (count < 2 for count in figure.units)
        few = f"versus.{figure.unit}_{'each' if a and b else 'one' if a or b else 'few'}"
        why = say(few, side="A" if a else "B")
        return why if figure.more is None else say("versus.further", why=why, n=f"{figure.more}")
    if figure.verdict in ("higher", "lower"):
        if figure.headline.shown.amount or figure.headline.better == "neither":
            return say("versus.more" if figure.verdict == "higher" else "versus.less")
        slower = figure.verdict != figure.headline.better
        return say("versus.slower" if slower else "versus.faster")
    return say("versus.same" if figure.verdict == "no difference seen" else "versus.maybe")


def metric_words(name: str) -> Text:
    """The name of a metric in a language's own words, else its label in the table of metrics."""
    row = named(name)
    if row.statistic:
        return column_title(row)
    return Sentence(f"versus.{name}", {}, otherwise=row.label or name)


def _cells(comparison: Comparison, whole_rows: bool) -> Iterator[Block]:
    names = tuple(comparison.rows[0].match.cell)
    several = any(conditions for row in comparison.judged for conditions in row.match.conditions)
    columns = (
        *(Column(_name(name), numeric=name != "model") for name in names),
        *(Column(say(f"versus.conditions_{s}"), numeric=False) for s in "ab" if several),
        *(Column(say(f"column.{key}"), numeric=key in NUMERIC) for key in COLUMNS),
    )
    rows = tuple(
        (
            *_leading(row, names, several, first=n == 0 or whole_rows),
            *_boxes(figure),
            _ids(row) if n == 0 else Box(""),
        )
        for row in comparison.judged
        for n, figure in enumerate(row.figures)
    )
    yield Table(columns, rows, tuple(_caption(comparison)))


COLUMNS = ("metric", "a", "b", "b_over_a", "p", "verdict", "runs")
NUMERIC = ("a", "b", "b_over_a", "p")


def _leading(
    row: ComparisonRow, names: Sequence[str], several: bool, *, first: bool
) -> Iterator[Box]:
    """The boxes that name the cell by its fields `names`, filled in its `first` row alone; dashes
    for a row of engines."""
    for name in names:
        yield Box(value_words(row.match.cell.get(name)) if first else "")
    if several:
        for conditions in row.match.conditions:
            values = tuple(f"{name} {value_words(value)}" for name, value in conditions.items())
            yield Box(values if first and values else "")


def _boxes(figure: Compared) -> tuple[Box, ...]:
    quotient, unit = figure.ratio, figure.headline.unit
    ratio = units.ABSENT if quotient is None else times(quotient.value)
    interval, chance = "", units.ABSENT
    if quotient is not None and quotient.low is not None and quotient.probability is not None:
        interval = f"{times(quotient.low)}–{times(quotient.high)}"
        chance = _chance(quotient.probability)
    return (
        Box(metric_words(figure.metric)),
        Box(units.formatted(figure.a, unit)),
        Box(units.formatted(figure.b, unit)),
        Box(ratio, interval),
        Box(chance),
        Box(verdict(figure)),
    )


def _ids(row: ComparisonRow) -> Box:
    sides = [[r.id for pair in row.match.pairs for r in pair[side]] for side in (0, 1)]
    named = [
        " ".join([*(id_[:SHORT_ID] for id_ in ids[:MOST_IDS]), *_more(len(ids) - MOST_IDS)])
        for ids in sides
    ]
    return Box(" + ".join(str(len(ids)) for ids in sides), " | ".join(named))


def _more(count: int) -> list[str]:
    return [f"+{count}"] if count > 0 else []


def _caption(comparison: Comparison) -> Iterator[Text]:
    yield say("versus.caption")
    yield say("versus.least", least=units.percent(NOTICEABLE))
    verdicts = [figure.verdict for row in comparison.judged for figure in row.figures]
    if "maybe chance" in verdicts:
        yield say("versus.chance", n=f"{len(verdicts):,}")
    if "cannot say" in verdicts:
        yield say("versus.repeat", spread=units.percent(USUAL_SPREAD))
    if comparison.by and any(len(row.match.pairs) > 1 for row in comparison.rows):
        yield say("versus.by")


def times(ratio: float | None) -> str:
    """A ratio with three significant digits, such as 1.00."""
    if ratio is None or not 0.001 <= ratio < 999.5:
        return units.number(ratio)
    return f"{ratio:#.3g}".rstrip(".")


def _chance(probability: float) -> str:
    return "≤0.001" if probability < 0.001 else f"{probability:.3f}"


def _name(name: str) -> Text:
    return say(f"column.{name}") if name in NAMED else name


def value_words(value: Value) -> str:
    """The value of a field of a cell or of its conditions as text; a dash where it is absent."""
    return units.ABSENT if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _cell(cell: Mapping[str, Value]) -> Text:
    known: Sequence[tuple[str, Value]] = [(n, v) for n, v in cell.items() if v is not None]
    return " ".join(f"{name} {value_words(value)}" for name, value in known)
