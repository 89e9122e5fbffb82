"""What does `journal run --endpoint` take beyond its load, on a new journal and on a large one?

    python -m benchmarks.overhead [--before CHECKOUT] [--times 5] [--folder DIR] [--no-write]

Measures a scripted server with the command as a user gives it, under a short load and a long one:
from its start to the first request of the load (the first of the warm-up, which is load; the probe
before it is not), and from the last answer to its results on the screen and to the prompt, when
MLflow has them. On a journal that is made by it, and on one of 10,000 runs. With --before, an older
checkout (as `git worktree add` makes it) takes turns with this one, each on journals that it made
itself. Prints its section of docs/performance.md and puts it there. It takes some minutes, and says
something on a machine that does nothing else.
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.page import ROOT, machine, put
from journal.simulator.http import Script, running

DAYS, REQUESTS = 100, 20  # of 100 runs each, which makes 10,000
TTFT_S, ITL_S = 0.05, 0.01
LOADS = {"short": 8, "long": 200}  # output tokens of each request
LOAD = ("--concurrency", "4", "--prompt-tokens", "32", "--requests", "16")
LIMIT_S, LIMIT_RATIO, RESULTS_S = 1.0, 1.2, 0.3
KINDS = ("new", "large")
RESULTS_END = b"log: "  # the line below the results
MAKE = """
import pathlib, benchmarks.growth as g
g.make(pathlib.Path({home!r}), {days}, requests={requests})
"""


@dataclass(frozen=True, slots=True)
class Took:
    """One command, in s: to the first request of the load, the load, and from its last answer to
    the results on the screen, and to the prompt."""

    before_s: float
    load_s: float
    results_s: float
    after_s: float

    @property
    def beyond_s(self) -> float:
        return self.before_s + self.after_s


Found = Mapping[tuple[str, str, str], Sequence[Took]]  # by checkout (now, before), load and journal


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--before", type=Path, help="an older checkout, measured in turns")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the journals are made for a while")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    checkouts = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="journal-overhead-") as folder:
        text = section(measured(Path(folder), checkouts, options.times), load)
    print(text)
    if not options.no_write:
        put("overhead", text)


def measured(folder: Path, checkouts: Mapping[str, Path], times: int) -> Found:
    """All commands, in turns, after one of each that is not counted."""
    timings: dict[tuple[str, str, str], list[Took]] = {
        (name, load, kind): [] for load in LOADS for kind in KINDS for name in checkouts
    }
    for name, checkout in checkouts.items():
        make(folder / name, checkout)
    with running(Script(ttft_s=TTFT_S, itl_s=ITL_S)) as url:
        for turn in range(times + 1):
            for (name, load, kind), took in timings.items():
                with home_of(folder, name, kind) as home:
                    one = command(checkouts[name], home, url, LOADS[load])
                took += [one] if turn else []
    return timings


def make(home: Path, checkout: Path) -> None:
    """A journal of 10,000 runs, by the code of `checkout`."""
    code = MAKE.format(requests=REQUESTS, home=str(home), days=DAYS)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=checkout, check=True)


@contextmanager
def home_of(folder: Path, name: str, kind: str) -> Iterator[Path]:
    if kind == "large":
        yield folder / name
        return
    new = folder / f"{name}-new"
    yield new
    shutil.rmtree(new)


def command(checkout: Path, home: Path, url: str, output_tokens: int) -> Took:
    words = [sys.executable, "-m", "journal", "run", "--endpoint", url, "--home", str(home), *LOAD]
    words += ["--output-tokens", str(output_tokens)]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "JOURNAL_LANG": "en"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    with tempfile.TemporaryFile(dir=home.parent) as said:
        began_s, shown_s = time.time(), None
        with subprocess.Popen(
            words, env=environment, cwd=home.parent, stdout=subprocess.PIPE, stderr=said
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(RESULTS_END):
                    shown_s = time.time()
            process.wait()
            ended_s = time.time()
        if process.returncode or shown_s is None:
            said.seek(0)
            raise SystemExit(said.read().decode())
    first_s, last_s = of_load(home)
    return Took(first_s - began_s, last_s - first_s, shown_s - last_s, ended_s - last_s)


def of_load(home: Path) -> tuple[float, float]:
    """When the newest run sent its first request and had its last answer, in s of UTC."""
    newest = "SELECT id, started_at FROM runs ORDER BY started_at DESC LIMIT 1"
    ends = "SELECT MIN(start_s), MAX(end_s) FROM requests WHERE run_id = ?"
    with closing(sqlite3.connect(home / "journal.db")) as database:
        run_id, started_at = database.execute(newest).fetchone()
        first_s, last_s = database.execute(ends, (run_id,)).fetchone()
    origin_s = datetime.fromisoformat(started_at).replace(tzinfo=UTC).timestamp()
    return origin_s + first_s, origin_s + last_s


# ---- the section -------------------------------------------------------------------------------


def section(timings: Found, load: float) -> str:
    rows = "\n".join(row(name, kind, took) for (name, _, kind), took in timings.items())
    times = len(timings["now", "short", "new"])
    return f"""## What a run takes beyond its load

