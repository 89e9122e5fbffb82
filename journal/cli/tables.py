"""Tables for a terminal of any width, in which nothing is cut: what all rows share stands above,
and rows take as many lines as they need."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from journal.cli.prose import line_breaks
from journal.cli.render import wide_console, word
from journal.redaction import hiding

if TYPE_CHECKING:
    from rich.text import Text

    Cells = Sequence[str | Text]

GAP = 2  # between two columns
INDENT = 2  # of the further lines of a row


def print_table(
    columns: Sequence[str],
    rows: "Sequence[Cells]",
    left: Collection[str] = (),
    kept: Collection[str] = (),
    *,
    as_it_stands: bool = False,
) -> None:
    """Print a table. Where it is wider than the console, columns whose cells are all alike stand in
    a line above it (but for those in `kept`), and then rows take several lines, as the head does.
    Columns in `left` are set to the left. Texts are put into the user's language, or stay
    `as_it_stands`."""
    console = wide_console()
    rule = "─" if console.encoding.lower().startswith("utf") else "-"
    for line in table_lines(
        columns, rows, left, kept, console.width, rule, as_it_stands=as_it_stands
    ):
        console.print(line, soft_wrap=True, highlight=False)


def table_lines(
    columns: Sequence[str],
    rows: "Sequence[Cells]",
    left: Collection[str],
    kept: Collection[str],
    width: int,
    rule: str = "─",
    *,
    as_it_stands: bool = False,
) -> "list[Text]":
    """The lines of a table, none wider than `width`; `rule` draws the line below the head."""
    from rich.text import Text

    hide, said = hiding(), str if as_it_stands else word
    texts = [[Text(said(hide(c))) if isinstance(c, str) else c for c in row] for row in rows]
    heads = [said(name) for name in columns]
    lefts = [n for n, name in enumerate(columns) if name in left]
    layout = _layout(heads, texts, lefts, range(len(columns)), width)
    above: list[Text] = []
    if len(layout.groups) > 1 and len(texts) > 1:
        alike = [
            n
            for n, name in enumerate(columns)
            if name not in kept and len({row[n].plain for row in texts}) == 1
        ]
        if len(alike) < len(columns):
            known = [n for n in alike if texts[0][n].plain.strip()]
            shared = [Text.assemble((f"{heads[n]} ", "dim"), texts[0][n]) for n in known]
            above = _one_after_another(shared, width)
            rest = [n for n in range(len(columns)) if n not in alike]
            layout = _layout(heads, texts, lefts, rest, width)
    lines = [Text(), *above, *_row([Text(name, style="bold") for name in heads], layout)]
    lines.append(Text(rule * min(width, max(map(layout.needed, layout.groups)))))
    for row in texts:
        lines += _row(row, layout)
        lines += [Text()] if len(layout.groups) > 1 and row is not texts[-1] else []
    return [*lines, Text()]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The place of each column: `groups` are the columns of each line of a row, `widths` those of
    all columns, `left` the columns that are set to the left."""

    groups: Sequence[Sequence[int]]
    widths: Sequence[int]
    left: frozenset[int]
    width: int

    def indent(self, group: Sequence[int]) -> int:
        """The columns before the line of `group`."""
        return 0 if group is self.groups[0] else INDENT

    def needed(self, group: Sequence[int]) -> int:
        """The width of the line of `group`."""
        return self.indent(group) + sum(self.widths[n] for n in group) + GAP * (len(group) - 1)


def _layout(
    names: Sequence[str],
    rows: "Sequence[Sequence[Text]]",
    left: Collection[int],
    chosen: Sequence[int],
    width: int,
) -> _Layout:
    """As many of the columns `chosen` in each line as fit into `width`, in order."""
    from rich.cells import cell_len

    widths = [
        max([cell_len(name), *(row[n].cell_len for row in rows)]) for n, name in enumerate(names)
    ]
    groups: list[list[int]] = [[]]
    used = -GAP
    for n in chosen:
        if groups[-1] and used + GAP + widths[n] > width:
            groups.append([])
            used = INDENT - GAP
        groups[-1].append(n)
        used += GAP + widths[n]
    return _Layout(groups, widths, frozenset(left), width)


def _row(cells: "Sequence[Text]", layout: _Layout) -> "list[Text]":
    """The lines of one row: one for each group of columns, and more for a cell that is wider than
    a line; none for a group without words, but for the first."""
    from rich.text import Text

    lines: list[Text] = []
    for group in layout.groups:
        indent = layout.indent(group)
        if lines and not any(cells[n].plain.strip() for n in group):
            continue
        if layout.needed(group) > layout.width:
            parts = _wrapped(cells[group[0]], layout.width - indent)
            lines += [Text(" " * indent) + part for part in parts]
            continue
        line = Text(" " * indent)
        for place, n in enumerate(group):
            line.append(" " * GAP if place else "")
            room = " " * (layout.widths[n] - cells[n].cell_len)
            for part in (cells[n], room) if n in layout.left else (room, cells[n]):
                line.append(part)
        line.rstrip()
        lines.append(line)
    return lines


def _wrapped(text: "Text", width: int) -> "list[Text]":
    """`text` in lines of at most `width`, broken between words where there are any."""
    from rich.console import Console

    room = max(1, width)
    lines: list[Text] = []
    for line in text.divide(line_breaks(text.plain, room)):
        line.rstrip()
        lines += line.wrap(Console(width=room), room, overflow="fold")
    return lines


def _one_after_another(texts: "Sequence[Text]", width: int) -> "list[Text]":
    """`texts` in lines of at most `width`."""
    lines: list[Text] = []
    for text in texts:
        if lines and lines[-1].cell_len + GAP + text.cell_len <= width:
            lines[-1].append(" " * GAP).append(text)
        else:
            lines += _wrapped(text, width)
    return lines
