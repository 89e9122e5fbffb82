"""The story, and the only page that knows the order of the stages:

plan -> serve -> load and measure -> summarise -> record -> report
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from journal.compare.capacity import Capacity, capacities
from journal.compare.least_pool import Needed, needed
from journal.errors import SpecError, StoreBusy
from journal.measure.environment import environment
from journal.metrics.view import View
from journal.plan.cells import by_engine, cells, without_turns
from journal.plan.own_prompts import with_workload
from journal.plan.prompts import check_context
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.progress import Event, Listener
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples
from journal.redaction import remember
from journal.report.log import LogFiles, write_log
from journal.report.short import summary
from journal.run.measure_engine import measure_group
from journal.run.parallel.collector import Collector, Place, task_place
from journal.run.parallel.local import SideBySide, check_fits
from journal.run.parallel.messages import Serve, Task
from journal.run.parallel.on_ray import Cluster, cluster
from journal.run.pool_search import starts
from journal.run.preflight import Around
from journal.run.resume import earlier_try, left_of, measured_cells, newest
from journal.run.summary import summed_up, times_of
from journal.serve import start as engines
from journal.serve.engines.kind import EngineKind
from journal.serve.interpreter import installed
from journal.store.alone import alone
from journal.store.checkups import as_environment, last_checkup
from journal.store.plain import secret_of
from journal.store.store import Store, open_store
from journal.store.undivided import undivided
from journal.tracking.addresses import ui_address
from journal.tracking.aside import Aside
from journal.tracking.tracker import tracking_uri

PATIENCE_S = 300.0  # for a database that cannot take a run: a measurement is worth the wait
AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one `run`: the last record of each cell, and the log. `tracking_error` says why
    MLflow lacks some of it (None: it has all)."""

    experiment: ExperimentRecord
    records: tuple[Record, ...]
    log: LogFiles
    tracking_error: str | None = None
    strict: bool = False

    def __str__(self) -> str:
        """A line for each record, and where the log is."""
        return "\n".join([*map(str, self.records), f"log: {self.log.markdown}"])

    def _repr_html_(self) -> str:
        """The records in a notebook, and the log below them."""
        records = "".join(record._repr_html_() for record in self.records)
        return f"{records}{self.log._repr_html_()}"

    @property
    def ok(self) -> bool:
        """Whether every cell was measured, without a flag if `strict`. A search for capacity may
        break the server: it only has to end."""
        if self.experiment.experiment.needed_vram:
            return all(search.whole for search in self.needed)
        if self.experiment.experiment.find_capacity is not None:
            return all(record.metrics for record in self.records)
        return all(
            record.status == "valid" if self.strict else record.good for record in self.records
        )

    @property
    def capacities(self) -> tuple[Capacity, ...]:
        """The results of the searches, where the experiment searches for capacity; empty
        otherwise."""
        return capacities(self.experiment.experiment, self.records)

    @property
    def needed(self) -> tuple[Needed, ...]:
        """The results of the searches, where the experiment searches for the needed VRAM; empty
        otherwise."""
        experiment = self.experiment.experiment
        planned = cells(experiment) if experiment.needed_vram else ()
        return tuple(needed(cell, self.records) for cell in planned)


def stages(
    experiment: Experiment,
    home: Path,
    around: Around | None,
    *,
    endpoint: Endpoint | None,
    listener: Listener,
    serve: Serve | None,
    kind: EngineKind,
    resume: bool,
    strict: bool,
    parallel_gpus: int | None,
    on: Literal["ray"] | None,
    on_result: Callable[[Result], None],
) -> Result:
    """All stages of `journal.run`, whose arguments these are. `around` is a look around that has
    begun, of a run on this host."""
    if endpoint is not None:
        experiment = experiment.at_endpoint()
    experiment = with_workload(experiment)
    planned = cells(experiment, model=endpoint.model if endpoint else None)
    if parallel_gpus is not None or on is not None:
        _check_apart(experiment, endpoint, parallel_gpus, on)
        planned = without_turns(planned)
    with nullcontext() if on is None else cluster() as hosts:
        started = serve or partial(engines.start, kind=kind)
        options = _Options(
            home,
            endpoint,
            listener,
            started,
            serve is None,
            strict,
            parallel_gpus,
            hosts,
            kind,
            on_result,
        )
        return options.run(experiment, planned, resume, options.check(planned, around))


