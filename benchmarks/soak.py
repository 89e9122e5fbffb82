"""Kill a sweep at random points, over and over, and look for anything lost, wrong or left behind.

    python -m benchmarks.soak [--kills 500] [--seconds 1200] [--seed 1] [--write]

(or `make soak`, which then looks at the load generator's memory as well: benchmarks/steady.py)

Each round forks a process that measures a sweep of small cells on the simulated server and kills
it with SIGKILL at a random moment; the next round resumes. In every fourth round the process starts
a server of its own, under the guard that engines have. Once a sweep is done, `journal sync`,
`journal serve` and `journal check` are killed as well. `--write` puts the figures into
docs/reliability.md (`make soak WRITE=--write` those of both). Ends with 1 if anything failed.
"""

import argparse
import contextlib
import dataclasses
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import psutil

from benchmarks.nursery import MARK, REPORTS, SCRIPT, Nursery, planned
from benchmarks.page import RELIABILITY, put
from journal.plan.cells import cells
from journal.plan.sequence import sequence
from journal.simulator.http import running

GONE_S = 20.0
KILLS_PER_HOME = 100
SERVER_EVERY = 4


@dataclasses.dataclass
class Report:
    """The numbers of rounds and of findings. All but the first nine have to be 0."""

    kills: int = 0
    sync: int = 0  # kills of `journal sync`, and so on
    serve: int = 0
    check: int = 0
    seconds: float = 0.0
    sweeps: int = 0
    cells: int = 0
    acknowledged: int = 0
    killed_while_measuring: int = 0
    lost: int = 0
    wrong: int = 0
    doubled: int = 0
    unplanned: int = 0
    damaged: int = 0
    orphans: int = 0
    not_in_mlflow_once: int = 0
    half_written: int = 0
    still_listed: int = 0

    @property
    def failures(self) -> int:
        names = ("lost", "wrong", "doubled", "unplanned", "damaged", "orphans", "still_listed")
        return sum(getattr(self, name) for name in (*names, "not_in_mlflow_once", "half_written"))


def cells_left(home: Path, sweep: str) -> int:
    """How many cells of a sweep are not measured yet."""
    total = len(cells(planned(sweep), model="simulated-model"))
    query = "SELECT count(*) FROM runs WHERE experiment = ? AND status IN ('valid', 'flagged')"
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as database:
        (done,) = database.execute(query, [sweep]).fetchone()
    return total - int(done)


# ---- the checks ------------------------------------------------------------------------------


def check_home(home: Path, report: Report) -> None:
    """After a kill: the file is whole and its rows belong together."""
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as database:
        whole = database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        bound = database.execute("PRAGMA foreign_key_check").fetchall() == []
    report.damaged += not (whole and bound)


def check_sweep(home: Path, sweep: str, report: Report) -> None:
    """After a sweep has come to its end: exactly the planned cells, each whole and right."""
    import journal
    from journal.run.summary import summarised

    asked = {cell.identity for cell in cells(planned(sweep), model="simulated-model")}
    with journal.open_store(home) as store:
        mine = [each for each in store.experiments() if each.experiment.name == sweep]
        runs = [run for each in mine for run in store.runs(experiment_id=each.id)]
        good = Counter(run.cell.identity for run in runs if run.status in ("valid", "flagged"))
        report.unplanned += len(asked ^ set(good)) + (len(mine) - 1)
        report.doubled += sum(count - 1 for count in good.values())
        for run in runs:
            samples = store.samples(run.id)
            right = (
                samples is not None
                and [(t.output_tokens, len(t.chunk_s)) for t in samples.traces]
                == [(slot.output_tokens, slot.output_tokens) for slot in sequence(run.cell)]
                and dataclasses.replace(run, mlflow_run_id=None)
                == dataclasses.replace(summarised(run, samples, runs), mlflow_run_id=None)
            )
            report.wrong += not right
    report.sweeps += 1
    report.cells += len(good)


def check_acknowledged(home: Path, said: set[str], report: Report) -> None:
    """Every run that a process acknowledged as stored is in the database."""
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as database:
        stored = {row[0][:8] for row in database.execute("SELECT id FROM runs")}
    report.lost += len(said - stored)


