"""Pages of a report as text for a terminal: sentences, lists and tables."""

from typing import TYPE_CHECKING

from journal.cli.prose import at_width
from journal.cli.render import plain, put_styled, wide_console
from journal.cli.tables import print_table
from journal.report.document import Block, Box, Page, Table
from journal.report.phrases import Words

if TYPE_CHECKING:
    from rich.console import Console


def print_page(page: Page, language: Words) -> None:
    """`page` in `language`; what a terminal cannot show, such as a plot, is left out."""
    console = wide_console()
    put_styled(console, language.say(page.title, plain), "bold")
    put_styled(console, language.paragraph(page.lead, plain))
    for section in page.sections:
        heading = language.say(section.heading, plain)
        put_styled(console, f"\n{heading}", "bold")
        for block in section.blocks:
            _print_block(block, language, console)


def _print_block(block: Block, language: Words, console: "Console") -> None:
    if block.kind == "paragraph":
        texts = [block.about, *block.sentences] if block.about else list(block.sentences)
        put_styled(console, language.paragraph(tuple(texts), plain))
    elif block.kind == "bullets":
        for item in block.items:
            lines = at_width(language.say(item, plain), console.width - 2)
            put_styled(console, "- " + lines.replace("\n", "\n  "))
    elif block.kind == "table":
        _print_table(block, language)
        if block.caption:
            put_styled(console, language.paragraph(block.caption, plain), "dim")


def _print_table(table: Table, language: Words) -> None:
    names = [language.say(column.title, plain) for column in table.columns]
    left = [n for n, c in zip(names, table.columns, strict=True) if not c.numeric]
    rows = [[_box(box, language) for box in row] for row in table.rows]
    print_table(names, rows, left=left, as_it_stands=True)


def _box(box: Box, language: Words) -> str:
    text, detail = language.say(box.text, plain), language.say(box.detail, plain)
    return f"{text} ({detail})" if detail else text
