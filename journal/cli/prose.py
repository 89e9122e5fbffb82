"""Prose in a terminal of any width: lines are broken between words, never within a number or a
name."""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import TextIO

WIDE_LETTER = "\u2e80-\uffef"
CLOSING = "，。；：、）」”》！？"
NUMBER = r"(?:\d+(?:[.,]\d+)*%? )?"  # stays beside its unit
# Blanks, one Chinese letter with the marks around it, or a word of others with the marks behind it.
UNIT = re.compile(
    rf"\s+|{NUMBER}(?:[（「“《]*[{WIDE_LETTER}][{CLOSING}]*|[^\s{WIDE_LETTER}]+[{CLOSING}]*)"
)


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal that `stream` is; elsewhere COLUMNS, or None without it and for
    stderr, whose errors stay on one line for scripts."""
    if stream.isatty():
        return shutil.get_terminal_size().columns
    if stream is sys.stderr:
        return None
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else None


def in_lines(text: str, stream: TextIO | None = None) -> str:
    """`text` for `stream` (None: stdout) in lines that fit its width, where that is known. A word
    that is wider, such as a path, stays whole."""
    width = width_of(stream or sys.stdout)
    return text if width is None else at_width(text, width)


def at_width(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns, but for words that are wider. The lines of a
    paragraph are indented like its first."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> Iterator[str]:
    indent = line[: len(line) - len(line.lstrip(" "))]
    for begin, end in pairwise((0, *line_breaks(line, width), len(line))):
        yield (indent if begin else "") + line[begin:end].rstrip()


def line_breaks(line: str, width: int) -> list[int]:
    """Where each line after the first begins in `line`, so that none is wider than `width`, but
    for words that are wider."""
    if _cells(line) <= width:
        return []
    indent = len(line) - len(line.lstrip(" "))
    used, fresh, breaks = indent, True, list[int]()
    for unit in UNIT.finditer(line, indent):
        wide = _cells(unit[0])
        if used + wide > width and not fresh and not unit[0].isspace():
            breaks.append(unit.start())
            used = indent
        fresh, used = False, used + wide
    return breaks


def _cells(text: str) -> int:
    """The columns that `text` takes: two for a wide letter, none for a mark on another."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else unicodedata.combining(char) == 0
        for char in text
    )
