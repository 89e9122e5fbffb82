"""The user's predictions beside the measurements."""

from collections.abc import Mapping

from journal import units
from journal.compare.points import Points
from journal.compare.scored import NEAR, is_near, measured_values, predicted_metric
from journal.metrics.table import rows
from journal.report.document import Block, Box, Column, Paragraph, Section, Table, Text, say


def predictions_section(
    predicted: Mapping[str, float], hypothesis: str, points: Points
) -> Section | None:
    """A section with the predictions scored; None without a prediction and a hypothesis."""
    if not predicted and not hypothesis.strip():
        return None
    blocks: list[Block] = []
    if predicted:
        lines = tuple(_row(name, value, points) for name, value in predicted.items())
        blocks.append(Table(COLUMNS, lines, (say("predict.caption", near=units.percent(NEAR)),)))
    else:
        blocks.append(Paragraph((say("predict.none"),)))
    return Section(3, say("predict.heading"), tuple(blocks))


COLUMNS = (
    Column(say("column.predicted_name"), numeric=False),
    Column(say("column.predicted")),
    Column(say("column.measured")),
    Column(say("column.ratio")),
    Column(say("column.verdict"), numeric=False),
)


def _row(key: str, predicted: float, points: Points) -> tuple[Box, ...]:
    values = measured_values(key, points)
    unit = _unit(key)
    ratios = [value / predicted for value in values if predicted]
    return (
        Box(key),
        Box(units.formatted(predicted, unit)),
        Box(_range([units.formatted(value, unit) for value in _ends(values)]), _source(key)),
        Box(_range([_shown(ratio) for ratio in _ends(ratios)])),
        Box(_verdict(predicted, values)),
    )


def _source(key: str) -> Text:
    return say("predict.pool") if key == "kv_bytes_per_token" else ""


def _unit(key: str) -> str:
    known = {metric.name: metric.unit for metric in rows()}
    return known.get(predicted_metric(key), "")


def _ends(values: list[float]) -> list[float]:
    return sorted({min(values), max(values)}) if values else []


def _shown(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else units.number(ratio)


def _range(shown: list[str]) -> str:
    return "–".join(dict.fromkeys(shown)) or units.ABSENT


def _verdict(predicted: float, values: list[float]) -> Text:
    if not values:
        return say("verdict.unmeasured")
    near = sum(is_near(predicted, value) for value in values)
    if len(values) == 1:
        return say("verdict.held" if near else "verdict.missed")
    if near in (0, len(values)):
        return say("verdict.all_held" if near else "verdict.all_missed", n=str(len(values)))
    return say("verdict.partly", held=str(near), n=str(len(values)))
