"""Curves of a panel: the lines of points to draw, and their dots."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from journal.compare.points import TAILS, Point, Points
from journal.compare.setups import Setup
from journal.records.figure import Figure
from journal.report.document import Curve, Dot, Panel, Text, say
from journal.report.figures import LEAST_DOTS
from journal.report.places import Places

MOST_CURVES = 6  # in one panel: more cannot be distinguished
MOST_WITH_TAILS = 3
FRONTIER = say("panel.frontier")  # the label of the dots that nothing beats

Pick = Callable[[Point], Figure | None]


def figure_of(name: str) -> Pick:
    """A function that picks the figure of the metric `name` from a point."""
    return lambda point: point.figure(name)


def drawn(lines: Sequence[Points]) -> list[Points]:
    """At most MOST_CURVES of `lines`: equally many of each setup, from the same places."""
    if len(lines) <= MOST_CURVES:
        return list(lines)
    groups: dict[Setup, list[Points]] = {}
    for line in lines:
        groups.setdefault(line[0].setup, []).append(line)
    share = max(1, MOST_CURVES // len(groups))
    return _spread([line for group in groups.values() for line in _spread(group, share)])


def _spread(lines: list[Points], most: int = MOST_CURVES) -> list[Points]:
    """At most `most` of `lines`, spread evenly from the first to the last."""
    if len(lines) <= most:
        return lines
    if most == 1:
        return lines[-1:]
    step = (len(lines) - 1) / (most - 1)
    return [lines[round(number * step)] for number in range(most)]


def panel(
    name: str,
    title: Text,
    unit: str,
    lines: Sequence[Points],
    across: str,
    pick: Pick,
    places: Places,
) -> Panel | None:
    """A plot of `pick` of every point, in `unit` or a multiple of it, against the field `across`;
    None where no line has two values."""
    chosen = drawn(lines)
    curves = []
    for hue, line in enumerate(chosen):
        dots = _dots(line, across, pick)
        if len(dots) > 1:
            curves.append(Curve(places.curve(line, chosen), dots, hue))
    if not curves:
        return None
    if all(line[0].setup.simulated for line in chosen):
        title = say("setup.simulated", name=title)
    return Panel(name, title, unit, say(f"axis.{across}"), tuple(curves))


def with_tails(base: Panel, lines: Sequence[Points], across: str, latency: str) -> Panel:
    """`base` with the highest percentile of `latency` that its lines have, drawn faintly."""
    chosen = drawn(lines)
    if len(chosen) > MOST_WITH_TAILS:
        return base
    faint = []
    for hue, line in enumerate(chosen):
        for tail in TAILS:
            dots = _dots(line, across, figure_of(f"{latency}.{tail}"))
            if len(dots) > 1:
                faint.append(Curve(tail, dots, hue, faint=True))
                break
    return replace(base, curves=(*base.curves, *faint))


def plot_caption(panels: Sequence[Panel]) -> tuple[Text, ...]:
    """The sentences that explain the bars and the faint lines of `panels`, where they have any."""
    curves = [curve for panel in panels for curve in panel.curves]
    bars = any(dot.low is not None for curve in curves for dot in curve.dots)
    best = any(curve.label == FRONTIER for curve in curves)
    faint = any(curve.faint and curve.label != FRONTIER for curve in curves)
    two = any(not curve.faint and len(curve.dots) < LEAST_DOTS for curve in curves)
    labelled = any(dot.label for curve in curves for dot in curve.dots)
    said = (
        ("plot.bars", bars),
        ("plot.faint", faint),
        ("plot.frontier", best),
        ("plot.two", two),
        ("plot.labels", labelled),
    )
    return tuple(say(key) for key, holds in said if holds)


def _dots(line: Points, across: str, pick: Pick) -> tuple[Dot, ...]:
    figures = [(getattr(point, across), pick(point)) for point in line]
    return tuple(
        Dot(float(x), figure.value, figure.low, figure.high)
        for x, figure in figures
        if figure is not None and figure.value is not None
    )
