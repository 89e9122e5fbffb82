"""How long does the log of a day take? Of 1,000 cells and of 10,000, with 1,000 requests each.

    python -m benchmarks.log [--no-write]
    python -m benchmarks.log --profile FILE

Makes journals that hold every request of such days (some 3 GB for a while), writes the log of each,
and puts its section into docs/performance.md.
"""

import argparse
import cProfile
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import text

from benchmarks.made_up import answer
from benchmarks.page import machine, put
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.figure import Figure, Metrics
from journal.records.request import ClientHealth, Trace
from journal.records.run import Record
from journal.records.samples import GpuReading, Readings, Samples, ServerReading
from journal.report.log import write_log
from journal.store.store import Store, new_id, open_store

REQUESTS, OUTPUT_TOKENS, REPEATS = 1000, 16, 5
DAY, BEGAN = date(2026, 11, 20), datetime(2026, 11, 20, 6, tzinfo=UTC)
MODELS = ("mistralai/Mistral-7B-Instruct-v0.2", "meta-llama/Meta-Llama-3-8B-Instruct")
HOST = {"host": "made up", "cpu": "made up", "gpus": 1, "gpu_0_name": "made up"}
FACTS = EngineFacts(
    version="0.32.0", kv_pool_bytes=30 * 2**30, kv_pool_tokens=245_760, weights_bytes=14 * 2**30
)
TIMES = 3
LIMIT_S, LIMIT_RATIO = 2.0, 11.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A day of so many experiments, each a grid over both models, five times."""

    experiments: int
    batches: tuple[int, ...] = (1, 4, 16, 64, 128)
    prompts: tuple[int, ...] = (128, 512, 1024, 2048, 8192)

    @property
    def cells(self) -> int:
        cells_each = len(MODELS) * len(self.batches) * len(self.prompts) * REPEATS
        return self.experiments * cells_each


@dataclass(frozen=True, kw_only=True)
class Timed:
    shape: Shape
    seconds: tuple[float, ...]
    core_s: tuple[float, ...]
    figures: int
    html_bytes: int


DAYS = (
    Shape(experiments=4),
    Shape(experiments=40),
    Shape(experiments=4, batches=tuple(range(1, 11)), prompts=tuple(range(100, 2600, 100))),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--profile", type=Path, help="profile one log of 1,000 cells into FILE")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with open_store(make(home / "warm", Shape(experiments=1, batches=(1, 4)))) as store:
            write_log(store, home / "warm", DAY, UTC)
        if options.profile:
            with open_store(make(home / "day", DAYS[0])) as store, cProfile.Profile() as profile:
                write_log(store, home / "day", DAY, UTC)
            profile.dump_stats(options.profile)
            return
        page = section([timed(home / "day", shape) for shape in DAYS], load)
    print(page)
    if not options.no_write:
        put("log", page)


def timed(home: Path, shape: Shape) -> Timed:
    """The log of a day of `shape`, written some times, each time into an empty directory."""
    seconds, core_s = [], []
    with open_store(make(home, shape)) as store:
        for number in range(TIMES):
            into = home / str(number)
            into.mkdir()
            gc.collect()
            began_s, used_s = time.perf_counter(), time.process_time()
            files = write_log(store, into, DAY, UTC)
            seconds.append(time.perf_counter() - began_s)
            core_s.append(time.process_time() - used_s)
    size = files.html.stat().st_size
    shutil.rmtree(home)
    return Timed(
        shape=shape,
        seconds=tuple(seconds),
        core_s=tuple(core_s),
        figures=len(files.figures),
        html_bytes=size,
    )


# ---- days --------------------------------------------------------------------------------------


def make(home: Path, shape: Shape) -> Path:
    """A journal with one day of `shape`, every request of every run in it."""
    measured: dict[tuple[int | None, int], Metrics] = {}
    with open_store(home) as store:
        first: str | None = None
        for number in range(shape.experiments):
            planned = experiment(number, shape)
            begun = store.begin_experiment(planned, BEGAN, HOST)
            for position, cell in enumerate(cells(planned)):
                key = cell.batch, cell.prompt_tokens
                measured[key] = measured.get(key) or metrics(samples(cell))
                at = BEGAN + timedelta(seconds=900 * number + position / 10)
                run = record(cell, measured[key], begun.id, at)
                store.add_run(run, samples(cell) if first is None else None)
                if first is None:
                    first = run.id
                else:
                    copy_requests(store, first, run.id)
            store.end_experiment(begun.id, "done", BEGAN + timedelta(hours=12))
    return home


def experiment(number: int, shape: Shape) -> Experiment:
    return Experiment(
        name=f"sweep-{number}",
        question="How do two models compare over batch and prompt length?",
        hypothesis="The larger vocabulary costs a little at every step.",
        engines=tuple(Engine(model=model, dtype="bfloat16") for model in MODELS),
        grid=Grid(batch=shape.batches, prompt_tokens=shape.prompts, output_tokens=(OUTPUT_TOKENS,)),
        load=Load(requests=REQUESTS, warmup=0, repeats=REPEATS),
        predict={"kv_bytes_per_token": 131_072},
        usd_per_hour=1.2,
    )


def samples(cell: Cell) -> Samples:
    """A run on a GPU whose steps take longer from batch 16 on."""
    batch = cell.batch or 1
    step_s = 0.018 + 0.0001 * batch + 0.0012 * max(0, batch - 16)
    ttft_s = 0.012 + 0.0001 * cell.prompt_tokens * (1 + batch / 8)
    traces = [trace(n, n // batch, ttft_s, step_s, cell) for n in range(REQUESTS)]
    looks = [traces[-1].end_s * n / 50 for n in range(51)]
    running = [float(batch if at_s < looks[-1] else 0) for at_s in looks]
    used = [n * (cell.prompt_tokens + OUTPUT_TOKENS) / 245_760 for n in running]
    return Samples(
        cell=cell,
        facts=FACTS,
        traces=tuple(traces),
        readings=Readings(
            gpu=tuple(
                GpuReading(at_s=at_s, device=0, used_bytes=45 * 2**30, power_w=290.0)
                for at_s in looks
            ),
            server=tuple(
                ServerReading(
                    at_s=at_s,
                    running=running[n],
                    waiting=0.0,
                    kv_cache_fraction=min(1.0, used[n]),
                    preemptions_total=0.0,
                )
                for n, at_s in enumerate(looks)
            ),
        ),
        client=ClientHealth(loop_delay_p99_s=0.0004, cpu_fraction=0.1),
    )


def trace(index: int, wave: int, ttft_s: float, step_s: float, cell: Cell) -> Trace:
    wobble = 1 + 0.01 * (index * 7919 % 100) / 100
    start_s = wave * (ttft_s + OUTPUT_TOKENS * step_s) * 1.01
    chunk_s = tuple(start_s + (ttft_s + n * step_s) * wobble for n in range(OUTPUT_TOKENS))
    return answer(index, start_s, chunk_s, cell)


def record(cell: Cell, measured: Metrics, experiment_id: str, at: datetime) -> Record:
    """A run whose figures are `measured`, a little off by its repeat and its model."""
    factor = 1 + 0.005 * cell.repeat + 0.08 * MODELS.index(cell.model)
    return Record(
        id=new_id(),
        experiment_id=experiment_id,
        cell=cell,
        status="valid",
        started_at=at,
        duration_s=0.1,
        metrics={name: scaled(figure, factor) for name, figure in measured.items()},
        facts=FACTS,
        environment=HOST,
    )


def scaled(figure: Figure, factor: float) -> Figure:
    ends = [None if end is None else end * factor for end in (figure.low, figure.high)]
    value = None if figure.value is None else figure.value * factor
    return replace(figure, value=value, low=ends[0], high=ends[1])


def copy_requests(store: Store, old: str, new: str) -> None:
    """The requests of one run for another one, inside the database, which is much quicker."""
    with store.transaction(writing=True) as connection:
        names = [row[1] for row in connection.execute(text("pragma table_info(requests)"))]
        rest = ", ".join(f'"{name}"' for name in names if name != "run_id")
        connection.execute(
            text(
                f"insert into requests (run_id, {rest}) "
                f"select :new, {rest} from requests where run_id = :old"
            ),
            {"new": new, "old": old},
        )


# ---- the section -------------------------------------------------------------------------------


def section(days: Sequence[Timed], load: float) -> str:
    rows = "\n".join(
        f"| {day.shape.cells:,} | {day.shape.experiments} | {day.figures} | "
        f"{day.html_bytes / 2**20:.1f} MiB | {median(day.seconds):.2f} s | "
        f"{min(day.seconds):.2f}–{max(day.seconds):.2f} s | {median(day.core_s):.2f} s |"
        for day in days
    )
    small, *larger = days
    lines = [verdict(f"{small.shape.cells:,} cells", median(small.seconds), LIMIT_S, " s")]
    for day in larger:
        what = f"{day.shape.cells:,} cells in {day.shape.experiments} experiments, in a core's time"
        ratio = median(day.core_s) / median(small.core_s)
        lines.append(verdict(what, ratio, LIMIT_RATIO, " times that"))
    return f"""## The log of a day

The log of a day of {small.shape.cells:,} cells, and of ten times as many: in more experiments, \
and in larger ones. Each cell has {REQUESTS:,} requests, which are in the database with every \
chunk. Markdown, HTML and all figures are written, in a process that has written the log of \
another day before (a warm start): the median of {TIMES}, the least and the most, and the time \
that a core worked for it, which other programs do not lengthen much.

| Cells | Experiments | Figures | HTML | Written in | from–to | A core's time |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

### Targets

{chr(10).join(lines)}

### Machine

{machine("sqlalchemy", "jinja2")} Load average before the first: {load:.1f}.
"""


def verdict(what: str, value: float, limit: float, unit: str) -> str:
    outcome = "met" if value <= limit else "**not met in this run**"
    return f"- {what}: at most {limit:g}{unit}; {value:.2f}{unit}, {outcome}."


if __name__ == "__main__":
    main()
