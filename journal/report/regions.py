"""The places in a log's Markdown where the user may write, and the seal on all the rest.

A place lies between two marks, which are comments and do not show:

    <!-- words 3f9a21bc04d5e6f7 5d41402abc4b: what this is -->
    as many lines of the user's own words as they like
    <!-- end of words 3f9a21bc04d5e6f7 -->

It is named by the id of its note, or `new-day` or `new-ID` (of an experiment) where nothing is
written yet. The second word is a checksum of what stood there when the file was written, so that
words that were changed since are told from words that are merely old. The first line of a log
holds the seal: a checksum of all that does not lie between marks.
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
class Words:
    """What stands in one place of a file; `before` is a checksum of what stood there when the
    file was written."""

    name: str
    text: str
    before: str

    def were(self, text: str) -> bool:
        """Whether they were `text` when the file was written."""
        return self.before == _sum(text)[:SHORT]

    @property
    def changed(self) -> bool:
        return not self.were(self.text)


@dataclass(frozen=True, slots=True)
class Found:
    """`words` are those in all places of a file; `sealed` is whether all the rest is as written."""

    words: tuple[Words, ...]
    sealed: bool


def place(name: str, text: str, hint: str) -> str:
    """The place called `name` with `text` in it, and `hint` in its first mark."""
    return f"<!-- words {name} {_sum(text)[:SHORT]}: {hint} -->\n{text}\n{_end(name)}"


def sealed(text: str) -> str:
    """`text`, whose first line contains UNSEALED, with the seal there."""
    return text.replace(UNSEALED, f"sha256:{_seal(_parts(text)[0])}", 1)


def read(text: str) -> Found:
    """What a file holds; exact for the words, whatever else was done to it."""
    generated, words = _parts(text.removeprefix("\ufeff"))
    told = _SEAL.search(generated[0])
    return Found(tuple(words), told is not None and told[1] == _seal(generated))


def _end(name: str) -> str:
    return f"<!-- end of words {name} -->"


def _parts(text: str) -> tuple[list[str], list[Words]]:
    """The lines outside of all places, without what editors do to the ends of lines; and the
    words in the places. A mark without its other half is no place, nor is a name's second one."""
    lines = text.split("\n")
    generated: list[str] = []
    words: dict[str, Words] = {}
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
                words[begin[1]] = Words(begin[1], content, begin[2])
                number = end
    return generated, list(words.values())


def _next(lines: list[str], mark: str, start: int, first: dict[str, int]) -> int | None:
    """Where `mark` stands from line `start` on; `first` is where each line stands first."""
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
