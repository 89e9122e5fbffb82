"""The journal: experiments, runs and all their raw samples in one database.

A run is written in one transaction with its samples, or not at all; once `add_run` has returned,
the run survives the death of the process.
"""

import contextlib
import os
import re
import secrets
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    RowMapping,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from journal.errors import DamagedRow, NotFound, StoreError, StoreLost
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.figure import Metrics
from journal.records.run import ExperimentRecord, Record, Status
from journal.records.samples import Samples
from journal.store import codec, core_tables, from_rows, parquet, running
from journal.store.database import (
    ConnectionRows,
    connectable,
    explained,
    file_identity,
    file_of,
    make_private,
    reader,
    shown_address,
    store_address,
    touch_private,
)
from journal.store.migrate import bring_up_to_date, is_up_to_date
from journal.store.row_care import naming
from journal.store.rows import Changes, Rows
from journal.store.run_rows import read_experiments, read_runs, read_runs_of

if TYPE_CHECKING:
    from journal.metrics.slo_times import SloTimes

SHORT_ID = 8

_experiments, _runs = core_tables.experiments, core_tables.runs
_metrics, _doubts, _slo_times = core_tables.metrics, core_tables.doubts, core_tables.slo_times


def new_id() -> str:
    """A random id of 16 hexadecimal digits; journals of several machines can be merged."""
    return secrets.token_hex(8)


def open_store(home: Path, url: str | None = None) -> "Store":
    """Open the journal of `home`; make it, or bring it to the newest schema, where needed.

    The journal is `home`/journal.db, or the database that `url` or else the JOURNAL_DB
    environment variable names. Raises StoreTooNew where a newer version of this package wrote it,
    and StoreError where it cannot be read or written.
    """
    at = store_address(home, url)
    make_private(home)
    path = file_of(at)
    if path is not None:
        make_private(path.parent)
        touch_private(path)
    engine = connectable(at)
    try:
        if not is_up_to_date(engine):
            bring_up_to_date(at)
    except BaseException:
        engine.dispose()
        raise
    store = Store(engine, home)
    store.end_abandoned()
    return store


