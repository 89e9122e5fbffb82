"""Panels as SVG: the same bytes for the same panel, words kept as text, colours from one palette.

`inline` is for our HTML, where the page's own colours (light or dark) and fonts apply;
`standalone` is for a file of its own, readable on any background.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from journal import units
from journal.report import svg
from journal.report.document import Bars, Blocks, Curve, Drawing, Panel, Strips, say
from journal.report.phrases import Words
from journal.report.strips import draw_strips, strips_height
from journal.report.svg import (
    FONTS,
    GLYPH,
    HEIGHT,
    INK,
    LINE,
    MARKERS,
    PAPER,
    RING,
    RULE,
    SOFT,
    VARIABLES,
    WIDTH,
)
from journal.report.text import visible

LEFT, TOP, BOTTOM, BARE_RIGHT = 50.0, 46.0, 258.0, 18.0
LEAST_DOTS = 3  # that a line joins: two points are no shape
ACROSS, MOST_SQUARES = 40, 640  # squares of a pool in a row, and in all
EDGE = 0.05  # of the width, beside the first and the last value
HEADROOM = 1.06  # the axis upwards ends that much above the highest value


def standalone(drawn: str) -> str:
    """The drawing of `draw` as the text of an SVG file, on white."""
    sized = re.sub(r'<svg (.*?viewBox="0 0 (\S+) (\S+)")', r'<svg width="\2" height="\3" \1', drawn)
    return sized.replace('font-size="11"', f'font-family="{FONTS}" font-size="11"', 1)


def inline(drawn: str) -> str:
    """The drawing of `draw` as an SVG element of a page whose CSS defines the VARIABLES."""
    return re.sub("|".join(VARIABLES), lambda match: VARIABLES[match.group()], drawn).strip()


def draw(panel: Drawing, words: Words) -> str:
    """`panel` as SVG, to be finished by `standalone` or `inline`."""
    height = HEIGHT
    match panel:
        case Strips():
            height, drawn = strips_height(panel, words), draw_strips(panel, words)
        case Blocks():
            drawn = _blocks(panel, words)
        case Bars():
            drawn = _bars(panel, words)
        case _:
            drawn = _curves(panel, words)
    size = f'viewBox="0 0 {WIDTH:g} {height:g}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">'
    return "\n".join((opening, *drawn, "</svg>\n"))


# ---- the parts of a drawing ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Label:
    """A name beside the end of its line, at the height `y`."""

    text: str
    y: float
    colour: str
    small: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    """The scales of a plot: x from `first` to `last`, in their logarithms where those can be taken,
    and y from 0 to `top`."""

    first: float
    last: float
    top: float
    right: float

    def x(self, value: float) -> float:
        start, end, at = self.first, self.last, value
        if start > 0 and end > start:
            start, end, at = math.log2(start), math.log2(end), math.log2(value)
        room = (self.right - LEFT) * EDGE
        share = (at - start) / (end - start) if end > start else 0.5
        return LEFT + room + share * (self.right - LEFT - 2 * room)

    def y(self, value: float) -> float:
        return BOTTOM - value / self.top * (BOTTOM - TOP)


def _frame(values: Sequence[float], top: float, labels: Sequence[_Label]) -> _Frame:
    """The scales for `values` and heights up to `top`, with room for `labels` on the right."""
    letters = max((svg.letters(label.text) for label in labels), default=0)
    right = BARE_RIGHT if letters == 0 else letters * GLYPH + 18
    return _Frame(min(values), max(values), top * HEADROOM or 1.0, WIDTH - right)


def _curves(panel: Panel, words: Words) -> Iterator[str]:
    dots = [dot for curve in panel.curves for dot in curve.dots]
    highest = [*(dot.y for dot in dots), *(level.y for level in panel.levels)]
    factor, unit = units.scale(highest, panel.unit)
    labels = _labels(panel, words, factor)
    tops = [dot.high if dot.high is not None else dot.y for dot in dots]
    values = sorted({dot.x for dot in dots})
    frame = _frame(values, max([*tops, *highest]) * factor, labels)
    yield from _ground(
        frame, words.say(say("panel.with_unit", title=panel.title, unit=unit), visible)
    )
    end = -math.inf
    for value in values:  # those whose labels do not run into the one before
        tick, x = f"{value:,g}", frame.x(value)
        half = len(tick) * GLYPH / 2
        if x - half >= end + GLYPH:
            end = x + half
            yield svg.text(x, BOTTOM + 14, tick, SOFT, anchor="middle")
    yield svg.text(LEFT, HEIGHT - 10, words.say(panel.x_title, visible), SOFT)
    for level in panel.levels:
        at = f"M{LEFT:g} {frame.y(level.y * factor):.1f}H{frame.right:.1f}"
        yield svg.stroke(at, SOFT, 1, ' stroke-dasharray="4 3"')
    for curve in panel.curves:
        yield from _curve(curve, frame, factor)
    yield from _dot_labels(panel, frame, factor)
    yield from _placed(labels, frame)


def _curve(curve: Curve, frame: _Frame, factor: float) -> Iterator[str]:
    colour = svg.colour(curve.hue)
    places = [f"{frame.x(dot.x):.1f} {frame.y(dot.y * factor):.1f}" for dot in curve.dots]
    line = f"M{'L'.join(places)}"
    if curve.faint:
        yield svg.stroke(line, colour, 1.2, ' stroke-dasharray="1.2 2.4"')
        return
    intervals = [
        f"M{frame.x(dot.x):.1f} {frame.y(max(dot.low, 0) * factor):.1f}"
        f"V{frame.y(dot.high * factor):.1f}"
        for dot in curve.dots
        if dot.low is not None and dot.high is not None
    ]
    if intervals:
        yield svg.stroke("".join(intervals), colour, 3.5, ' stroke-opacity="0.3"')
    if len(places) >= LEAST_DOTS:
        yield svg.stroke(line, colour, 1.8)
    marker = MARKERS[curve.hue % len(MARKERS)]
    for place in places:
        yield f'<path transform="translate({place})" d="{marker}" style="fill: {colour}"/>'


def _dot_labels(panel: Panel, frame: _Frame, factor: float) -> Iterator[str]:
    """Rings around the marked dots, and the labels of dots, without those that would cover one
    before."""
    taken: list[tuple[float, float]] = []
    for curve in panel.curves:
        colour = svg.colour(curve.hue)
        for dot in curve.dots:
            x, y = frame.x(dot.x), frame.y(dot.y * factor)
            if dot.marked:
                yield svg.stroke(f"M{x - 6:.1f} {y:.1f}{RING}", colour, 1.2)
            free = all(abs(x - a) > 2.5 * GLYPH or abs(y - b) > LINE - 3 for a, b in taken)
            if dot.label and free:
                taken.append((x, y))
                yield svg.text(x + 6, y - 8, dot.label, colour, ' font-size="9.5"')


def _bars(panel: Bars, words: Words) -> Iterator[str]:
    heights = [sum(segment.y for segment in bar.segments) for bar in panel.bars]
    factor, unit = units.scale(heights, panel.unit)
    labels, below = [], 0.0
    parts = panel.bars[-1].segments
    texts = svg.shortened([words.say(part.label, visible) for part in parts])
    for part, text in zip(parts, texts, strict=True):
        middle = (below + part.y / 2) * factor
        labels.append(_Label(text, middle, SOFT if part.hue is None else svg.colour(part.hue)))
        below += part.y
    labels = [label for label in labels if label.text]
    frame = _frame((0.0, 1.0), max(heights) * factor, labels)
    yield from _ground(
        frame, words.say(say("panel.with_unit", title=panel.title, unit=unit), visible)
    )
    room = (frame.right - LEFT) / len(panel.bars)
    names = svg.shortened([words.say(bar.label, visible) for bar in panel.bars])
    for number, (bar, name) in enumerate(zip(panel.bars, names, strict=True)):
        middle, below = LEFT + room * (number + 0.5), 0.0
        yield svg.text(middle, BOTTOM + 14, name, SOFT, anchor="middle")
        for part in bar.segments:
            colour = RULE if part.hue is None else svg.colour(part.hue)
            upper = frame.y((below + part.y) * factor)
            height = frame.y(below * factor) - upper
            yield (
                f'<rect x="{middle - 0.3 * room:.1f}" y="{upper:.1f}" width="{0.6 * room:.1f}" '
                f'height="{height:.1f}" style="fill: {colour}"/>'
            )
            below += part.y
    yield from _placed(labels, frame)


def _blocks(panel: Blocks, words: Words) -> Iterator[str]:
    """A pool as squares, row by row, and below them what each colour stands for."""
    total = round(sum(part.y for part in panel.parts))
    each = max(1, math.ceil(total / MOST_SQUARES))
    counts = squares([part.y for part in panel.parts], each)
    yield f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" style="fill: {PAPER}"/>'
    title = words.say(panel.title, visible)
    yield svg.text(4, 16, title, INK, ' font-size="12.5" font-weight="bold"')
    number, side = 0, (WIDTH - 8) / ACROSS
    for part, count in zip(panel.parts, counts, strict=True):
        path = "".join(_square(n, side) for n in range(number, number + count))
        number += count
        colour = RULE if part.hue is None else svg.colour(part.hue)
        fill = "none" if part.hue is None else colour
        if path:
            yield f'<path d="{path}" style="fill: {fill}; stroke: {colour}" stroke-width="0.8"/>'
    for row, part in enumerate(panel.parts):
        y = HEIGHT - 10 - LINE * (len(panel.parts) - row)
        colour = RULE if part.hue is None else svg.colour(part.hue)
        fill = "none" if part.hue is None else colour
        style = f"fill: {fill}; stroke: {colour}"
        yield f'<rect x="4" y="{y - 4:.1f}" width="8" height="8" style="{style}"/>'
        yield svg.text(18, y, words.say(part.label, visible), SOFT)
    yield svg.text(4, HEIGHT - 10, words.say(say("pool.each", n=f"{each:,}"), visible), SOFT)


def squares(blocks: Sequence[float], each: int) -> list[int]:
    """The number of squares of each part, of `each` blocks: any part that is not empty has one, and
    together they are as many as all blocks need."""
    total = math.ceil(sum(blocks) / each - 1e-9)
    counts = [max(1, round(count / each)) if count > 0 else 0 for count in blocks]
    largest = max(range(len(counts)), key=counts.__getitem__)
    counts[largest] += total - sum(counts)
    return counts


def _square(number: int, side: float) -> str:
    x, y = 4 + number % ACROSS * side, 30 + number // ACROSS * side
    return f"M{x:.1f} {y:.1f}h{side - 2:.1f}v{side - 2:.1f}h-{side - 2:.1f}z"


def _ground(frame: _Frame, title: str) -> Iterator[str]:
    """Paper, title, and the axis upwards with its lines."""
    yield f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" style="fill: {PAPER}"/>'
    yield svg.text(4, 16, title, INK, ' font-size="12.5" font-weight="bold"')
    for tick in svg.ticks(frame.top):
        at = f"M{LEFT:g} {frame.y(tick):.1f}H{frame.right:.1f}"
        yield svg.stroke(at, RULE if tick else SOFT, 0.8)
        yield svg.text(LEFT - 6, frame.y(tick), units.number(tick), SOFT, anchor="end")


def _labels(panel: Panel, words: Words, factor: float) -> list[_Label]:
    names = svg.shortened([words.say(curve.label, visible) for curve in panel.curves])
    curves = [
        _Label(name, curve.dots[-1].y * factor, svg.colour(curve.hue), curve.faint)
        for name, curve in zip(names, panel.curves, strict=True)
    ]
    levels = [
        _Label(words.say(level.label, visible), level.y * factor, SOFT) for level in panel.levels
    ]
    return [label for label in (*curves, *levels) if label.text]


def _placed(labels: Sequence[_Label], frame: _Frame) -> Iterator[str]:
    """The labels beside the ends of their lines, moved no further than is needed not to overlap."""
    ordered = sorted(labels, key=lambda label: -label.y)
    wanted = [frame.y(label.y) for label in ordered]
    for label, y in zip(ordered, spread(wanted, LINE), strict=True):
        more = ' font-size="9.5"' if label.small else ""
        yield svg.text(frame.right + 10, y, label.text, label.colour, more)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those `wanted` (ordered) that lie at least `gap` apart.

    Isotonic regression by pooling adjacent violators (Ayer et al., 1955) of the places less the
    gaps below them.
    """
    pools: list[list[float]] = []
    for number, place in enumerate(wanted):
        pools.append([place - number * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    levelled = [fmean(pool) for pool in pools for _ in pool]
    return [place + number * gap for number, place in enumerate(levelled)]
