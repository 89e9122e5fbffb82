"""Escapes: how URLs, JSON, HTML, and what a reader does not see, write characters, and a text read
without them."""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

DEEPEST = 6  # escapes inside escapes that are looked through

# How a URL, JSON and its like, and HTML write a character, and what a reader does not see:
# sequences for a terminal, controls, soft hyphens, format marks.
_KINDS = (
    r"%[0-7][0-9a-f]|(?:%[89a-f][0-9a-f])+",
    r"\\u00[0-7][0-9a-f]|(?:\\u[0-9a-f]{4})+|\\x[0-9a-f]{2}|\\U[0-9a-f]{8}|\\[^\n]",
    r"&(?:\#[0-9]{1,7}|\#x[0-9a-f]{1,6}|[a-z]{2,8});",
    r"\x1b(?:\[[0-9;?]{0,16}[a-z])?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+",
)
ESCAPE = re.compile("|".join(_KINDS), re.IGNORECASE)
_ONE_KIND = tuple(re.compile(kind, re.IGNORECASE) for kind in _KINDS)
UNSEEN = _ONE_KIND[-1]
_SEEN_SIGNS = re.compile(r"[%\\&]")
# The first character of every escape, which is found sooner than the escape.
SIGNS = re.compile(
    r"[%\\&\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
# The beginning of a character in several escapes, that of an escape, or both, at the end.
UNFINISHED = re.compile(
    r"(?:(?:%[cd][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f])?|%f[0-7](?:%[89ab][0-9a-f]){0,2}"
    r"|\\ud[89ab][0-9a-f]{2})(?:%[0-9a-f]?|\\u?[0-9a-f]{0,3})?"
    r"|%[0-9a-f]?|\\[uxU]?[0-9a-f]{0,7}|&\#?[0-9a-z]{0,8}|\x1b(?:\[[0-9;?]{0,16})?)$",
    re.IGNORECASE,
)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unseen_alone(text: str) -> bool:
    """Whether all escapes of `text` are what a reader does not see: without them it has none."""
    return _SEEN_SIGNS.search(text) is None


class EscapeLevel(NamedTuple):
    """A text without its outermost escapes. The i-th part, plain text and escapes in turn, begins
    at `at[i]` in it, and at `source[i]` in the text before."""

    text: str
    at: list[int]
    source: list[int]

    def before(self, first: int, last: int) -> tuple[int, int]:
        """The span in the text before, from the span in this one."""
        one, other = bisect_right(self.at, first) - 1, bisect_right(self.at, last - 1) - 1
        begin, end = self.source[one], self.source[other + 1]
        if one % 2 == 0:
            begin += first - self.at[one]
        if other % 2 == 0:
            end = self.source[other] + last - self.at[other]
        return begin, end


def escape_levels(text: str, *, ending: bool = True) -> Iterator[tuple[EscapeLevel, ...]]:
    """The levels of `text`, from the outermost in, up to each one that can be read: all escapes of
    a level at once, and, where they are of several kinds, from there on those of one kind alone,
    since a sign of the others may be one of a secret's own. Without `ending` more text follows."""
    levels: tuple[EscapeLevel, ...] = ()
    while len(levels) < DEEPEST and ESCAPE.search(text):
        kinds = [kind for kind in _ONE_KIND if kind.search(text)]
        for kind in kinds if len(kinds) > 1 else ():
            yield from _inwards(text, levels, kind, ending)
        levels = next(_inwards(text, levels, ESCAPE, ending))
        yield levels
        text = levels[-1].text


def _inwards(
    text: str, levels: tuple[EscapeLevel, ...], escapes: re.Pattern[str], ending: bool
) -> Iterator[tuple[EscapeLevel, ...]]:
    while len(levels) < DEEPEST and escapes.search(text):
        inner = unescaped(text, escapes)
        text = inner.text if ending else UNFINISHED.sub("", inner.text)
        levels = (*levels, inner._replace(text=text))
        yield levels


def unescaped(text: str, escapes: re.Pattern[str] = ESCAPE) -> EscapeLevel:
    """`text` with what its `escapes` stand for in their place."""
    pieces: list[str] = []
    at, source, length, end = [0], [0], 0, 0
    for match in escapes.finditer(text):
        for piece, begins in ((text[end : match.start()], match.start()), (_read(match[0]), -1)):
            pieces.append(piece)
            length += len(piece)
            at.append(length)
            source.append(begins if begins >= 0 else match.end())
        end = match.end()
    pieces.append(text[end:])
    return EscapeLevel("".join(pieces), at, [*source, len(text)])


def _read(escape: str) -> str:
    """The characters that an escape stands for."""
    if escape[0] == "%":
        return unquote(escape, errors="replace")
    if escape[0] == "&":
        return html.unescape(escape)
    if escape[0] != "\\":
        return ""
    digits = escape.lower().replace("\\", "")
    if len(escape) > 2 and escape[1] in "uU" and len(escape) != 10:
        codes = [int(code, 16) for code in digits.split("u")[1:]]
        data = b"".join(code.to_bytes(2, "big") for code in codes)
        return data.decode("utf-16-be", "replace")
    if len(escape) > 2:
        code = int(digits[1:], 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return _CONTROLS.get(escape[1], escape[1])
