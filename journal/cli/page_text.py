"""Pages of a report as text for a terminal: sentences, lists and tables."""

from typing import TYPE_CHECKING

from journal.cli.render import plain, wide_console
from journal.cli.tables import print_table
from journal.report.document import Block, Box, Page, Table
from journal.report.phrases import Words

if TYPE_CHECKING:
    from rich.console import Console


def print_page(page: Page, language: Words) -> None:
    """`page` in `language`; what a terminal cannot show, such as a plot, is left out."""
    console = wide_console()
    console.print(language.say(page.title, plain), style="bold", markup=False, highlight=False)
    console.print(language.paragraph(page.lead, plain), markup=False, highlight=False)
    for section in page.sections:
        heading = language.say(section.heading, plain)
        console.print(f"\n{heading}", style="bold", markup=False, highlight=False)
        for block in section.blocks:
            _print_block(block, language, console)


def _print_block(block: Block, language: Words, console: "Console") -> None:
    from rich.text import Text

    if block.kind == "paragraph":
        texts = [block.about, *block.sentences] if block.about else list(block.sentences)
        console.print(Text(language.paragraph(tuple(texts), plain)), highlight=False)
    elif block.kind == "bullets":
        for item in block.items:
            lines = Text(language.say(item, plain)).wrap(console, console.width - 2)
            for number, line in enumerate(lines):
                console.print(Text("  " if number else "- ") + line, soft_wrap=True)
    elif block.kind == "table":
        _print_table(block, language)
        if block.caption:
            console.print(Text(language.paragraph(block.caption, plain), style="dim"))


def _print_table(table: Table, language: Words) -> None:
    names = [language.say(column.title, plain) for column in table.columns]
    left = [n for n, c in zip(names, table.columns, strict=True) if not c.numeric]
    rows = [[_box(box, language) for box in row] for row in table.rows]
    print_table(names, rows, left=left, as_it_stands=True)


def _box(box: Box, language: Words) -> str:
    text, detail = language.say(box.text, plain), language.say(box.detail, plain)
    return f"{text} ({detail})" if detail else text
