"""Prose in a terminal of any width: lines are broken between words, never within a number or a
name."""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from typing import TextIO

WIDE_LETTER = "\u2e80-\uffef"
CLOSING = "，。；：、）」”》！？"
# Blanks, one Chinese letter with the marks around it, or a word of others with the marks behind it.
UNIT = re.compile(rf"\s+|[（「“《]*[{WIDE_LETTER}][{CLOSING}]*|[^\s{WIDE_LETTER}]+[{CLOSING}]*")


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
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> Iterator[str]:
    if _cells(line) <= width:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip(" "))]
    part, used = indent, len(indent)
    for unit in UNIT.findall(line.lstrip(" ")):
        wide = _cells(unit)
        if used + wide > width and part.strip() and not unit.isspace():
            yield part.rstrip()
            part, used = indent, len(indent)
        part, used = part + unit, used + wide
    yield part.rstrip()


def _cells(text: str) -> int:
    """The columns that `text` takes: two for a wide letter, none for a mark on another."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else unicodedata.combining(char) == 0
        for char in text
    )
