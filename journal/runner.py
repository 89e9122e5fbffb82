"""The story, and the only page that knows the order of the stages:

plan -> serve -> load and measure -> summarise -> record -> report
"""

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from journal import units
from journal.errors import JournalError
from journal.load.drive import drive
from journal.measure.environment import environment
from journal.measure.sampler import Sampler
from journal.measure.server import complete
from journal.plan.cells import by_engine, cells
from journal.plan.prompts import check_context, requests
from journal.record.store import open_store
from journal.record.tracking import Tracker
from journal.records import (
    Cell,
    Endpoint,
    Engine,
    Event,
    Experiment,
    ExperimentRecord,
    Listener,
    Record,
    Samples,
    Trace,
    ignore,
)
from journal.report.log import LogFiles, write_log
from journal.serve import engine as engines
from journal.summarise.doubts import doubts, status
from journal.summarise.metrics import metrics

Serve = Callable[[Engine, Path, Listener], AbstractContextManager[Endpoint]]
Keep = Callable[[Record, Samples | None], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What one `run` left behind. `tracking_error` says why MLflow lacks it, if it does."""

    experiment: ExperimentRecord
    records: tuple[Record, ...]
    log: LogFiles
    tracking_error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every cell was measured."""
        return all(record.status in ("valid", "flagged") for record in self.records)


def run(
    experiment: Experiment,
    home: str | Path = "lab",
    *,
    endpoint: Endpoint | None = None,
    listener: Listener = ignore,
    serve: Serve = engines.start,
) -> Result:
    """Measure every cell of `experiment`, record each the moment it ends, and write today's log.

    With `endpoint` (from `attach`) that server is measured; otherwise `serve` starts vLLM once
    for each engine of the experiment. A cell that fails is recorded with its reason, and the
    others go on. Raises SpecError or EngineError when nothing can be started, StoreError when
    nothing can be recorded. On KeyboardInterrupt what was measured is stored and logged first.
    """
    home = Path(home)
    planned = cells(experiment, model=endpoint.model if endpoint else None)
    _check(planned, endpoint)
    with open_store(home) as store, Tracker(store, home) as tracker:
        first = planned[0].engine
        here = environment(first.python if first else None)
        begun = store.begin_experiment(experiment, datetime.now(UTC), here)

        def keep(record: Record, samples: Samples | None) -> None:
            store.add_run(record, samples)
            listener(Event("record", headline(record)))
            tracker.log(record)

        ended: Literal["done", "interrupted"] = "interrupted"
        try:
            for engine, group in by_engine(planned):
                log_path = home / "engines" / f"{begun.id[:8]}-{group[0].identity[:8]}.log"
                served = serve(engine, log_path, listener) if engine else nullcontext(endpoint)
                _measure_all(group, served, begun, keep, listener)
            ended = "done"
        finally:
            begun = store.end_experiment(begun.id, ended, datetime.now(UTC))
            listener(Event("log", "writing the log"))
            log = write_log(store, home)
            tracker.finish(begun, (log.markdown, log.html))
        return Result(begun, tuple(store.runs(experiment_id=begun.id)), log, tracker.error)


def _measure_all(
    group: Sequence[Cell],
    served: AbstractContextManager[Endpoint | None],
    begun: ExperimentRecord,
    keep: Keep,
    listener: Listener,
) -> None:
    """Measure the cells of one engine. What cannot be measured is kept with its reason."""
    left = deque(group)
    try:
        with served as endpoint:
            assert endpoint is not None
            endpoint = replace(endpoint, facts=complete(endpoint.facts, endpoint))
            while left:
                engines.check_alive(endpoint)
                name = f"cell {len(group) - len(left) + 1} of {len(group)}: {title(left[0])}"
                record, samples = _measure(left[0], endpoint, begun, name, listener)
                left.popleft()
                keep(record, samples)
    except JournalError as error:
        for cell in left:
            keep(_unmeasured(cell, begun, "failed", str(error)), None)
    except KeyboardInterrupt:
        if left:
            keep(_unmeasured(left[0], begun, "interrupted", "stopped before it was done"), None)
        raise


def _measure(
    cell: Cell, endpoint: Endpoint, begun: ExperimentRecord, name: str, listener: Listener
) -> tuple[Record, Samples]:
    """One run of one cell: its raw samples, and the record that sums them up."""
    run_id = secrets.token_hex(8)
    prepared = requests(cell, endpoint, run_id)
    done = 0

    def count(_: Trace) -> None:
        nonlocal done
        done += 1
        listener(Event("cell", name, done, len(prepared)))

    listener(Event("cell", name, 0, len(prepared)))
    started_at, origin_s = datetime.now(UTC), time.monotonic()
    with Sampler(endpoint, origin_s) as sampler:
        traces, client = drive(
            prepared,
            endpoint,
            batch=cell.batch,
            timeout_s=cell.load.timeout_s,
            processes=cell.load.processes,
            origin_s=origin_s,
            on_done=count,
        )
    duration_s = time.monotonic() - origin_s
    readings = sampler.readings
    readings = replace(readings, absent=(*endpoint.absent, *readings.absent))
    samples = Samples(
        cell=cell, facts=endpoint.facts, traces=traces, readings=readings, client=client
    )
    record = Record(
        id=run_id,
        experiment_id=begun.id,
        cell=cell,
        status="valid",
        started_at=started_at,
        duration_s=duration_s,
        error=reason(traces),
        facts=endpoint.facts,
        environment=begun.environment,
    )
    return summarised(record, samples), samples


def summarised(record: Record, samples: Samples) -> Record:
    """The record with its metrics, doubts and status computed from its raw samples."""
    figures = metrics(samples)
    found = doubts(samples, figures)
    return replace(record, metrics=figures, doubts=found, status=status(samples, found))


def recompute(home: str | Path = "lab", run_id: str | None = None) -> tuple[Record, ...]:
    """Compute the metrics of one run, or of all, again from their stored samples, store them,
    and return those whose figures changed."""
    changed = []
    with open_store(Path(home)) as store:
        for record in store.runs() if run_id is None else [store.run(run_id)]:
            samples = store.samples(record.id)
            if samples is None:
                continue
            again = summarised(record, samples)
            if again != record:
                store.replace_summary(again.id, again.metrics, again.doubts, again.status)
                changed.append(again)
    return tuple(changed)


def title(cell: Cell) -> str:
    """A cell in a few words, for people."""
    load = f"batch {cell.batch}" if cell.rate is None else f"{cell.rate:g} requests/s"
    return f"{cell.model}, {load}, {cell.prompt_tokens} + {cell.output_tokens} tokens"


def headline(record: Record) -> str:
    """What a run found, in one line."""
    found = f"{record.id[:8]} {title(record.cell)}: {record.status}"
    if record.status in ("failed", "interrupted"):
        return f"{found}: {record.error}"
    ttft, rate = (record.metrics[name].value for name in ("ttft_s.p50", "output_tokens_per_s"))
    return f"{found}, TTFT p50 {units.seconds(ttft)}, {units.rate(rate)}"


def reason(traces: Sequence[Trace]) -> str | None:
    """Why requests failed, the commonest cause first, or None when none did."""
    failed = Counter(trace.error for trace in traces if not trace.warmup and trace.error)
    if not failed:
        return None
    cause, count = failed.most_common(1)[0]
    measured = sum(not trace.warmup for trace in traces)
    return f"{sum(failed.values())} of {measured} requests failed; {count} of them: {cause}"


def _unmeasured(
    cell: Cell, begun: ExperimentRecord, status: Literal["failed", "interrupted"], error: str
) -> Record:
    return Record(
        id=secrets.token_hex(8),
        experiment_id=begun.id,
        cell=cell,
        status=status,
        started_at=datetime.now(UTC),
        duration_s=0.0,
        error=error,
        environment=begun.environment,
    )


def _check(planned: Sequence[Cell], endpoint: Endpoint | None) -> None:
    """Refuse, before anything is started, what is known not to work (SpecError, EngineError)."""
    for engine, group in by_engine(planned):
        if engine:
            engines.check(engine)
            longest = engines.context_length(engine)
        else:
            longest = endpoint.max_model_len if endpoint else None
        for cell in group:
            check_context(cell, longest)
