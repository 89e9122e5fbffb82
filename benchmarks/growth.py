"""What becomes of a journal that grows? 10 million requests, each with the time of every chunk.

    python -m benchmarks.growth [--requests 10000000] [--folder DIR] [--no-write]

Makes a journal of as many days of 100 runs as that takes, writes the log of its last day on it and
on a journal that holds only that day, and moves the requests of all but the last three tenths of
the days into Parquet files. Prints its section of docs/performance.md and puts it there. With 10
million it takes some ten minutes and 8 GB of disk under --folder (by default the directory for
temporary files).
"""

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
from sqlalchemy import Connection, insert, literal, select

from benchmarks.made_up import answer
from benchmarks.page import machine, put
from journal import units
from journal.metrics.view import View
from journal.plan.cells import cells
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.request import ClientHealth
from journal.records.run import Record
from journal.records.samples import (
    GpuReading,
    HostReading,
    ProcessReading,
    Readings,
    Samples,
    ServerReading,
)
from journal.report.log import write_log
from journal.run.summary import recompute, summarised, times_of
from journal.store import core_tables
from journal.store.compact import Compacted, compact
from journal.store.store import Store, new_id, open_store

LAST = date(2026, 6, 30)
REQUESTS, CHUNKS = 1000, 16  # of each run, and of each answer
LONG = 256  # chunks, of the answers of a small journal that is made beside it
EXPERIMENTS, BATCHES, PROMPTS = 4, (1, 4, 16, 64, 128), (128, 512, 1024, 2048, 8192)
RUNS = EXPERIMENTS * len(BATCHES) * len(PROMPTS)  # of each day
TIMES = 5
LIMIT = 1.5
BYTES_PER_REQUEST = 800  # of disk, at the most, with the copies that VACUUM makes

FACTS = EngineFacts(
    version="0.32.0", kv_pool_bytes=30 * 2**30, kv_pool_tokens=245_760, weights_bytes=14 * 2**30
)
HOST = {"host": "made up", "cpu": "made up", "gpus": 1, "gpu_0_name": "made up"}
PARTS = [rows for rows in core_tables.METADATA.sorted_tables if "run_id" in rows.primary_key.c]
_runs, _experiments = core_tables.runs, core_tables.experiments


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the journals are made for a while")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    days = max(2, options.requests // (RUNS * REQUESTS))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="journal-growth-") as folder:
        needed, free = days * RUNS * REQUESTS * BYTES_PER_REQUEST, shutil.disk_usage(folder).free
        if free < needed:
            raise SystemExit(f"{folder} has {free:,} bytes free, and {needed:,} are needed")
        section = written(measured(Path(folder), days))
    print(section)
    if not options.no_write:
        put("growth", section)


# ---- journals that are made up -----------------------------------------------------------------


