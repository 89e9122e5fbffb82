"""Several processes, and the death of one: what was acknowledged is there, whole."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import open_store

NewRecord = Callable[..., Record]

# A process that has all modules loaded forks a writer for each line that it reads: the name of
# an experiment. The writer tells its pid, then the id of every run once it is stored.
NURSERY = """
import dataclasses, os, sys
from datetime import UTC, datetime
from pathlib import Path
import alembic.command, alembic.script
from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment, Load
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.run import Record
from journal.records.samples import Readings, Samples
from journal.store.store import new_id, open_store

home, url, runs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cell = Cell(experiment="e", model="m", quantisation=None, engine=None, batch=1, rate=None,
            prompt_tokens=1, output_tokens=1, load=Load())
trace = Trace(index=0, warmup=False, scheduled_s=0.0, start_s=0.0, end_s=1.0, outcome="ok",
              prompt_tokens_asked=1, output_tokens_asked=1, chunk_s=(0.5,) * 200)
samples = Samples(cell=cell, facts=EngineFacts(), traces=(trace,) * 20, readings=Readings(),
                  client=ClientHealth())

def write(name):
    with open_store(home, url) as store:
        begun = store.begin_experiment(Experiment(name=name), datetime.now(UTC), {})
        for _ in range(runs):
            record = Record(id=new_id(), experiment_id=begun.id, cell=cell, status="valid",
                            started_at=datetime.now(UTC), duration_s=1.0,
                            metrics={"m": Figure(1.0)}, doubts=(Doubt("d", {"sentence": "s"}),))
            store.add_run(record, samples)
            os.write(1, f"{record.id}\\n".encode())

for line in sys.stdin:
    if os.fork() == 0:
        try:
            os.write(1, f"pid {os.getpid()}\\n".encode())
            write(line.strip())
            os.write(1, b"done\\n")
        except BaseException as error:
            os.write(1, f"failed {error!r}\\n".encode())
        finally:
            os._exit(0)
"""


class Nursery:
    def __init__(self, home: Path, url: str, runs: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(home), url, str(runs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def fork(self, name: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{name}\n")

    def lines(self) -> Iterator[str]:
        assert self.process.stdout
        return (line.strip() for line in self.process.stdout)

    def close(self) -> list[str]:
        """All lines until the last writer ended."""
        assert self.process.stdin
        self.process.stdin.close()
        with self.process:
            return list(self.lines())


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    kills, acknowledged = 20, set()
    chance = random.Random(7)
    nursery = Nursery(tmp_path, f"sqlite:///{tmp_path}/journal.db", runs=10_000)
    for _ in range(kills):
        nursery.fork("to be killed")
        pid, left = 0, chance.randint(1, 5)
        for line in nursery.lines():
            if line.startswith("pid "):
                pid = int(line.removeprefix("pid "))
            else:  # perhaps the last words of the writer before
                acknowledged.add(line)
                left -= pid != 0
            if left == 0:
                break
        assert pid, "no writer began; and process 0 would be all of ours"
        time.sleep(chance.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
    acknowledged |= set(nursery.close())
    assert len(acknowledged) > kills
    with open_store(tmp_path) as store:
        runs = {record.id: record for record in store.runs()}
        assert acknowledged <= set(runs)
        assert {record.status for record in store.experiments()} == {"interrupted"}
        assert len(runs) <= len(acknowledged) + kills  # stored, and killed before it could say so
        for record in runs.values():
            samples = store.samples(record.id)
            assert samples is not None
            assert (len(samples.traces), len(record.metrics), len(record.doubts)) == (20, 1, 1)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_processes_may_make_and_fill_a_journal_together(tmp_path: Path, url: str) -> None:
    writers, runs_each = 5, 12
    nursery = Nursery(tmp_path / "new", url, runs_each)
    for number in range(writers):
        nursery.fork(f"writer {number}")
    lines = nursery.close()
    assert [line for line in lines if line.startswith("failed")] == []
    assert lines.count("done") == writers
    ids = {line for line in lines if line != "done" and not line.startswith("pid ")}
    with open_store(tmp_path / "new", url) as store:
        assert {record.id for record in store.runs()} == ids
        assert len(ids) == writers * runs_each
        assert len(store.experiments()) == writers


def test_readers_are_not_held_up_by_a_writer_nor_see_half_of_a_run(
    tmp_path: Path, new_record: NewRecord, samples: Samples, url: str
) -> None:
    with open_store(tmp_path, url) as store:
        store.add_run(new_record(), samples)
        nursery = Nursery(tmp_path, url, 40)
        nursery.fork("writer")
        seen: list[int] = []
        for line in nursery.lines():
            records = store.runs()
            assert all(len(record.metrics) in (1, 2) and record.doubts for record in records)
            seen.append(len(records))
            if line == "done":
                break
        assert seen == sorted(seen)
        assert seen[-1] == 41
        assert nursery.close() == []
