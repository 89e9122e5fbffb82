"""Theory beside measurement: figures predicted from sizes and data sheets, and measured ones."""

from collections.abc import Iterator

from journal import units
from journal.compare.points import Points
from journal.metrics.beside_theory import COMPARED
from journal.report.document import Block, Box, Column, Paragraph, Section, Table, Text, say
from journal.report.places import Places

KINDS = {
    "weights_bytes": "weights",
    "kv_bytes_per_token": "kv_count",
    "kv_bytes_per_token_slope": "kv_slope",
    "ttft_s.p50": "ttft",
    "tpot_s.p50": "tpot",
}
UNITS = {"weights_bytes": "bytes", "ttft_s.p50": "s", "tpot_s.p50": "s"}
PER_TOKEN = "bytes/tok"


def theory_section(points: Points, places: Places) -> Section | None:
    """A section with each server's predictions beside its measurements, or None without any."""
    setups = list(dict.fromkeys(point.setup for point in points))
    rows = tuple(
        (Box(places.labels[setup]), *row)
        for setup in setups
        for row in _rows(tuple(point for point in points if point.setup == setup))
    )
    if not rows:
        return None
    titles = ("setup", "predicted_name", "predicted", "measured", "ratio")
    columns = tuple(Column(say(f"column.{title}"), numeric=n > 1) for n, title in enumerate(titles))
    if len(setups) == 1:
        columns, rows = columns[1:], tuple(row[1:] for row in rows)
    floors = any(point.value(ratio) for point in points for _, _, ratio in COMPARED[3:])
    blocks: list[Block] = [Paragraph(tuple(_slope(points)))] if any(_slope(points)) else []
    blocks.append(Table(columns, rows, (say("theory.floors"),) if floors else ()))
    return Section(3, say("theory.heading"), tuple(blocks))


def _rows(own: Points) -> Iterator[tuple[Box, ...]]:
    """The rows of one server: predictions and measurements, each from its least to its most."""
    for measured, predicted, ratio in COMPARED:
        known = [point for point in own if point.value(ratio) is not None]
        if known:
            shown = UNITS.get(measured, PER_TOKEN)
            yield (
                Box(say(f"theory.{KINDS[measured]}")),
                *(
                    Box(_range([point.value(name) for point in known], shown))
                    for name in (predicted, measured)
                ),
                Box(_range([point.value(ratio) for point in known], "ratio")),
            )


def _range(values: list[float | None], shown: str) -> str:
    known = sorted(value for value in values if value is not None)
    ends = (
        _times(end) if shown == "ratio" else units.formatted(end, shown)
        for end in (known[0], known[-1])
    )
    return "–".join(dict.fromkeys(ends))


def _times(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else units.number(ratio)


def _slope(points: Points) -> Iterator[Text]:
    """The sentence on the slope of the cell whose slope has the narrowest interval."""
    surest: tuple[float, Text] | None = None
    for point in points:
        figure = point.figure("kv_bytes_per_token_slope")
        expected = point.value("kv_bytes_per_token_predicted")
        if figure is None or figure.low is None or figure.high is None or expected is None:
            continue
        width = figure.high - figure.low
        if surest is None or width < surest[0]:
            measured, predicted = units.number(figure.value), units.number(expected)
            surest = width, say("theory.slope", measured=measured, predicted=predicted)
    if surest is not None:
        yield surest[1]
