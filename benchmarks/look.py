"""How long do `journal runs`, `show` and `log` take on a journal of 10,000 runs?

    python -m benchmarks.look [--before CHECKOUT] [--times 9] [--folder DIR] [--no-write]

Makes a journal of 100 days of 100 runs, and runs the commands as a user does, in turns, beside a
Python that only starts. With --before, an older checkout (as `git worktree add` makes it) takes
turns with this one on the same journal, which must have its schema. Prints its section of
docs/performance.md and puts it there. It takes some minutes and 1 GB of disk.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.growth import LAST, RUNS, make
from benchmarks.page import ROOT, machine, put

DAYS, REQUESTS = 100, 20
COMMANDS = {
    "`journal runs`": ("runs",),
    "`journal show last`": ("show", "last"),
    "`journal log` of a day of 100 runs": ("log", str(LAST)),
}
NOTHING = "`python -c pass`"
LIMIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Took:
    """One command: the time that it took, and the time that a core worked for it, both in s."""

    wall_s: float
    core_s: float


Found = Mapping[tuple[str, str], Sequence[Took]]  # by checkout ("now" or "before") and command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.look")
    parser.add_argument("--before", type=Path, help="an older checkout, measured in turns")
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the journal is made for a while")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    checkouts = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="journal-look-") as folder:
        home = make(Path(folder), DAYS, requests=REQUESTS)
        text = section(measured(home, checkouts, options.times), load)
    print(text)
    if not options.no_write:
        put("look", text)


def measured(home: Path, checkouts: Mapping[str, Path], times: int) -> Found:
    """All commands, in turns, after one of each that is not counted."""
    found: dict[tuple[str, str], list[Took]] = {
        (version, name): [] for name in COMMANDS for version in checkouts
    }
    found["now", NOTHING] = []
    for turn in range(times + 1):
        for (version, name), took in found.items():
            words = ["-c", "pass"]
            if name != NOTHING:
                words = ["-m", "journal", *COMMANDS[name], "--home", str(home)]
            one = command(checkouts[version], words)
            took += [one] if turn else []
    return found


def command(checkout: Path, words: Sequence[str]) -> Took:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TZ": "UTC"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [sys.executable, *words]
    subprocess.run(line, env=environment, cwd=checkout, stdout=subprocess.DEVNULL, check=True)
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


# ---- the section -------------------------------------------------------------------------------


def section(found: Found, load: float) -> str:
    rows = "\n".join(row(version, name, took) for (version, name), took in found.items())
    targets = "\n".join(verdict(name, found["now", name]) for name in COMMANDS)
    return f"""## Looking at a large journal

The commands that look at a journal of {DAYS * RUNS:,} runs ({DAYS} days of {RUNS}, {REQUESTS} \
requests each), each a process of its own, as a user starts them, with compiled modules. Medians \
of {len(found["now", NOTHING])}, in turns, with the least and the most, beside the time that a \
core worked for them, which other programs do not lengthen much.

| Version | Command | takes | from–to | a core's time |
| --- | --- | ---: | ---: | ---: |
{rows}

### Targets

{targets}
{compared(found)}
### Machine

{machine("sqlalchemy", "typer", "numpy")} Load average before the first: {load:.1f}.
"""


def row(version: str, name: str, took: Sequence[Took]) -> str:
    walls = [one.wall_s for one in took]
    whose = {"now": "this one", "before": "the one before"}[version] if name != NOTHING else "–"
    return (
        f"| {whose} | {name} | {median(walls):.2f} s | {min(walls):.2f}–{max(walls):.2f} s | "
        f"{median(one.core_s for one in took):.2f} s |"
    )


def verdict(name: str, took: Sequence[Took]) -> str:
    value = median(one.wall_s for one in took)
    outcome = "met" if value <= LIMIT_S else "**not met in this run**"
    return f"- {name}: at most {LIMIT_S:g} s; {value:.2f} s, {outcome}."


def compared(found: Found) -> str:
    """This version against the one before, where that took turns with it."""
    lines = []
    for name in COMMANDS:
        if ("before", name) in found:
            now, before = (
                median(one.core_s for one in found[version, name]) for version in ("now", "before")
            )
            lines.append(
                f"- {name}, in a core's time: {now / before:.2f} times as long as before.\n"
            )
    return "".join(lines)


if __name__ == "__main__":
    main()