def check_mlflow(home: Path, report: Report) -> None:
    """Once it has all that it missed, MLflow has each run of the journal exactly once."""
    import journal
    from journal.tracking.tracker import sync, tracking_uri

    with journal.open_store(home) as store:
        sync(store, home)
        ours = Counter([run.id for run in store.runs()] + [each.id for each in store.experiments()])
    database = tracking_uri(home).removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(database)) as mlflow:
        tags = mlflow.execute("SELECT value FROM tags WHERE key = 'journal.id'").fetchall()
    theirs = Counter(value for (value,) in tags)
    report.not_in_mlflow_once += sum(((ours - theirs) + (theirs - ours)).values())


def forget_mlflow(home: Path, sweep: str) -> None:
    """Say that MLflow lacks all of a sweep, so that `journal sync` has something to send."""
    mine = "SELECT id FROM experiments WHERE name = ?"
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as database, database:
        for table, column in (("runs", "experiment_id"), ("experiments", "id")):
            update = f"UPDATE {table} SET mlflow_pending = 1 WHERE {column} IN ({mine})"
            database.execute(update, [sweep])


def check_reports(home: Path, report: Report) -> None:
    """A report of `journal check` is whole, or not there."""
    xml, markdown = (home / name for name in REPORTS)
    if xml.exists():
        try:
            ElementTree.parse(xml)
        except ElementTree.ParseError:
            report.half_written += 1
    report.half_written += markdown.exists() and not markdown.read_text().endswith("\n")


def check_served(home: Path, report: Report) -> None:
    """No server is listed whose command was killed."""
    from journal.serve.standing import served

    report.still_listed += len(served(home))


