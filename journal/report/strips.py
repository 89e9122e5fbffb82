"""Strips as SVG: rows of spans and ticks over one axis of time, such as requests in flight."""

from collections.abc import Iterator

from journal import units
from journal.report import svg
from journal.report.document import Strip, StripPart, Strips, say
from journal.report.phrases import Words
from journal.report.svg import GLYPH, INK, LINE, PAPER, RULE, SOFT, WIDTH
from journal.report.text import visible

LEFT, RIGHT, TOP = 34.0, 10.0, 32.0
ROW, ONE_ROW = 13.0, 30.0  # heights; a row that stands alone is higher
BAR = 0.72  # of the height of its row
APART = 0.5  # between two ticks that are drawn: what is nearer is one line to the eye
SQUARE = 8.0  # of the legend, with as much room around it


def strips_height(panel: Strips, words: Words) -> float:
    """The height of the drawing of `panel`."""
    return _foot(panel) + 26 + LINE * len(_legend_lines(panel, words))


def _foot(panel: Strips) -> float:
    """The height of the axis below the rows."""
    rows = len(panel.strips)
    return TOP + (ONE_ROW if rows == 1 else ROW * rows) + 4


def draw_strips(panel: Strips, words: Words) -> Iterator[str]:
    """The elements of the drawing of `panel`."""
    last_s = max(end for strip in panel.strips for end in _ends_s(strip))
    factor, unit = units.scale([last_s], "s")
    top, foot = last_s * factor, _foot(panel)
    scale = (WIDTH - LEFT - RIGHT) / (top or 1.0)
    height = strips_height(panel, words)
    yield f'<rect width="{WIDTH:g}" height="{height:g}" style="fill: {PAPER}"/>'
    title = words.say(say("panel.with_unit", title=panel.title, unit=unit), visible)
    yield svg.text(4, 16, title, INK, ' font-size="12.5" font-weight="bold"')
    for tick in svg.ticks(top) if top else []:
        x = LEFT + tick * scale
        yield svg.stroke(f"M{x:.1f} {TOP:g}V{foot:g}", RULE, 0.8)
        yield svg.text(x, foot + 10, units.number(tick), SOFT, anchor="middle")
    room = (foot - 4 - TOP) / len(panel.strips)
    for number, strip in enumerate(panel.strips):
        yield from _strip(strip, TOP + room * (number + 0.5), room, factor * scale, words)
    for row, line in enumerate(_legend_lines(panel, words)):
        yield from _legend(line, foot + 26 + LINE * row)


def _ends_s(strip: Strip) -> Iterator[float]:
    yield from (span.end_s for span in strip.spans)
    yield from strip.ticks_s


def _strip(strip: Strip, y: float, room: float, scale: float, words: Words) -> Iterator[str]:
    """A row whose middle is at the height `y`; `scale` is the width of a second."""
    half = room * BAR / 2
    label = words.say(strip.label, visible)
    if label:
        yield svg.text(LEFT - 6, y, label, SOFT, ' font-size="9.5"', anchor="end")
    for span in strip.spans:
        yield _span(span, y - half, 2 * half, scale)
    marks, drawn_x = [], -APART
    for tick_s in strip.ticks_s:
        x = tick_s * scale
        if x - drawn_x >= APART:
            drawn_x = x
            marks.append(f"M{LEFT + x:.2f} {y - half:.1f}v{2 * half:.1f}")
    if marks:
        yield svg.stroke("".join(marks), svg.colour(strip.hue), 0.8)


def _span(span: StripPart, y: float, height: float, scale: float) -> str:
    x, width = LEFT + span.start_s * scale, (span.end_s - span.start_s) * scale
    if span.hue is None:
        style = f'style="fill: none; stroke: {SOFT}" stroke-width="0.6"'
    else:
        style = f'style="fill: {svg.colour(span.hue)}"' + (
            ' fill-opacity="0.25"' if span.faint else ""
        )
    return f'<rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" {style}/>'


def _legend_lines(panel: Strips, words: Words) -> list[list[tuple[str, int | None, float]]]:
    """The words of the legend with their hues and the place of each, in lines that fit."""
    lines: list[list[tuple[str, int | None, float]]] = [[]]
    x = 4.0
    for text, hue in panel.legend:
        said = words.say(text, visible)
        width = 2 * SQUARE + svg.letters(said) * GLYPH + SQUARE
        if lines[-1] and x + width > WIDTH:
            lines.append([])
            x = 4.0
        lines[-1].append((said, hue, x))
        x += width
    return lines


def _legend(line: list[tuple[str, int | None, float]], y: float) -> Iterator[str]:
    for said, hue, x in line:
        style = f"fill: none; stroke: {SOFT}" if hue is None else f"fill: {svg.colour(hue)}"
        yield f'<rect x="{x:.1f}" y="{y - 4:.1f}" width="8" height="8" style="{style}"/>'
        yield svg.text(x + 14, y, said, SOFT)
