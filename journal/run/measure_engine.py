"""The cells of one engine: served, loaded, measured, and each passed on as soon as it is done."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime

from journal.errors import EngineError, JournalError, StoreError
from journal.load.drive import drive
from journal.measure.sampler import Sampler
from journal.measure.server import complete
from journal.plan.prompts import Endless, endless, requests
from journal.plan.spool import spooling
from journal.records.cell import Cell
from journal.records.engine import Endpoint, EngineFacts
from journal.records.experiment import Engine, Experiment
from journal.records.progress import Event, Listener
from journal.records.request import ClientHealth, Request, Trace
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Readings, Samples
from journal.report.lines import reason
from journal.run.as_sent import SENT_HASH, all_sent, counted_by_server, sent_hash, with_count
from journal.run.capacity_search import Search, price_of, search
from journal.serve import quality_check as quality
from journal.serve import start as engines
from journal.serve.describe import described, undescribed
from journal.serve.endpoint import check_answers
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm.vllm import VLLM
from journal.serve.forms import through

Keep = Callable[[Record, Samples | None], Record]


def measure_group(
    group: Sequence[Cell],
    served: AbstractContextManager[Endpoint | None],
    begun: ExperimentRecord,
    known: Mapping[str, Record],
    keep: Keep,
    listener: Listener,
    *,
    kind: EngineKind = VLLM,
) -> None:
    """Measure the cells of one engine, except those whose record is `known`, by identity. A cell
    that cannot be measured is passed to `keep` as failed, with the reason. Raises StoreError, and
    KeyboardInterrupt after the interrupted run is kept."""
    experiment, left = begun.experiment, deque(group)
    noun = "cell" if experiment.find_capacity is None else "search"
    course: Search | None = None
    try:
        with served as endpoint:
            assert endpoint is not None
            endpoint = _known(endpoint, group[0].engine, experiment, listener)
            while left:
                if course is None:
                    course = _course(left[0], experiment, listener)
                    left[0] = next(course)
                record, samples = known.get(left[0].identity), None
                if record is None:
                    engines.check_alive(endpoint, kind)
                    name = f"{noun} {len(group) - len(left) + 1} of {len(group)}: {left[0]}"
                    record, samples = _measure(left[0], endpoint, begun, name, listener)
                left.popleft()
                if samples is not None:
                    record = keep(record, samples)
                if record.status == "interrupted":
                    raise KeyboardInterrupt
                try:
                    left.appendleft(course.send(record))
                except StopIteration:
                    course = None
                if record.status == "failed":
                    check_answers(endpoint, timeout_s=record.cell.load.timeout_s)
    except StoreError:
        raise
    except JournalError as error:
        facts = _known_at_end(error, group[0].engine)
        for cell in left:
            keep(unmeasured(cell, begun, str(error), facts), None)


def _known(
    endpoint: Endpoint, engine: Engine | None, experiment: Experiment, listener: Listener
) -> Endpoint:
    """`endpoint` with every fact that can be known before it is measured."""
    endpoint = through(endpoint, experiment.workload.api, experiment.load.body)
    known = replace(endpoint, facts=described(endpoint, engine))
    facts = replace(
        complete(known.facts, known),
        usd_per_hour=experiment.usd_per_hour,
        price_per_hour=experiment.price_per_hour,
        card_rates=experiment.card_rates,
    )
    if experiment.quality_check:
        listener(Event("cell", f"checking how well {endpoint.model} knows its language"))
        facts = replace(facts, quality=quality.check_quality(endpoint))
    return replace(known, facts=facts)


def _known_at_end(error: JournalError, engine: Engine | None) -> EngineFacts:
    """The facts of a server whose cells could not be measured because of `error`."""
    facts = error.facts if isinstance(error, EngineError) and error.facts else EngineFacts()
    return facts if engine is None else undescribed(engine, facts)


def _course(first: Cell, experiment: Experiment, listener: Listener) -> Search:
    """The cells that come of a planned one: itself alone, or all that its search asks for, whose
    price is said before it starts, and again when the E2E of a request is known."""
    of = experiment.find_capacity
    if of is None:
        yield first
        return
    course = search(first, experiment)
    prices = [price_of(first, of)]
    listener(Event("cell", f"a search for the highest {of} takes {prices[0].label}"))
    try:
        cell = next(course)
        while True:
            record = yield cell
            e2e_s = record.value("e2e_s.mean")
            if len(prices) == 1 and e2e_s is not None:
                prices.append(price_of(first, of, e2e_s))
                if prices[1] != prices[0]:
                    listener(Event("cell", f"the search takes {prices[1].label}"))
            cell = course.send(record)
    except StopIteration:
        return


def _measure(
    cell: Cell, endpoint: Endpoint, begun: ExperimentRecord, name: str, listener: Listener
) -> tuple[Record, Samples]:
    """Run one cell; return its raw samples, and a record without metrics yet. A run that a
    KeyboardInterrupt stops is `interrupted` and has the samples of the requests that were done."""
    run_id = secrets.token_hex(8)
    traces: list[Trace] = []
    with spooling() as spool:
        whole = requests(cell, endpoint, run_id, spool)
        prepared, more = endless(cell, endpoint, run_id, whole)
        total = None if more is not None else len(prepared)

        def count(trace: Trace) -> None:
            traces.append(trace)
            listener(Event("cell", name, len(traces), total))

        listener(Event("cell", name, 0, total))
        started_at, origin_s = datetime.now(UTC), time.monotonic()
        readings, client, stopped = _load(cell, prepared, more, endpoint, origin_s, count)
        duration_s = time.monotonic() - origin_s
        done = tuple(sorted(traces, key=lambda trace: trace.index))
        sent = sent_hash(all_sent(whole, more, done), done)
    cell, done = counted_by_server(with_count(cell, done), done)
    how_far = f"stopped after {len(done)} of {'?' if total is None else total} requests"
    facts = endpoint.facts
    record = Record(
        id=run_id,
        experiment_id=begun.id,
        cell=cell,
        status="interrupted" if stopped else "valid",
        started_at=started_at,
        duration_s=duration_s,
        error=how_far if stopped else reason(cell, done),
        facts=facts,
        environment={**begun.environment, SENT_HASH: sent},
    )
    return record, Samples(cell=cell, facts=facts, traces=done, readings=readings, client=client)


def _load(
    cell: Cell,
    prepared: Sequence[Request],
    more: Endless | None,
    endpoint: Endpoint,
    origin_s: float,
    on_done: Callable[[Trace], None],
) -> tuple[Readings, ClientHealth, bool]:
    """Send the load with the meters beside it; return their readings, the client's health, and
    whether a KeyboardInterrupt stopped the load."""
    sampler, client, stopped = Sampler(endpoint, origin_s), ClientHealth(), False
    try:
        with sampler:
            _, client = drive(
                prepared,
                endpoint,
                shape=cell.shape,
                timeout_s=cell.load.timeout_s,
                processes=cell.load.processes,
                origin_s=origin_s,
                on_done=on_done,
                max_error_rate=cell.load.max_error_rate,
                max_in_flight=cell.load.max_in_flight,
                duration_s=cell.load.duration_s,
                endless=more,
                abandon_after_s=cell.load.abandon_after_s,
            )
    except KeyboardInterrupt:
        stopped = True
    absent = (*endpoint.absent, *sampler.readings.absent)
    return replace(sampler.readings, absent=absent), client, stopped


def unmeasured(cell: Cell, begun: ExperimentRecord, error: str, facts: EngineFacts) -> Record:
    """The failed record of a cell that was not measured, with the reason `error`."""
    return Record(
        id=secrets.token_hex(8),
        experiment_id=begun.id,
        cell=cell,
        status="failed",
        started_at=datetime.now(UTC),
        duration_s=0.0,
        error=error,
        facts=facts,
        environment=begun.environment,
    )