@dataclass(frozen=True, slots=True)
class _Keeper:
    """The keeper of records: it stores each one as soon as it is made. `records` are those of the
    experiment so far."""

    store: Store
    tracker: Aside
    listener: Listener
    records: list[Record]

    def keep(self, record: Record, samples: Samples | None) -> Record:
        """Sum up and store a record with its samples, report it, and return it as stored. A
        database that is locked, full or out of reach is tried again for PATIENCE_S."""
        patience_until_s = time.monotonic() + PATIENCE_S
        view = View(samples) if samples else None
        while True:
            try:
                with undivided():
                    if view and record.status != "interrupted":
                        record = summed_up(record, view, self.records)
                    self.store.add_run(record, samples, times_of(record, view))
                break
            except StoreBusy as error:
                if time.monotonic() > patience_until_s:
                    raise
                self.listener(Event("record", f"{error}; trying again for a while"))
                time.sleep(AGAIN_S)
        last = self.records[-1] if self.records else None
        self.records.append(record)
        if not (record.unmeasured and last and last.unmeasured and last.error == record.error):
            self.listener(Event("record", str(record)))  # a failed start is said once
        if record.status != "interrupted":  # an interrupted run is sent after the engine has ended
            self.tracker.log(record)
        return record


def _begin(
    store: Store, experiment: Experiment, planned: Sequence[Cell], resume: bool, listener: Listener
) -> tuple[ExperimentRecord, Sequence[Cell], list[Record]]:
    """The experiment's record with the present environment, the cells left to measure, and the runs
    that it already has."""
    first = planned[0]
    here = environment(installed(first.engine))
    here |= as_environment(last_checkup(store, str(here["host"])))
    before = earlier_try(store, experiment, first.model)
    if before is None or not (resume or before.status == "interrupted"):
        return store.begin_experiment(experiment, datetime.now(UTC), here), planned, []
    records = store.runs(experiment_id=before.id)
    left = left_of(before, planned, records)
    if not resume:
        if left:
            message = (
                f"{experiment.name} was interrupted with {len(left)} of {len(planned)} cells "
                "left, and begins anew: resume would go on with it"
            )
            listener(Event("prepare", message))
        return store.begin_experiment(experiment, datetime.now(UTC), here), planned, []
    if left:
        before = store.resume_experiment(before.id)
    message = f"{len(left)} of {len(planned)} cells are left to measure"
    listener(Event("prepare", f"resuming {experiment.name}: {message}"))
    return replace(before, environment=here), left, records


def _end(
    begun: ExperimentRecord,
    status: Literal["done", "failed", "interrupted"],
    keeper: _Keeper,
    home: Path,
) -> tuple[ExperimentRecord, LogFiles, list[Record]]:
    """End the experiment; return its record, its log, and its runs as they are stored, which are
    read once."""
    store = keeper.store
    ended = store.end_experiment(begun.id, status, datetime.now(UTC))
    keeper.listener(Event("log", "writing the log"))
    records = store.runs(experiment_id=begun.id)
    log = write_log(store, home, tracking=ui_address(tracking_uri(home)), read=records)
    return ended, log, records