`journal run --endpoint URL` as a user gives it: from the start of the command to the first \
request of its load, of which the warm-up is a part, and from the last answer to the results on \
the screen and to the prompt, when MLflow has them. On a journal that it makes, MLflow's store \
among it, and on one of 10,000 runs. The load is that of a scripted server. Medians of {times}, in \
turns, with the least and the most of the two together (to the first request, and to the prompt).

| Version | Load | Journal | to the first request | from the last answer to the results | to the \
prompt | together | from–to |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |
{rows}

### Targets

{targets(timings)}
{compared(timings)}
### Machine

{machine("sqlalchemy", "mlflow-skinny")} Load average before the first: {load:.1f}.
"""


def row(name: str, kind: str, took: Sequence[Took]) -> str:
    journal = {"new": "new", "large": "10,000 runs"}[kind]
    every = [one.beyond_s for one in took]
    columns = (
        median(one.load_s for one in took),
        median(one.before_s for one in took),
        median(one.results_s for one in took),
        median(one.after_s for one in took),
        median(every),
    )
    load_s, *figures = (f"{column:.2f} s" for column in columns)
    version = {"now": "this one", "before": "the one before"}[name]
    cells = (version, load_s, journal, *figures, f"{min(every):.2f}–{max(every):.2f} s")
    return f"| {' | '.join(cells)} |"


def targets(timings: Found) -> str:
    lines = []
    for load in LOADS:
        now = timings["now", load, "new"]
        beyond = {kind: median(t.beyond_s for t in timings["now", load, kind]) for kind in KINDS}
        of = f"a {load} load"
        lines += [
            verdict(f"together, {of}, a new journal", beyond["new"], LIMIT_S, " s"),
            verdict(
                f"together, {of}, 10,000 runs against a new journal",
                beyond["large"] / beyond["new"],
                LIMIT_RATIO,
                " times that",
            ),
            verdict(f"results, {of}", median(t.results_s for t in now), RESULTS_S, " s"),
            verdict(f"prompt, {of}", median(t.after_s for t in now), LIMIT_S, " s"),
        ]
    return "\n".join(lines)


def compared(timings: Found) -> str:
    """This version against the one before, where that took turns with it."""
    lines = []
    for (name, load, kind), now in timings.items():
        if name == "now" and ("before", load, kind) in timings:
            before = timings["before", load, kind]
            ratio = median(one.beyond_s for one in now) / median(one.beyond_s for one in before)
            journal = {"new": "a new journal", "large": "10,000 runs"}[kind]
            lines.append(f"- Together, a {load} load, {journal}: {ratio:.2f} times as before.\n")
    return "".join(lines)


def verdict(subject: str, value: float, limit: float, unit: str) -> str:
    outcome = "met" if value <= limit else "**not met in this run**"
    return f"- {subject}: at most {limit:g}{unit}; {value:.2f}{unit}, {outcome}."


if __name__ == "__main__":
    main()
