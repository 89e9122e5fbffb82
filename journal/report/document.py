"""The parts of a log before it is Markdown or HTML in some language: sections of plain blocks.

A `Text` is a name or number that stands as it is (str, untrusted: it is escaped where it is
rendered), a Sentence, a Doubt, or several of them as a list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from journal.records.doubt import Doubt


@dataclass(frozen=True, slots=True)
class Sentence:
    """The phrase `key` of the language's table (templates/en.toml), with its values; `otherwise`,
    where given, stands in a language that has no such phrase."""

    key: str
    values: Mapping[str, "Text"]
    otherwise: "Text" = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A message of the journal as an error says it, `english`; another language has its own words
    for it where its catalogue has them."""

    english: str


Text: TypeAlias = "str | Sentence | Doubt | Spoken | tuple[Text, ...]"


def say(key: str, **values: Text) -> Sentence:
    """The phrase `key` with `values` for its {names}."""
    return Sentence(key, values)


@dataclass(frozen=True, slots=True)
class Box:
    """One place in a table. `detail` (an interval, the ids of runs) stands small beside the text;
    `mark` points to a note."""

    text: Text
    detail: Text = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column of a table; `numeric` sets it to the right."""

    title: Text
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of boxes, one for each of `columns`, with sentences under them."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Box, ...], ...]
    caption: tuple[Text, ...] = ()
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class Dot:
    """A measured point of a plot, in the units of its panel, with its 95% interval. `label` stands
    beside it where there is room; it is ringed where it is `marked`."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Dots that belong together. Curves of equal `hue` share a colour; `faint` is for a tail
    drawn beside its median."""

    label: Text
    dots: tuple[Dot, ...]
    hue: int
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line at a known height, such as the size of a reservation."""

    label: Text
    y: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One small plot over a log2 axis whose ticks are the measured values; y starts at 0, in
    `unit` (s, bytes or any other unit's own name)."""

    name: str
    title: Text
    unit: str
    x_title: Text
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar. Segments of equal `hue` share a colour; None is for what has no name."""

    label: Text
    y: float
    hue: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A column of a plot: segments on top of each other, the first at the bottom."""

    label: Text
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot of bars side by side, in `unit` (s, bytes or any other unit's own name); the segments
    of the last are named."""

    name: str
    title: Text
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """A plot of a pool as squares: `parts` are the numbers of blocks of each kind, in order; a
    square stands for as many blocks as let all fit. A part of no `hue` is drawn empty."""

    name: str
    title: Text
    parts: tuple[Segment, ...]
    kind: Literal["blocks"] = "blocks"


@dataclass(frozen=True, slots=True)
class StripPart:
    """A part of a strip from `start_s` to `end_s`. One of no `hue` is drawn empty; a `faint` one is
    the ground for the ticks of its strip."""

    start_s: float
    end_s: float
    hue: int | None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of a timeline: spans, and ticks at single times in s, in the colour `hue`."""

    label: Text
    spans: tuple[StripPart, ...]
    ticks_s: tuple[float, ...]
    hue: int


@dataclass(frozen=True, slots=True)
class Strips:
    """A plot of rows over one axis of time from 0 on. `legend` says what each hue stands for."""

    name: str
    title: Text
    strips: tuple[Strip, ...]
    legend: tuple[tuple[Text, int | None], ...]
    kind: Literal["strips"] = "strips"


Drawing: TypeAlias = Panel | Bars | Blocks | Strips


@dataclass(frozen=True, slots=True)
class Plot:
    """Panels that belong together, with sentences under them."""

    panels: tuple[Drawing, ...]
    caption: tuple[Text, ...] = ()
    kind: Literal["plot"] = "plot"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences, after `about` in bold: the subject of them all."""

    sentences: tuple[Text, ...]
    about: Text = ""
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of items; `marks`, where given, stand before them: those of the notes to a table."""

    items: tuple[Text, ...]
    marks: tuple[str, ...] = ()
    kind: Literal["bullets"] = "bullets"


@dataclass(frozen=True, slots=True)
class Quote:
    """The user's own words, under `label`."""

    label: Text
    text: str
    kind: Literal["quote"] = "quote"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A program's own words, messages and doubts, line by line."""

    lines: tuple[Text, ...]
    kind: Literal["verbatim"] = "verbatim"


@dataclass(frozen=True, slots=True)
class Own:
    """A place for the user's own words: those of the note called `name`, or empty for new ones."""

    name: str
    text: str = ""
    label: Text = ""
    kind: Literal["own"] = "own"


@dataclass(frozen=True, slots=True)
class Links:
    """Pages elsewhere: the text of each link, and its address (http or https, quoted)."""

    links: tuple[tuple[Text, str], ...]
    kind: Literal["links"] = "links"


Block: TypeAlias = Table | Plot | Paragraph | Bullets | Quote | Verbatim | Links | Own


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading; `level` 2 is an experiment or a question of a day, 3 its part."""

    level: Literal[2, 3]
    heading: Text
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A log in no language yet. `writable` is whether the user's own words have places in it. With
    a `first` screen the sections are folded below it, by those of level 2."""

    title: Text
    lead: tuple[Text, ...]
    sections: tuple[Section, ...]
    writable: bool = True
    first: tuple[Block, ...] = ()
