"""Measures what docs/performance.md claims: every part, or those that are named.

    python -m benchmarks [clients] [log] [growth] [postgres]

Each part is a program of its own with options of its own (`python -m benchmarks.clients --help`)
that prints its section and puts it into the page. What docs/scale.md reckons with the figures is
reckoned again after them.
"""

import argparse
import subprocess
import sys

from benchmarks.page import ROOT

PARTS = ("clients", "log", "growth", "postgres")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("part", nargs="*", choices=PARTS, help="all without any")
    chosen = parser.parse_args().part or PARTS
    commands = [[sys.executable, "-m", f"benchmarks.{part}"] for part in (*chosen, "plan")]
    return max(subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