class Store:
    """An open journal. Every method is a transaction of its own; threads may share a store."""

    def __init__(self, engine: Engine, home: Path) -> None:
        self._writer = engine
        self._reader = reader(engine)
        self._home = home.absolute()
        self._locks: dict[str, int] = {}
        path = file_of(engine.url)
        self._opened = None if path is None else (path.absolute(), file_identity(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. An experiment that was not ended counts as abandoned from now on."""
        self._writer.dispose()
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    @property
    def url(self) -> URL:
        return self._writer.url

    @property
    def requests_folder(self) -> Path:
        """The folder of the Parquet files that requests were moved to."""
        return parquet.folder_of(self.url, self._home)

    def __repr__(self) -> str:
        return f"Store({shown_address(self.url)})"

    @contextlib.contextmanager
    def transaction(self, *, writing: bool) -> Iterator[Connection]:
        """One transaction, for the other files of this room. Raises StoreError."""
        engine = self._writer if writing else self._reader
        self._check_file()
        with explained(self.url), engine.begin() as connection:
            yield connection
        self._check_file()

    def _check_file(self) -> None:
        """Raise StoreLost where the file of the journal is not the one that was opened: SQLite goes
        on in a file that was removed, and what it writes there is lost."""
        if self._opened is not None and file_identity(self._opened[0]) != self._opened[1]:
            raise StoreLost(
                f"the journal {self._opened[0]} was removed, renamed or replaced while it was "
                "open: nothing more was stored; put it back, or run again in another home"
            )

    # ---- writing ---------------------------------------------------------------------------

    def begin_experiment(
        self,
        experiment: Experiment,
        started_at: datetime,
        environment: Mapping[str, str | int | float | None],
    ) -> ExperimentRecord:
        """Store that `experiment` begins, frozen as it is now, and that this process runs it."""
        record = ExperimentRecord(
            id=new_id(), experiment=experiment, started_at=started_at, environment=environment
        )
        self._locks[record.id] = running.lock(self._home, record.id)
        with self.transaction(writing=True) as connection:
            connection.execute(insert(_experiments), codec.experiment_row(record))
        return record

    def resume_experiment(self, experiment_id: str) -> ExperimentRecord:
        """Store that an experiment goes on, run by this process. Raises NotFound."""
        self._locks[experiment_id] = running.lock(self._home, experiment_id)
        self._set_status(experiment_id, "running", None)
        return self.experiment(experiment_id)

    def end_experiment(
        self,
        experiment_id: str,
        status: Literal["done", "failed", "interrupted"],
        ended_at: datetime,
    ) -> ExperimentRecord:
        """Store how and when an experiment ended; return its record. Raises NotFound."""
        self._set_status(experiment_id, status, ended_at)
        descriptor = self._locks.pop(experiment_id, None)
        if descriptor is not None:
            running.release(self._home, experiment_id, descriptor)
        return self.experiment(experiment_id)

    def end_abandoned(self) -> None:
        """Set experiments to interrupted whose process died while it ran them: each ended with
        its last stored run."""
        for experiment_id in running.abandoned(self._home):
            runs = self.runs(experiment_id=experiment_id, limit=1)
            with contextlib.suppress(NotFound):
                begun = self.experiment(experiment_id)
                last = [run.started_at + timedelta(seconds=run.duration_s) for run in runs]
                if begun.status == "running":
                    ended_at = last[0] if last else begun.started_at
                    self._set_status(experiment_id, "interrupted", ended_at)

    def _set_status(self, experiment_id: str, status: str, ended_at: datetime | None) -> None:
        with self.transaction(writing=True) as connection:
            changed = connection.execute(
                update(_experiments)
                .where(_experiments.c.id == experiment_id)
                .values(status=status, ended_at=ended_at, mlflow_pending=True)
            )
            if changed.rowcount == 0:
                raise NotFound(
                    f"there is no experiment {experiment_id!r} in {shown_address(self.url)}"
                )

    def add_run(
        self, record: Record, samples: Samples | None, times: "SloTimes | None" = None
    ) -> None:
        """Store one run with its metrics, doubts, samples and times (None: nothing was measured).

        Raises StoreError, with nothing written, when a value cannot be stored or when `samples`
        are of another cell or engine than `record`.
        """
        if samples and (samples.cell, samples.facts) != (record.cell, record.facts):
            raise StoreError(f"the samples of run {record.id} are of another cell or engine")
        row = codec.run_row(record, samples)
        rows = [
            (_metrics, codec.metric_rows(record.id, record.metrics)),
            (_doubts, codec.doubt_rows(record.id, record.doubts)),
            (_slo_times, [codec.slo_times_row(record.id, times)] if times else []),
            *(codec.sample_rows(record.id, samples) if samples else ()),
        ]
        with self.transaction(writing=True) as connection:
            connection.execute(insert(_runs), row)
            for into, values in rows:
                if values:
                    connection.execute(insert(into), values)

    def replace_summary(
        self, run_id: str, metrics: Metrics, doubts: Sequence[Doubt], status: Status
    ) -> None:
        """Replace the metrics, doubts and status of a run by newly computed ones. Raises
        NotFound."""
        rows = [
            (_metrics, codec.metric_rows(run_id, metrics)),
            (_doubts, codec.doubt_rows(run_id, doubts)),
        ]
        with self.transaction(writing=True) as connection:
            changed = connection.execute(
                update(_runs).where(_runs.c.id == run_id).values(status=status, mlflow_pending=True)
            )
            if changed.rowcount == 0:
                raise NotFound(f"there is no run {run_id!r} in {shown_address(self.url)}")
            for into, values in rows:
                connection.execute(delete(into).where(into.c.run_id == run_id))
                if values:
                    connection.execute(insert(into), values)

    # ---- reading ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[Rows]:
        """One transaction that reads, for the queries of this room. Raises StoreError."""
        with self.transaction(writing=False) as connection:
            yield ConnectionRows(connection)

    @contextlib.contextmanager
    def changing(self) -> Iterator[Changes]:
        """One transaction that writes, by queries of this room. Raises StoreError."""
        with self.transaction(writing=True) as connection:
            yield ConnectionRows(connection)

    def experiments(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> list[ExperimentRecord]:
        """The experiments that started at or after `since` and before `until`, newest last."""
        with self.reading() as rows:
            return read_experiments(rows, since=since, until=until)

    def experiment(self, experiment_id: str) -> ExperimentRecord:
        """The experiment with this id, or with the only id that begins so, or the "last" one.
        Raises NotFound."""
        with self.transaction(writing=False) as connection:
            whole_id = _find(connection, _experiments, experiment_id)
            query = "SELECT * FROM experiments WHERE id = :id"
            (row,) = ConnectionRows(connection).mappings(query, id=whole_id)
            return from_rows.experiment_record(row)

    def runs(
        self,
        *,
        experiment_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        metrics: Collection[str] | None = None,
        apart_from: Collection[str] = (),
    ) -> list[Record]:
        """The runs of one experiment, or of all, that started from `since` on and before `until`,
        newest last. `limit`: the newest `limit` runs only; `metrics`: each run has these metrics
        only; `apart_from`: experiments whose runs are left out."""
        with self.reading() as rows:
            return read_runs_of(
                rows,
                experiment_id=experiment_id,
                since=since,
                until=until,
                limit=limit,
                metrics=metrics,
                apart_from=apart_from,
            )

    def run(self, run_id: str) -> Record:
        """The run with this id, or with the only id that begins so, or the "last" one.
        Raises NotFound."""
        with self.transaction(writing=False) as connection:
            whole_id = _find(connection, _runs, run_id)
            with warnings.catch_warnings(action="ignore", category=DamagedRow):
                query = "SELECT id FROM runs WHERE id = :id"
                found = read_runs(ConnectionRows(connection), query, {"id": whole_id})
            if not found:
                raise StoreError(
                    f"run {whole_id} cannot be read: its row is damaged, or of another program; "
                    "`journal verify` looks at all rows"
                )
            return found[0]

    def samples(self, run_id: str) -> Samples | None:
        """The raw samples of a run, exactly as they were stored; None where it has no samples.
        `run_id` is an id, the beginning of one, or "last". Raises NotFound."""
        with self.transaction(writing=False) as connection:
            whole_id = _find(connection, _runs, run_id)
            with naming(f"run {whole_id}"):
                query = select(_runs).where(_runs.c.id == whole_id)
                run = connection.execute(query).mappings().one()
            if run["client"] is None:
                return None
            return codec.samples(
                run,
                parquet.request_rows(connection, run, self.requests_folder),
                {kind: _rows(connection, rows, whole_id) for rows, kind, _ in codec.READING_KINDS},
            )

    # ---- the outbox to MLflow --------------------------------------------------------------

    def pending(self) -> tuple[list[ExperimentRecord], list[Record]]:
        """The experiments and the runs that MLflow does not have completely, oldest first."""
        with self.reading() as rows:
            begun = read_experiments(rows, pending=True)
            return begun, read_runs(rows, "SELECT id FROM runs WHERE mlflow_pending", {})

    def place_in_mlflow(self, experiment_id: str, mlflow_experiment_id: str) -> None:
        """Store the id of MLflow's experiment that holds the runs of an experiment."""
        with self.transaction(writing=True) as connection:
            connection.execute(
                update(_experiments)
                .where(_experiments.c.id == experiment_id)
                .values(mlflow_experiment_id=mlflow_experiment_id)
            )

    def mark_logged(self, record: ExperimentRecord | Record, mlflow_run_id: str) -> None:
        """Store that MLflow has all of `record`, as its run `mlflow_run_id`."""
        values = {"mlflow_run_id": mlflow_run_id, "mlflow_pending": False, "mlflow_error": None}
        self._mark(record, values)

    def mark_unlogged(self, record: ExperimentRecord | Record, reason: str) -> None:
        """Store the reason why MLflow did not take `record`, which stays pending."""
        self._mark(record, {"mlflow_pending": True, "mlflow_error": reason})

    def _mark(self, record: ExperimentRecord | Record, values: Mapping[str, Any]) -> None:
        rows = _runs if isinstance(record, Record) else _experiments
        with self.transaction(writing=True) as connection:
            connection.execute(update(rows).where(rows.c.id == record.id).values(values))


def _rows(connection: Connection, rows: Table, run_id: str) -> list[RowMapping]:
    query = select(rows).where(rows.c.run_id == run_id).order_by(rows.c.position)
    return list(connection.execute(query).mappings())


def _find(connection: Connection, rows: Table, wanted: str) -> str:
    """The id that `wanted` means: a whole id, the beginning of exactly one, or "last". Raises
    NotFound for no id or several."""
    kind = rows.name.removesuffix("s")
    if wanted == "last":
        newest = select(rows.c.id).order_by(rows.c.started_at.desc(), rows.c.id.desc()).limit(1)
        last: str | None = connection.scalar(newest)
        if last is None:
            raise NotFound(f"the journal has no {kind} yet: `journal run` makes the first")
        return last
    matches: list[str] = []
    if re.fullmatch(r"[\w.:-]+", wanted, re.ASCII):
        begins = select(rows.c.id).where(rows.c.id.startswith(wanted, autoescape=True))
        matches = list(connection.scalars(begins.order_by(func.length(rows.c.id)).limit(4)))
    if not matches:
        raise NotFound(f"there is no {kind} {wanted!r}: `journal runs` lists the ids")
    if len(matches) > 1 and matches[0] != wanted:
        several = ", ".join(matches[:3]) + (", ..." if len(matches) > 3 else "")
        raise NotFound(f"{wanted!r} begins the ids of several {kind}s ({several}): give more of it")
    return matches[0]
