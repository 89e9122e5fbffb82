"""The places in a log's Markdown where the user may write, and the seal on all the rest.

A place lies between two marks, which are comments and do not show:

    <!-- words 3f9a21bc04d5e6f7 5d41402abc4b: what this is -->
    as many lines of the user's own words as they like
    <!-- end of words 3f9a21bc04d5e6f7 -->

It is named by the id of its note, or `new-day` or `new-ID` (of an experiment) where nothing is
written yet. The second word is a checksum of the words that stood there when the file was written,
so that words that were changed since are distinguished from words that are merely old. The first
line of a log holds the seal: a checksum of all that does not lie between marks.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

NEW = "new-"
OF_THE_DAY = "new-day"
SHORT = 12
UNSEALED = "sha256:" + "0" * 16

_BEGIN = re.compile(r"<!-- words ([\w-]+) ([0-9a-f]{12}):.*-->")
_SEAL = re.compile(r"sha256:([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class WrittenWords:
    """The words in one place of a file; `before` is a checksum of those that stood there when the
    file was written."""

    name: str
    text: str
    before: str

    def were(self, text: str) -> bool:
        """Whether the words were `text` when the file was written."""
        return self.before == _sum(text)[:SHORT]

    @property
    def changed(self) -> bool:
        """Whether the words are not those that stood there when the file was written."""
        return not self.were(self.text)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a log file: `words` are those in all its places; `sealed` is whether all the
    rest is as it was written."""

    words: tuple[WrittenWords, ...]
    sealed: bool


def marked_place(name: str, text: str, hint: str) -> str:
    """The Markdown of the place called `name` with `text` in it, and `hint` in its first mark."""
    return f"<!-- words {name} {_sum(text)[:SHORT]}: {hint} -->\n{text}\n{_end(name)}"


def sealed(text: str) -> str:
    """`text`, whose first line contains UNSEALED, with the seal in its place."""
    return text.replace(UNSEALED, f"sha256:{_seal(_parts(text)[0])}", 1)


def read_log(text: str) -> Contents:
    """The contents of a log file; the words are exact even where the rest of it was edited."""
    generated, words = _parts(text.removeprefix("\ufeff"))
    seal = _SEAL.search(generated[0])
    return Contents(tuple(words), seal is not None and seal[1] == _seal(generated))


def _end(name: str) -> str:
    return f"<!-- end of words {name} -->"


def _parts(text: str) -> tuple[list[str], list[WrittenWords]]:
    """The lines outside of all places, without the blanks that editors leave at their ends; and the
    words in the places. A mark without its other half is no place, nor is a name's second one."""
    lines = text.split("\n")
    generated: list[str] = []
    words: dict[str, WrittenWords] = {}
    ends = {line.strip(): n for n, line in reversed(list(enumerate(lines)))}
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        generated.append(line.rstrip())
        begin = _BEGIN.fullmatch(line.strip())
        if begin and begin[1] not in words:
            end = _next(lines, _end(begin[1]), number, ends)
            if end is not None:
                content = _content(lines[number:end], windows=line.endswith("\r"))
                words[begin[1]] = WrittenWords(begin[1], content, begin[2])
                number = end
    return generated, list(words.values())


def _next(lines: list[str], mark: str, start: int, first: dict[str, int]) -> int | None:
    """The number of the line `mark` at or after `start`; `first` has the first of every line."""
    if mark not in first:
        return None
    if first[mark] >= start:
        return first[mark]
    return next((n for n in range(start, len(lines)) if lines[n].strip() == mark), None)


def _content(lines: list[str], *, windows: bool) -> str:
    """The words on `lines`. An editor that ended the lines of the whole file as Windows does is
    undone."""
    text = "\n".join(lines)
    return text.replace("\r\n", "\n").removesuffix("\r") if windows else text


def _seal(generated: list[str]) -> str:
    first = _SEAL.sub(UNSEALED, generated[0], count=1)
    return _sum("\n".join([first, *generated[1:]]).rstrip())[:16]


def _sum(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
