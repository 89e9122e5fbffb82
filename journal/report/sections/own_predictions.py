"""The user's predictions and claims beside the measurements, each with its verdict."""

from collections.abc import Callable, Iterator, Sequence

from journal import units
from journal.compare.claims import ClaimPart, Judged, axis_value, judged_claim
from journal.compare.points import Point, Points
from journal.compare.scored import NEAR, Prediction, judged_prediction
from journal.metrics.table import rows
from journal.records.claim import Claim
from journal.records.experiment import Experiment
from journal.records.figure import Figure
from journal.records.load_shape import AXIS_NAMES
from journal.records.run import Record
from journal.report.document import Block, Box, Column, Paragraph, Section, Table, Text, say
from journal.report.places import Places


def predictions_section(experiment: Experiment, points: Points, places: Places) -> Section | None:
    """A section with the predictions and the claims judged; None without any, and without a
    hypothesis."""
    blocks: list[Block] = []
    if experiment.predict:
        lines = tuple(
            _predicted(key, judged_prediction(key, value, points))
            for key, value in experiment.predict.items()
        )
        blocks.append(Table(PREDICTED, lines, (say("predict.caption", near=units.percent(NEAR)),)))
    if experiment.claims:
        found = [judged_claim(claim, points, experiment.compared) for claim in experiment.claims]
        lines = tuple(_claimed(each, experiment, points, places) for each in found)
        blocks.append(Table(CLAIMED, lines, tuple(_caption(found))))
    if not blocks and experiment.hypothesis.strip():
        blocks.append(Paragraph((say("predict.none"),)))
    return Section(3, say("predict.heading"), tuple(blocks)) if blocks else None


PREDICTED = (
    Column(say("column.predicted_name"), numeric=False),
    Column(say("column.predicted")),
    Column(say("column.measured")),
    Column(say("column.ratio")),
    Column(say("column.verdict"), numeric=False),
)
CLAIMED = (
    Column(say("column.claim"), numeric=False),
    Column(say("column.found"), numeric=False),
    Column(say("column.verdict"), numeric=False),
)


def _predicted(key: str, found: Prediction) -> tuple[Box, ...]:
    unit = _unit(found.metric)
    values = [figure.value for part in found.parts if (figure := part.figure).value is not None]
    ratios = [value / found.predicted for value in values if found.predicted]
    return (
        Box(key),
        Box(units.formatted(found.predicted, unit)),
        Box(_range([units.formatted(value, unit) for value in _ends(values)]), _source(key)),
        Box(_range([_shown(ratio) for ratio in _ends(ratios)])),
        Box(_verdict(found), _share(found)),
    )


def _source(key: str) -> Text:
    return say("predict.pool") if key == "kv_bytes_per_token" else ""


def _unit(metric: str) -> str:
    known = {row.name: row.unit for row in rows()}
    return known.get(metric, known.get(f"{metric}.1", ""))


def _ends(values: list[float]) -> list[float]:
    return sorted({min(values), max(values)}) if values else []


def _shown(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else units.number(ratio)


def _range(shown: list[str]) -> str:
    return "–".join(dict.fromkeys(shown)) or units.ABSENT


def _verdict(found: Prediction | Judged) -> Text:
    if found.verdict == "not_established" and found.more is not None:
        return say("judged.more", n=f"{found.more}")
    return say(f"judged.{found.verdict}")


def _share(found: Prediction | Judged) -> Text:
    """The number of parts that are supported, where there are several and not all are alike."""
    held = sum(part.verdict == "supported" for part in found.parts)
    if held in (0, len(found.parts)):
        return ""
    return say("judged.of", held=f"{held}", all=f"{len(found.parts)}")


# ---- claims ------------------------------------------------------------------------------------


def _claimed(
    found: Judged, experiment: Experiment, points: Points, places: Places
) -> tuple[Box, ...]:
    claim = found.claim
    sentence = claim_sentence(found, experiment, points, places)
    if not found.parts:
        return Box(sentence), Box(units.ABSENT), Box(_verdict(found))
    part = found.parts[0]
    where = places.where(part.points[0], claim.over) if claim.over else places.cell(part.points[0])
    detail = where if claim.a is None else say(f"at.{part.points[0].shape.axis}", n=_load(part))
    return (
        Box(sentence),
        Box(estimate_words(found, part, claim), detail),
        Box(_verdict(found), _share(found)),
    )


def claim_sentence(found: Judged, experiment: Experiment, points: Points, places: Places) -> Text:
    """What is claimed, in words."""
    claim = found.claim
    kind = f"grows_{claim.growth}" if claim.behaves == "grows" else claim.behaves
    low, high = claim.between or (None, None)
    a, b = (_engine(n, experiment, points, places) for n in (claim.a, claim.b))
    sentence: Text = say(
        f"claim.{kind}",
        metric=_metric_words(found, a, b),
        axis=say(f"claim_axis.{claim.over}") if claim.over else "",
        within=units.percent(claim.within),
        value=units.formatted(claim.value, _unit(found.metric)),
        low=units.number(low),
        high=units.number(high),
        a=a,
        b=b,
    )
    if claim.engine is not None:
        named = _engine(claim.engine, experiment, points, places)
        sentence = say("claim.with", claim=sentence, engine=named)
    if claim.at:
        at = tuple(say(f"at.{name}", n=f"{value:,g}") for name, value in claim.at.items())
        sentence = say("claim.only", claim=sentence, place=at)
    return sentence


def _metric_words(found: Judged, a: Text, b: Text) -> Text:
    if found.claim.over is None or found.claim.a is None:
        return found.metric
    return say("claim.relative", metric=found.metric, a=a, b=b)


def _engine(number: int | None, experiment: Experiment, points: Points, places: Places) -> Text:
    """The label of an engine: that of its setup where it was measured, else its model."""
    if number is None:
        return ""
    engine = experiment.compared[number - 1]
    if isinstance(engine, str):
        return engine
    own = (point for point in points if point.records[0].cell.engine == engine)
    return next((places.labels[point.setup] for point in own), engine.model)


def _load(part: ClaimPart) -> str:
    return f"{part.points[0].load:g}"


def estimate_words(found: Judged, part: ClaimPart, claim: Claim) -> Text:
    """The estimate of the decisive part with its interval, in the words of its kind."""
    figure = part.figure
    if claim.value is not None:
        unit = _unit(found.metric)
        return _with_interval(figure, lambda value: units.formatted(value, unit))
    shown = _with_interval(figure, lambda value: units.number(value, 3))
    if claim.behaves == "flat" and claim.over in AXIS_NAMES:
        ends = (f"{axis_value(point, claim.over) or 0:,g}" for point in part.points)
        return say("claim.from_to", ratio=shown, first=next(ends), last=next(ends, ""))
    return say(f"claim_found.{claim.behaves}", estimate=shown)


def _with_interval(figure: Figure, shown: Callable[[float | None], str]) -> Text:
    if figure.low is None or figure.high is None:
        return say("claim.point", value=shown(figure.value))
    ends = {"low": shown(figure.low), "high": shown(figure.high)}
    return say("claim.interval", value=shown(figure.value), **ends)


def _caption(found: Sequence[Judged]) -> Iterator[Text]:
    yield say("claim.caption")
    among = {
        record.status for each in found for part in each.parts for record in _runs(part.points)
    }
    if "flagged" in among:
        yield say("claim.flagged")


def _runs(points: Sequence[Point]) -> Iterator[Record]:
    return (record for point in points for record in point.good)