def marked(mark: str, nursery_pid: int) -> list[int]:
    """The processes that came of the rounds and still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != nursery_pid and process.status() != psutil.STATUS_ZOMBIE:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                if f"{MARK}={mark}".encode() in environment.split(b"\0"):
                    found.append(process.pid)
    return found


def check_orphans(mark: str, nursery_pid: int, report: Report) -> None:
    """Within some seconds nothing is left of a round but the nursery."""
    deadline = time.monotonic() + GONE_S
    while left := marked(mark, nursery_pid):
        if time.monotonic() > deadline:
            report.orphans += len(left)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


# ---- all of it -------------------------------------------------------------------------------


def soak(folder: Path, kills: int, seconds: float, seed: int, tell: bool = False) -> Report:
    """Rounds in homes of their own under `folder`, until `kills` are done or `seconds` are over
    (then the sweep that is under way is still brought to its end)."""
    report, chance, began_s = Report(), random.Random(seed), time.monotonic()
    with running(SCRIPT) as url:
        while report.kills < kills and time.monotonic() - began_s < seconds:
            rounds = Rounds(folder / f"home-{report.kills}", url, report, chance)
            rounds.go(min(kills, report.kills + KILLS_PER_HOME), began_s + seconds, tell)
            report.seconds = time.monotonic() - began_s
    return report


class Rounds:
    """The rounds in one home."""

    def __init__(self, home: Path, url: str, report: Report, chance: random.Random) -> None:
        self.home, self.report, self.chance = home, report, chance
        self.mark = f"{os.getpid()}-{home.name}"
        self.nursery = Nursery(home, url, self.mark)
        self.said: set[str] = set()
        self.count = 0
        self.first_s = self.cell_s = 0.0  # what a round takes to its first cell, and for each
        self.whole_s: dict[str, float] = {}  # what the other commands take

    def go(self, most: int, until_s: float, tell: bool) -> None:
        """Kill until the report has `most` kills or it is `until_s`, and finish the last sweep."""
        try:
            self.round("first", None)  # makes the databases
            self.round("second", None)  # measures how long steps take here and now
            sweep = 0
            while self.report.kills < most and time.monotonic() < until_s:
                sweep, done = sweep + 1, False
                while not done:
                    left = cells_left(self.home, f"sweep {sweep}")
                    over = self.report.kills >= most or time.monotonic() > until_s
                    finish = over or (left == 0 and self.chance.random() < 0.5)
                    kill_after = None if finish else self.chance.randint(0, left)
                    done = self.round(f"sweep {sweep}", kill_after)
                check_sweep(self.home, f"sweep {sweep}", self.report)
                self.others(f"sweep {sweep}")
                if tell:
                    print(f"{self.report.kills} kills, {self.report.failures} failures", flush=True)
        finally:
            self.nursery.close()
        check_mlflow(self.home, self.report)

    def round(self, sweep: str, kill_after: int | None) -> bool:
        """One round, killed at a random moment after so many cells or let run to its end, and
        what is looked for after it; whether the sweep is done."""
        report, self.count = self.report, self.count + 1
        own = self.count % SERVER_EVERY == 0
        pid = self.nursery.fork(sweep, "run on its own server" if own else "run")
        lines: list[str] = []
        if kill_after is not None:
            lines = self.nursery.said(until=kill_after)
            time.sleep(self.chance.uniform(0, self.cell_s if kill_after else self.first_s))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        lines += self.nursery.said() if "over" not in lines else []
        done = "done" in lines
        if kill_after is None and not done:
            raise RuntimeError(f"a round that nobody killed did not come to its end: {lines}")
        stored = [line.split()[1:] for line in lines if line.startswith("stored ")]
        self.said |= {run_id for run_id, _ in stored}
        if kill_after is None and stored:
            self.first_s, last_s = float(stored[0][1]), float(stored[-1][1])
            self.cell_s = (last_s - self.first_s) / max(1, len(stored) - 1)
        report.acknowledged += len(stored)
        report.kills += not done
        report.killed_while_measuring += not done and bool(stored)
        check_orphans(self.mark, self.nursery.process.pid, report)
        if (self.home / "journal.db").exists():
            check_home(self.home, report)
            check_acknowledged(self.home, self.said, report)
        return done

    def others(self, sweep: str) -> None:
        """The other commands on a sweep that is done, each killed at a random moment but for the
        first time, and what is looked for after them."""
        for act in ("sync", "serve", "check"):
            forget_mlflow(self.home, sweep)
            pid = self.nursery.fork(sweep, act)
            self.nursery.said(until=1)
            begun_s = time.monotonic()
            if act in self.whole_s:
                time.sleep(self.chance.uniform(0, 0.9 * self.whole_s[act]))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            done = "done" in (lines := self.nursery.said())
            if act not in self.whole_s and not done:
                raise RuntimeError(f"{act}, which nobody killed, did not come to its end: {lines}")
            if done:
                took_s = time.monotonic() - begun_s
                self.whole_s[act] = min(took_s, self.whole_s.get(act, took_s))
            setattr(self.report, act, getattr(self.report, act) + (not done))
            check_orphans(self.mark, self.nursery.process.pid, self.report)
            check_served(self.home, self.report)
            check_home(self.home, self.report)
            check_acknowledged(self.home, self.said, self.report)
        check_reports(self.home, self.report)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="journal-soak-") as folder:
        report = soak(Path(folder), options.kills, options.seconds, options.seed, tell=True)
    table = as_table(report)
    print(table)
    if options.write:
        cores = len(os.sched_getaffinity(0))
        made = f"`make soak KILLS={options.kills}` on {cores} cores, {date.today()}:"
        put("soak", f"{made}\n\n{table}", RELIABILITY)
    return 1 if report.failures else 0


def as_table(report: Report) -> str:
    """The report as a table of Markdown."""
    said = {
        "kills": "SIGKILLs that struck a running sweep",
        "killed_while_measuring": "of these after its first cell was stored",
        "sync": "SIGKILLs that struck a `journal sync`",
        "serve": "SIGKILLs that struck a `journal serve`, while its engine started or served",
        "check": "SIGKILLs that struck a `journal check`",
        "sweeps": "sweeps resumed to their end",
        "cells": "cells measured in them",
        "acknowledged": "cells that a process said were stored",
        "lost": "of these lost",
        "wrong": "cells with a wrong or missing row",
        "doubled": "cells measured twice",
        "unplanned": "cells missing or not planned, and experiments begun twice",
        "damaged": "looks at the database that failed its integrity checks",
        "orphans": "processes left behind",
        "not_in_mlflow_once": "runs that MLflow does not know exactly once",
        "half_written": "reports of `journal check` that are half written",
        "still_listed": "servers still listed after their command was killed",
    }
    rows = [f"| {words} | {getattr(report, name):,} |" for name, words in said.items()]
    lasted = f"| minutes that it took | {report.seconds / 60:.0f} |"
    return "\n".join(["| what | how many |", "| --- | ---: |", *rows, lasted])


if __name__ == "__main__":
    sys.exit(main())
