"""Panels as SVG: the same bytes for the same panel, words kept as text, colours from one palette.

`inline` is for our HTML, where the page's own colours (light or dark) and fonts apply;
`standalone` is for a file of its own, readable on any background.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from journal import units
from journal.report.page import Bars, Curve, Panel
from journal.report.text import visible
from journal.report.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 460.0, 300.0
LEFT, TOP, BOTTOM, BARE_RIGHT = 50.0, 46.0, 42.0, 18.0
GLYPH = 5.9  # the mean width of a letter of the labels; a Chinese one takes two
MOST_LETTERS = 26
LINE = 14.0  # between two labels
TICK_ROOM = 26.0  # between the middles of two tick labels

INK, SOFT, RULE, PAPER = "#1b1b1e", "#5d6066", "#dcdde1", "#ffffff"
# Distinct to the colour-blind (after Okabe and Ito), darkened to be read on white.
HUES = ("#0069a8", "#c2500a", "#00785a", "#9b3f86", "#8a6a00", "#494c55")
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    RULE: "var(--rule)",
    PAPER: "none",
    **{hue: f"var(--hue-{number})" for number, hue in enumerate(HUES, start=1)},
}
FONTS = (
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'PingFang SC', "
    "'Hiragino Sans GB', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif"
)


def standalone(drawn: str) -> str:
    """A drawing as the text of an SVG file, on white."""
    size = f'width="{WIDTH:g}" height="{HEIGHT:g}"'
    body = re.sub(r'width="[^"]*pt" height="[^"]*pt"', size, drawn, count=1)
    return re.sub(r"font-family: [^;\"]*", lambda _: f"font-family: {FONTS}", body)


def inline(drawn: str, name: str) -> str:
    """A drawing as an SVG element of a page that has VARIABLES; its ids begin with `name`."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r' (width|height)="[^"]*pt"', "", body, count=2)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub("|".join(VARIABLES), lambda found: VARIABLES[found.group()], body)
    return body.strip()


def draw(panel: Panel | Bars, words: Words) -> str:
    """`panel` as SVG, to be finished by `standalone` or `inline`."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": panel.name,
        "font.family": "sans-serif",
        "font.size": 11,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The reader's own fonts are used, so what matplotlib's lack does not matter.
        warnings.filterwarnings("ignore", message="Glyph ", category=UserWarning)
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, facecolor=PAPER)
        FigureCanvasSVG(figure)
        if isinstance(panel, Bars):
            _draw_bars(figure, panel, words)
        else:
            _draw(figure, panel, words)
        into = io.StringIO()
        figure.savefig(
            into, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return into.getvalue()


@dataclass(frozen=True, slots=True)
class _Label:
    text: str
    y: float
    colour: str
    small: bool = False


def _draw(figure: "Figure", panel: Panel, words: Words) -> None:
    dots = [dot for curve in panel.curves for dot in curve.dots]
    highest = [*(dot.y for dot in dots), *(level.y for level in panel.levels)]
    factor, unit = units.scale(highest, panel.unit)
    labels = _labels(panel, words, factor)
    axes, right = _axes(figure, labels)
    tops = [dot.high if dot.high is not None else dot.y for dot in dots]
    _scales(axes, sorted({dot.x for dot in dots}), max([*tops, *highest]) * factor)
    for level in panel.levels:
        axes.axhline(level.y * factor, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for curve in panel.curves:
        _curve(axes, curve, factor)
    _captions(figure, words.say(panel.title, visible), unit, words.say(panel.x_title, visible))
    _place(figure, axes, labels, WIDTH - right + 10)


def _draw_bars(figure: "Figure", panel: Bars, words: Words) -> None:
    heights = [sum(segment.y for segment in bar.segments) for bar in panel.bars]
    factor, unit = units.scale(heights, panel.unit)
    labels = []
    for bar in panel.bars[-1:]:
        below = 0.0
        for part in bar.segments:
            middle = (below + part.y / 2) * factor
            text = _shortened(words.say(part.label, visible))
            labels.append(_Label(text, middle, SOFT if part.hue is None else _colour(part.hue)))
            below += part.y
    axes, right = _axes(figure, labels)
    _frame(axes, max(heights) * factor)
    axes.set_xlim(-0.6, len(panel.bars) - 0.4)
    names = [_shortened(words.say(bar.label, visible)) for bar in panel.bars]
    axes.set_xticks(range(len(names)), names)
    for x, bar in enumerate(panel.bars):
        below = 0.0
        for part in bar.segments:
            colour = RULE if part.hue is None else _colour(part.hue)
            height = part.y * factor
            axes.bar(x, height, bottom=below, width=0.6, color=colour, edgecolor="none", zorder=2)
            below += height
    _captions(figure, words.say(panel.title, visible), unit, "")
    _place(figure, axes, labels, WIDTH - right + 10)


def _axes(figure: "Figure", labels: "Sequence[_Label]") -> "tuple[Axes, float]":
    """Axes that leave room for `labels` beside them, and the width of that room."""
    letters = max((_letters(label.text) for label in labels), default=0)
    right = BARE_RIGHT if letters == 0 else letters * GLYPH + 18
    axes = figure.add_axes(
        (
            LEFT / WIDTH,
            BOTTOM / HEIGHT,
            (WIDTH - LEFT - right) / WIDTH,
            (HEIGHT - TOP - BOTTOM) / HEIGHT,
        )
    )
    axes.patch.set_visible(False)
    return axes, right


def _colour(hue: int) -> str:
    return HUES[hue % len(HUES)]


def _captions(figure: "Figure", title: str, unit: str, x_title: str) -> None:
    top = (HEIGHT - 16) / HEIGHT
    figure.text(
        4 / WIDTH, top, f"{title}, {unit}", color=INK, size=12.5, weight="bold", va="center"
    )
    figure.text(LEFT / WIDTH, 10 / HEIGHT, x_title, color=SOFT, va="center")


def _labels(panel: Panel, words: Words, factor: float) -> list[_Label]:
    curves = [
        _Label(
            _shortened(words.say(curve.label, visible)),
            curve.dots[-1].y * factor,
            _colour(curve.hue),
            curve.faint,
        )
        for curve in panel.curves
    ]
    levels = [
        _Label(words.say(each.label, visible), each.y * factor, SOFT) for each in panel.levels
    ]
    return [label for label in (*curves, *levels) if label.text]


def _letters(text: str) -> int:
    return sum(1 if ord(char) < 0x2E80 else 2 for char in text)


def _shortened(text: str) -> str:
    if len(text) <= MOST_LETTERS:
        return text
    half = (MOST_LETTERS - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _scales(axes: "Axes", values: Sequence[float], top: float) -> None:
    _frame(axes, top)
    if values[0] > 0 and values[-1] > values[0]:
        axes.set_xscale("log", base=2)
    axes.set_xlim(*_padded(values))
    ticks = _apart(axes, values)
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()


def _frame(axes: "Axes", top: float) -> None:
    """The axis upwards, from 0 to a little above `top`."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0, top * 1.06 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.number(value)))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(length=0, labelcolor=SOFT, pad=6)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    if values[0] <= 0:
        return values[0] - 0.5, values[-1] + 0.5
    edge = (values[-1] / values[0]) ** 0.05
    return values[0] / edge, values[-1] * edge


def _apart(axes: "Axes", values: Sequence[float]) -> list[float]:
    """The values whose tick labels do not run into the one before."""
    kept: list[float] = []
    for value in values:
        at, last = (axes.transData.transform((x, 0))[0] for x in (value, (kept or [value])[-1]))
        if not kept or at - last >= TICK_ROOM:
            kept.append(value)
    return kept


def _curve(axes: "Axes", curve: Curve, factor: float) -> None:
    colour = _colour(curve.hue)
    xs, ys = [dot.x for dot in curve.dots], [dot.y * factor for dot in curve.dots]
    if curve.faint:
        axes.plot(xs, ys, color=colour, linewidth=1.2, linestyle=(0, (1, 2)), zorder=2)
        return
    marker = MARKERS[curve.hue % len(MARKERS)]
    axes.plot(xs, ys, color=colour, linewidth=1.8, marker=marker, markersize=5, zorder=3)
    bars = [
        (dot.x, max(dot.low, 0) * factor, dot.high * factor)
        for dot in curve.dots
        if dot.low is not None and dot.high is not None
    ]
    if bars:
        at, lows, highs = zip(*bars, strict=True)
        axes.vlines(at, lows, highs, color=colour, linewidth=3.5, alpha=0.3, zorder=2)


def _place(figure: "Figure", axes: "Axes", labels: Sequence[_Label], x: float) -> None:
    """Each label beside the end of its line, moved no further than it takes not to overlap."""
    ordered = sorted(labels, key=lambda label: label.y)
    wanted = [float(axes.transData.transform((1, label.y))[1]) for label in ordered]
    for label, y in zip(ordered, spread(wanted, LINE), strict=True):
        size = 9.5 if label.small else 11
        figure.text(x / WIDTH, y / HEIGHT, label.text, color=label.colour, size=size, va="center")


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