def _track(
    ended: ExperimentRecord, log: LogFiles, records: list[Record], keeper: _Keeper, home: Path
) -> list[Record]:
    """Wait until MLflow has what it lacks of an experiment, and return its runs as they are stored
    then; an interrupt leaves the rest to `sync`. A log with links to a tracking server's pages is
    written again once these are known."""
    store, tracker, server = keeper.store, keeper.tracker, ui_address(tracking_uri(home))
    try:
        keeper.listener(Event("tracking", "sending to MLflow; Ctrl-C leaves it to journal sync"))
        for record in records:
            if record.status == "interrupted" and record.mlflow_run_id is None:
                tracker.log(record)
        tracker.settle()
        if tracker.error is None and any(record.mlflow_run_id is None for record in records):
            records = store.runs(experiment_id=ended.id)
            if server is not None:
                log = write_log(store, home, tracking=server, read=records)
        files = (log.markdown, log.html, *log.figures)
        tracker.finish(ended, files, summary(ended, records), records)
    except KeyboardInterrupt:
        tracker.give_up("stopped")
    return records


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of one call of `stages`. `starts_own` says that `serve` is the journal's own."""

    home: Path
    endpoint: Endpoint | None
    listener: Listener
    serve: Serve
    starts_own: bool
    strict: bool
    parallel_gpus: int | None
    hosts: Cluster | None
    kind: EngineKind
    on_result: Callable[[Result], None]

    def check(self, planned: Sequence[Cell], around: Around | None) -> Around | None:
        """Refuse an experiment that cannot work before anything starts (SpecError, EngineError,
        Unfit). Return the look at this machine that still goes on; None where it is over or takes
        place elsewhere."""
        for engine, group in by_engine(planned):
            if self.hosts is not None:
                longest = engine.max_model_len if engine else None
            elif engine:
                if self.starts_own:
                    engines.check_engine(engine, self.kind)
                longest = engines.context_length(engine, self.kind)
            else:
                longest = self.endpoint.max_model_len if self.endpoint else None
            for cell in group:
                check_context(cell, longest)
        if self.hosts is not None:
            self.hosts.check([engine for engine, _ in by_engine(planned) if engine])
            return None
        if self.parallel_gpus is not None:
            check_fits(planned, self.parallel_gpus, self.listener)
        if around is None or not self.strict:
            return around
        around.tell(planned, self.strict, self.listener)
        return None

    def run(
        self,
        experiment: Experiment,
        planned: Sequence[Cell],
        resume: bool,
        around: Around | None,
    ) -> Result:
        """Measure the cells that are left, write the log, and return the result."""
        remember(*(secret_of(experiment.engines) or ()))
        with (
            alone(self.home),
            open_store(self.home) as store,
            Aside(store, self.home) as tracker,
        ):
            begun, left, records = _begin(store, experiment, planned, resume, self.listener)
            if left:
                keeper = _Keeper(store, tracker, self.listener, records)
                try:
                    if around is not None:
                        around.tell(planned, self.strict, self.listener)
                    tracker.start()
                    self.measure(begun, left, keeper)
                except BaseException as error:
                    if isinstance(error.__context__, KeyboardInterrupt):
                        tracker.give_up("stopped at once")
                        store.end_experiment(begun.id, "interrupted", datetime.now(UTC))
                    else:
                        ended = _end(begun, "interrupted", keeper, self.home)
                        _track(*ended, keeper, self.home)
                    raise
                good = any(record.good for record in keeper.records)
                status: Literal["done", "failed"] = "done" if good else "failed"
                begun, log, records = _end(begun, status, keeper, self.home)
            else:
                log = write_log(store, self.home, tracking=ui_address(tracking_uri(self.home)))
            last = newest(experiment, planned, records)
            result = Result(begun, last, log, None, self.strict)
            self.on_result(result)
            if left:
                records = _track(begun, log, records, keeper, self.home)
                last = newest(experiment, planned, records)
            return replace(result, records=last, tracking_error=tracker.error)

    def measure(self, begun: ExperimentRecord, left: Sequence[Cell], keeper: _Keeper) -> None:
        """Measure the cells that are left, with each engine that they need."""
        known = measured_cells(keeper.records)
        if self.hosts is not None:
            self.hosts.measure(self._collector(begun, left, keeper, known, Cluster.place))
            return
        if self.parallel_gpus is not None:
            collector = self._collector(begun, left, keeper, known, task_place)
            SideBySide(self.parallel_gpus, collector).measure()
            return
        for engine, group in starts(begun.experiment, left, keeper.records):
            log_path = self._log_path(begun, group[0])
            served = (
                self.serve(engine, log_path, self.listener)
                if engine
                else nullcontext(self.endpoint)
            )
            measure_group(group, served, begun, known, keeper.keep, self.listener, kind=self.kind)

    def _collector(
        self,
        begun: ExperimentRecord,
        left: Sequence[Cell],
        keeper: _Keeper,
        known: Mapping[str, Record],
        place: Place,
    ) -> Collector:
        tasks = [
            Task(
                tuple(group), begun, known, self._log_path(begun, group[0]), self.serve, self.strict
            )
            for _, group in by_engine(left)
        ]
        return Collector(tasks, keeper.keep, self.listener, place)

    def _log_path(self, begun: ExperimentRecord, first: Cell) -> Path:
        """The path of an engine's log, named by the first of its cells."""
        return self.home / "engines" / f"{begun.id[:8]}-{first.identity[:8]}.log"


def _check_apart(
    experiment: Experiment, endpoint: Endpoint | None, parallel_gpus: int | None, on: str | None
) -> None:
    """Refuse (SpecError) to measure several engines at a time where one run decides the next, or
    where no engine is started here."""
    option = "--on ray" if parallel_gpus is None else "--parallel-gpus"
    unfit = {
        "--on ray has Ray choose how many": parallel_gpus is not None and on,
        "an endpoint is one server that runs already": endpoint is not None,
        "a search for capacity goes from one load to the next": experiment.find_capacity,
        "a search for the needed VRAM goes from one start to the next": experiment.needed_vram,
        "an engine whose executor is ray finds its GPUs itself": any(
            engine.executor == "ray" for engine in experiment.engines
        ),
    }
    for why, applies in unfit.items():
        if applies:
            raise SpecError(
                f"{option} measures several engines at a time, and {why}: leave one out"
            )
