"""The pages of docs/ in which each measurement has a section of its own between two marks."""

import argparse
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
CALIBRATION = ROOT / "docs" / "calibration.md"


def put(part: str, text: str, page: Path = PAGE) -> None:
    """Puts `text` between the marks `<!-- part -->` and `<!-- end of part -->` of the page, and
    leaves all else as it is. Raises ValueError where the marks are not there."""
    opening, closing = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    before, rest = page.read_text().split(opening)
    _, after = rest.split(closing)
    page.write_text(f"{before}{opening}{text.rstrip()}\n{closing}{after}")


def put_rows(part: str, rows: list[str], names: int, page: Path) -> None:
    """Puts `rows` of a table into its part of the page, each in place of the row whose first
    `names` cells are the same, or else at the end. Raises ValueError as `put` does."""
    opening, closing = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    _, rest = page.read_text().split(opening)
    table, _ = rest.split(closing)

    def name(row: str) -> tuple[str, ...]:
        return tuple(row.split(" | ")[:names])

    fresh = {name(row): row for row in rows}
    kept = [fresh.pop(name(row), row) for row in table.splitlines()]
    put(part, "\n".join([*kept, *fresh.values()]), page)


def calibration(doc: str | None, trials: int, only: str = "") -> argparse.ArgumentParser:
    """The options of a program that simulates the tables of a page: how many trials a row has,
    which rows are wanted (`only` says by what; none: always all), and whether the page gets
    them."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=trials, help="of each row")
    if only:
        parser.add_argument("--only", default="", help=only)
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    return parser


def put_table(
    part: str, head: str, rows: Iterable[str], names: int, options: argparse.Namespace
) -> None:
    """Prints each row of a table when it is there. Where the options of `calibration` say so, all
    are then put below `head` into their part of docs/calibration.md, or, where only some were
    wanted, as `put_rows` does."""
    lines = []
    for row in rows:
        lines.append(row)
        print(row, flush=True)
    if options.write and options.only:
        put_rows(part, lines, names, CALIBRATION)
    elif options.write:
        put(part, "\n".join([head, *lines]), CALIBRATION)


def machine(*packages: str) -> str:
    """This machine and the versions of Python and `packages`, in one line."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cores = len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{cores} cores, {names[0] if names else platform.machine()}; Linux "
        f"{platform.release().partition('-')[0]}; Python {platform.python_version()}, {versions}."
    )