def make(
    home: Path,
    days: int,
    chunks: int = CHUNKS,
    runs: int = RUNS,
    url: str | None = None,
    requests: int = REQUESTS,
) -> Path:
    """A journal with so many days until LAST, each of the same cells. The first day is written as
    any run is; the others are copies of its rows, which the database makes itself."""
    first = datetime.combine(LAST, datetime.min.time(), UTC) + timedelta(days=1 - days, hours=6)
    chance = np.random.default_rng(1)
    with open_store(home, url) as store:
        for number in range(EXPERIMENTS):
            begun = store.begin_experiment(asked(number, requests), first, HOST)
            for position, cell in enumerate(cells(begun.experiment)[: runs // EXPERIMENTS]):
                own = samples(cell, chunks, chance)
                at = first + timedelta(minutes=60 * number + position)
                record = Record(
                    id=new_id(),
                    experiment_id=begun.id,
                    cell=cell,
                    status="valid",
                    started_at=at,
                    duration_s=own.traces[-1].end_s,
                    facts=FACTS,
                    environment=HOST,
                )
                made = summarised(record, own)
                store.add_run(made, own, times_of(made, View(own)))
            store.end_experiment(begun.id, "done", first + timedelta(hours=number + 1))
        for day in range(1, days):
            copy_day(store, first.date(), timedelta(days=day))
    return home


def asked(number: int, requests: int = REQUESTS) -> Experiment:
    return Experiment(
        name=f"nightly-{number}",
        engines=(Engine(model=f"some/model-{number}", dtype="bfloat16"),),
        grid=Grid(batch=BATCHES, prompt_tokens=PROMPTS, output_tokens=(CHUNKS,)),
        load=Load(requests=requests, warmup=0),
        usd_per_hour=1.2,
    )


def samples(cell: Cell, chunks: int, chance: np.random.Generator) -> Samples:
    """Answers in waves of a batch, whose times have every bit that a clock gives."""
    batch = cell.batch or 1
    requests = cell.load.requests
    waves = np.arange(requests) // batch * (0.05 + 0.011 * chunks)
    gaps = chance.normal(0.01, 0.0005, (requests, chunks))
    gaps[:, 0] = waves + chance.uniform(0.02, 0.04, requests)
    chunk_s = np.cumsum(gaps, axis=1).tolist()
    traces = tuple(answer(n, float(waves[n]), chunk_s[n], cell) for n in range(requests))
    looks = [traces[-1].end_s * n / 80 for n in range(81)]
    readings = Readings(
        gpu=tuple(
            GpuReading(at_s=at, device=0, used_bytes=45 * 2**30, power_w=290.0) for at in looks
        ),
        server=tuple(ServerReading(at_s=at, running=float(batch), waiting=0.0) for at in looks),
        process=tuple(ProcessReading(at_s=at, rss_bytes=2**33, processes=2) for at in looks),
        host=tuple(HostReading(at_s=at, cpus=16, busy_s=at, ours_s=at) for at in looks),
    )
    client = ClientHealth(loop_delay_p99_s=0.0004, cpu_fraction=0.1)
    return Samples(cell=cell, facts=FACTS, traces=traces, readings=readings, client=client)


def copy_day(store: Store, first: date, later: timedelta) -> None:
    """Copy all rows of the day `first` to a later day, under new ids."""
    since = datetime.combine(first, datetime.min.time(), UTC)
    until = since + timedelta(days=1)
    with store.transaction(writing=True) as connection:
        moments = select(_experiments).where(_experiments.c.started_at.between(since, until))
        for begun in connection.execute(moments).mappings().all():
            new = {name: begun[name] + later for name in ("started_at", "ended_at")}
            fresh = {**begun, **new, "id": new_id()}
            connection.execute(insert(_experiments), fresh)
            runs = select(_runs).where(_runs.c.experiment_id == begun["id"])
            for run in connection.execute(runs).mappings().all():
                own = {"id": new_id(), "experiment_id": fresh["id"]}
                moment = {"started_at": run["started_at"] + later}
                connection.execute(insert(_runs), {**run, **own, **moment})
                copy_parts(connection, run["id"], own["id"])


def copy_parts(connection: Connection, old: str, new: str) -> None:
    for part in PARTS:
        others = [column for column in part.c if column.name != "run_id"]
        copied = select(literal(new), *others).where(part.c.run_id == old)
        names = ["run_id", *(column.name for column in others)]
        connection.execute(insert(part).from_select(names, copied))


# ---- the measurements --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of LAST, in s: how long the command took, the time that a core worked for it, and
    that time for a process that is up."""

    command_s: list[float]
    core_s: list[float]
    inside_s: list[float]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Times in s, sizes in bytes. `sizes` are by table, indices among them; `long_bytes` are those
    of one request of LONG chunks, in the database and in Parquet."""

    days: int
    kept_days: int
    made_s: float
    sizes: dict[str, int]
    long_bytes: tuple[float, float]
    alone: Log
    grown: Log
    smaller: Log
    compacted: Compacted
    compaction_s: float
    recompute_s: tuple[float, float]
    unchanged: bool
    load: float

    @property
    def requests(self) -> int:
        return self.days * RUNS * REQUESTS


def measured(folder: Path, days: int) -> Growth:
    load = os.getloadavg()[0]
    alone, grown = make(folder / "alone", 1), folder / "grown"
    made_s = timed(lambda: make(grown, days))
    sizes = sizes_of(grown)
    first, second = logged(alone, grown)
    with open_store(grown) as store:
        oldest = store.runs(until=store.experiments()[EXPERIMENTS].started_at)[0].id
        before = store.samples(oldest)
    recompute_s = [timed(lambda: recompute(grown, oldest))]
    kept_days = max(1, days * 3 // 10)
    older = (datetime.now(UTC).date() - LAST).days + kept_days - 1
    began_s = time.perf_counter()
    compacted = compact(grown, older_than_days=older)
    compaction_s = time.perf_counter() - began_s
    recompute_s.append(timed(lambda: recompute(grown, oldest)))
    with open_store(grown) as store:
        unchanged = store.samples(oldest) == before and not recompute(grown, oldest)
    return Growth(
        days=days,
        kept_days=kept_days,
        made_s=made_s,
        sizes=sizes,
        long_bytes=of_long(make(folder / "long", 1, LONG, runs=EXPERIMENTS)),
        alone=first,
        grown=second,
        smaller=logged(grown)[0],
        compacted=compacted,
        compaction_s=compaction_s,
        recompute_s=(recompute_s[0], recompute_s[1]),
        unchanged=unchanged,
        load=load,
    )


def of_long(home: Path) -> tuple[float, float]:
    count = EXPERIMENTS * REQUESTS
    size = sizes_of(home)["requests"]
    return size / count, compact(home, older_than_days=1).files_bytes / count


def timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def logged(*homes: Path) -> list[Log]:
    """How long the log of LAST takes in each journal, in turns, after one that is not counted."""
    found = [Log(command_s=[], core_s=[], inside_s=[]) for _ in homes]
    for turn in range(TIMES + 1):
        for home, log in zip(homes, found, strict=True):
            command_s, core_s, inside_s = *command(home), inside(home)
            if turn:
                log.command_s.append(command_s)
                log.core_s.append(core_s)
                log.inside_s.append(inside_s)
    return found


def command(home: Path) -> tuple[float, float]:
    words = [sys.executable, "-m", "journal", "log", str(LAST), "--home", str(home)]
    env = {**os.environ, "TZ": "UTC"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took_s = timed(lambda: subprocess.run(words, env=env, stdout=subprocess.DEVNULL, check=True))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def inside(home: Path) -> float:
    with open_store(home) as store:
        began_s = time.process_time()
        write_log(store, home, LAST, UTC)
        return time.process_time() - began_s


def sizes_of(home: Path) -> dict[str, int]:
    """The bytes of each table with its indices."""
    query = (
        "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
        "GROUP BY m.tbl_name"
    )
    with closing(sqlite3.connect(home / "journal.db")) as database:
        return dict(database.execute(query).fetchall())


# ---- the section -------------------------------------------------------------------------------


def written(found: Growth) -> str:
    moved, runs = found.compacted, found.days * RUNS
    own = {name: size / runs for name, size in found.sizes.items() if name != "requests"}
    readings = sum(size for name, size in own.items() if name.endswith("_readings"))
    of_request = found.sizes["requests"] / found.requests
    in_parquet = moved.files_bytes / moved.requests
    ratio = median(found.grown.core_s) / median(found.alone.core_s)
    within = median(found.grown.inside_s) / median(found.alone.inside_s)
    met = "met" if ratio <= LIMIT else "**not met in this run**"
    return f"""## A journal that grows

A journal of {found.requests:,} requests of {CHUNKS} chunks each: {found.days} days of {RUNS} runs \
of {REQUESTS:,} requests, of the same {RUNS} cells on every day. What a run is else: the readings \
of four meters, 81 each, and its metrics and doubts. It was made in {found.made_s:.0f} s (most of \
it by copies within the database) and is {units.data_size(sum(found.sizes.values()))} large.

| What is stored | in the database | in Parquet |
| --- | ---: | ---: |
| a request of {CHUNKS} chunks | {of_request:.0f} bytes | {in_parquet:.0f} bytes |
| a request of {LONG} chunks | {found.long_bytes[0]:,.0f} bytes | {found.long_bytes[1]:,.0f} bytes |
| a run without its requests | {sum(own.values()):,.0f} bytes | – |
| of these, its readings | {readings:,.0f} bytes | – |

The log of its last day, which compares every cell with the day before, beside the log of a \
journal that holds only that day: medians of {TIMES}, in turns. Beside the time that the command \
took stands the time that a core worked for it, which other programs do not lengthen much, and \
that of the log alone, without the start of the command.

| Journal | requests | `journal log` | a core's time | of the log alone |
| --- | ---: | ---: | ---: | ---: |
{row("only that day", RUNS * REQUESTS, found.alone)}
{row(f"{found.days} days", found.requests, found.grown)}
{row(f"{found.days} days, compacted", found.requests, found.smaller)}

- `journal log` of one day, in a core's time, against that on a journal of only that day: at most \
{LIMIT:g} times; {ratio:.2f} times, {met}. The log alone takes {within:.2f} times as long, since \
there is a day before to compare with.
- `journal compact` moved {moved.requests:,} requests of {moved.runs:,} runs (all but those of \
the last {found.kept_days} days) into {moved.files:,} files of together \
{units.data_size(moved.files_bytes)} in {found.compaction_s:.0f} s. The database was \
{units.data_size(moved.database_before_bytes)} and is \
{units.data_size(moved.database_after_bytes)}: {units.data_size(moved.saved_bytes)} saved.
- `recompute` of one run of the oldest day took {found.recompute_s[0]:.2f} s before and \
{found.recompute_s[1]:.2f} s from Parquet; its samples and figures were \
{"the same" if found.unchanged else "**not the same**"}.

### Machine

{machine("sqlalchemy", "pyarrow")} Load average before: {found.load:.1f}.
"""


def row(name: str, requests: int, log: Log) -> str:
    every = (log.command_s, log.core_s, log.inside_s)
    times = (f"{median(times):.2f} s" for times in every)
    return f"| {name} | {requests:,} | {' | '.join(times)} |"


if __name__ == "__main__":
    main()
