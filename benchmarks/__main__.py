"""Measures what docs/performance.md claims: every part, or those that are named.

    python -m benchmarks [clients] [chats] [streams] [floor] [overhead] [look] [log] [growth]
                         [postgres] [whatif] [newcomer]

Each part is a program of its own with options of its own (`python -m benchmarks.clients --help`)
that prints its section and puts it into the page. The plan in docs/scale.md,
which rests on these figures, is computed again after them.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.page import ROOT

PARTS = (
    *("clients", "chats", "streams", "floor", "overhead", "look", "log", "growth"),
    *("postgres", "whatif", "newcomer"),
)


def chosen(words: Sequence[str]) -> Sequence[str]:
    """The parts that a command line names; all parts where it names none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="all without any")
    named: list[str] = parser.parse_args(words).parts
    for part in named:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}: the parts are {', '.join(PARTS)}")
    return named or PARTS


def main() -> int:
    commands = [
        [sys.executable, "-m", f"benchmarks.{part}"] for part in (*chosen(sys.argv[1:]), "plan")
    ]
    return max(subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
