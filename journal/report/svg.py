"""Elements of SVG as text, and the size, the palette and the letters of all figures."""

import math
import re
from collections.abc import Sequence
from html import escape
from itertools import takewhile

WIDTH, HEIGHT = 460.0, 300.0
GLYPH = 5.9  # the mean width of a letter of the labels; a Chinese one takes two
MOST_LETTERS = 26
ALIKE = 4  # first letters of labels that may begin with the same words
LINE = 14.0  # between two labels
MOST_TICKS = 5  # of an axis, beside 0

INK, SOFT, RULE, PAPER = "#1b1b1e", "#5d6066", "#dcdde1", "#ffffff"
# Distinct to the colour-blind (after Okabe and Ito), darkened to be read on white.
HUES = ("#0069a8", "#c2500a", "#00785a", "#9b3f86", "#8a6a00", "#494c55")
RING = "a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"
MARKERS = (  # around the point 0, 0
    "M-2.8 0a2.8 2.8 0 1 0 5.6 0a2.8 2.8 0 1 0-5.6 0z",
    "M-2.6-2.6h5.2v5.2h-5.2z",
    "M0-3.2l3.1 5.6h-6.2z",
    "M0-3.5l3.5 3.5l-3.5 3.5l-3.5-3.5z",
    "M0 3.2l3.1-5.6h-6.2z",
    "M-1.1-3.2h2.2v2.1h2.1v2.2h-2.1v2.1h-2.2v-2.1h-2.1v-2.2h2.1z",
)
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


def text(x: float, y: float, words: str, colour: str, more: str = "", anchor: str = "") -> str:
    """`words` whose middle is at the height `y`."""
    placed = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" dy="0.35em"{placed}{more} style="fill: {colour}">'
        f"{escape(words, quote=False)}</text>"
    )


def stroke(path: str, colour: str, width: float, more: str = "") -> str:
    """A line along `path`, which is not filled."""
    return f'<path d="{path}" fill="none" stroke-width="{width:g}"{more} style="stroke: {colour}"/>'


def colour(hue: int) -> str:
    """The colour of the palette with the number `hue`, counted around."""
    return HUES[hue % len(HUES)]


def letters(words: str) -> int:
    """The width of `words` in letters: a Chinese one is as wide as two."""
    return sum(1 if ord(char) < 0x2E80 else 2 for char in words)


def shortened(labels: Sequence[str]) -> list[str]:
    """`labels` with an ellipsis in those that are longer than MOST_LETTERS: for the words that all
    of them begin with, else in the middle, or further ahead where that keeps labels apart that
    differ."""
    labels = _without_beginning(labels)
    kept = MOST_LETTERS - 1
    for head in range(kept // 2, 2, -1):
        short = [
            one if len(one) <= MOST_LETTERS else f"{one[:head]}…{one[head - kept :]}"
            for one in labels
        ]
        if len(set(short)) == len(set(labels)):
            return short
    return list(labels)


def _without_beginning(labels: Sequence[str]) -> list[str]:
    """`labels` with an ellipsis for the words that those begin with that begin like a long one."""
    long = next((one for one in labels if len(one) > MOST_LETTERS), None)
    alike = [one for one in labels if long is not None and one[:ALIKE] == long[:ALIKE]]
    heads = takewhile(lambda letters: len(set(letters)) == 1, zip(*alike, strict=False))
    shared = re.sub(r"[^-/_. ]*$", "", "".join(letters[0] for letters in heads))
    if len(shared) < ALIKE or len(set(alike)) == 1:
        return list(labels)
    return [f"…{one.removeprefix(shared)}" if one in alike else one for one in labels]


def ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top`, evenly apart, at most MOST_TICKS beside 0."""
    power = 10.0 ** math.floor(math.log10(top / MOST_TICKS))
    step = next(round_ for n in (1, 2, 2.5, 5, 10) if top / (round_ := n * power) < MOST_TICKS + 1)
    return [number * step for number in range(math.floor(top / step) + 1)]
