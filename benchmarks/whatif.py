"""How long does `journal whatif` take? On journals of 1,000 runs and of 10,000.

    python -m benchmarks.whatif [--no-write]

Makes the journals (some 700 MB for a while), asks what every setup would give under another SLO,
as a command, and puts its section into docs/performance.md.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.growth import RUNS, make
from benchmarks.page import machine, put
from journal.compare.whatif import whatif
from journal.records.experiment import Slo

DAYS = (10, 100)  # of RUNS runs each
REQUESTS = 100  # of each run
TIMES = 5
LIMIT_S = 2.0
SLO = ("--slo-ttft-ms", "300", "--slo-tpot-ms", "40")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Times in s: how long the command took, the time that a core worked for it, and that time for
    the same call in a process that is up."""

    runs: int
    command_s: list[float]
    core_s: list[float]
    inside_s: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whatif")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="journal-whatif-") as folder:
        homes = [make(Path(folder) / f"{n}", n, 1, requests=REQUESTS) for n in DAYS]
        page = section([asked(home, n * RUNS) for home, n in zip(homes, DAYS, strict=True)], load)
    print(page)
    if not options.no_write:
        put("whatif", page)


def asked(home: Path, runs: int) -> Asked:
    """The times on one journal, after a command that is not counted."""
    found = Asked(runs=runs, command_s=[], core_s=[], inside_s=[])
    words = [sys.executable, "-m", "journal", "whatif", *SLO, "--home", str(home)]
    for turn in range(TIMES + 1):
        began_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        command_s = time.perf_counter() - began_s
        used_s = time.process_time()
        whatif(Slo(ttft_ms=300, tpot_ms=40), home)
        if turn:
            found.command_s.append(command_s)
            found.core_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            found.inside_s.append(time.process_time() - used_s)
    return found


def section(found: list[Asked], load: float) -> str:
    rows = "\n".join(
        f"| {one.runs:,} | {median(one.command_s):.2f} s | {median(one.core_s):.2f} s "
        f"| {median(one.inside_s):.2f} s |"
        for one in found
    )
    least_s = min(found[-1].core_s)
    met = "met" if least_s <= LIMIT_S else "**not met in this run**"
    return f"""## What if the SLO were another

`journal whatif` on journals of runs with {REQUESTS} requests each: medians of {TIMES}. A core's \
time is what other programs do not lengthen much; the last column is that of the same call in a \
process that is up.

| Runs | Command | A core's time | Without its start |
| ---: | ---: | ---: | ---: |
{rows}

### Target

- {found[-1].runs:,} runs, in a core's time: at most {LIMIT_S:.0f} s; {least_s:.2f} s at the least \
of {TIMES}, {met}.

### Machine

{machine("sqlalchemy", "numpy")} Load average before the first: {load:.1f}."""


if __name__ == "__main__":
    main()
