"""Records to rows and back, exactly.

Two things are changed on the way in, because databases differ on them: a number that is not
finite becomes NULL where a column may be NULL and is refused where it may not, and characters
that no database text can hold (NUL, lone surrogates) become U+FFFD. Secrets are left out.
"""

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import RowMapping, Table

from journal.errors import StoreError
from journal.records.doubt import Doubt
from journal.records.doubt import Values as DoubtValues
from journal.records.figure import Figure, Metrics
from journal.records.load_shape import AXIS_NAMES
from journal.records.request import ClientHealth, Trace
from journal.records.run import ExperimentRecord, Record
from journal.records.sameness import asked_requests, workload_key
from journal.records.samples import (
    GpuReading,
    HostReading,
    ProcessReading,
    Readings,
    Samples,
    ServerReading,
)
from journal.redaction import Secret, hiding
from journal.store import core_tables
from journal.store.from_rows import stored_cell, stored_facts
from journal.store.plain import from_json, secret_of, starred, storable, to_json
from journal.store.row_care import naming, text_in
from journal.store.traces import check_numbers, checksum, trace

if TYPE_CHECKING:
    from journal.metrics.slo_times import SloTimes

Values = dict[str, Any]

_CELL_COLUMNS = (
    "experiment",
    "model",
    "quantisation",
    *AXIS_NAMES,
    "repeat",
    "seed",
    "identity",
)


# ---- rows ------------------------------------------------------------------------------------


def _checked(rows: Table, values: Values) -> Values:
    """`values`, changed in place to what the database can hold. Raises StoreError, naming the
    column, for a number that is not finite where the column needs one."""
    return _checker(rows)(values)


def _checker(rows: Table) -> Callable[[Values], Values]:
    """`_checked` for many rows of one table."""
    columns, hide = rows.c, hiding()

    def checked(values: Values) -> Values:
        for name, value in values.items():
            if isinstance(value, str):
                values[name] = storable(value, hide)
            elif isinstance(value, float) and not math.isfinite(value):
                if not columns[name].nullable:
                    where = f"{rows.name}.{name}"
                    raise StoreError(f"{where} would be {value}: this column needs a finite number")
                values[name] = None
        return values

    return checked


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _values(names: tuple[str, ...], item: object) -> Values:
    return {name: getattr(item, name) for name in names}


_FIGURE, _TRACE = _names(Figure), _names(Trace)


def experiment_row(record: ExperimentRecord) -> Values:
    experiment = record.experiment
    secret = secret_of(experiment.engines)
    return _checked(
        core_tables.experiments,
        {
            "id": record.id,
            "name": experiment.name,
            "question": experiment.question,
            "hypothesis": experiment.hypothesis,
            "status": record.status,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "experiment": to_json(experiment, secret),
            "environment": to_json(_finite(record.environment), secret),
            "mlflow_run_id": record.mlflow_run_id,
            "mlflow_experiment_id": record.mlflow_experiment_id,
        },
    )


def run_row(record: Record, samples: Samples | None) -> Values:
    cell, engine = record.cell, record.cell.engine
    secret = secret_of([engine] if engine else [])
    return _checked(
        core_tables.runs,
        {
            **{name: getattr(cell, name) for name in _CELL_COLUMNS},
            "id": record.id,
            "experiment_id": record.experiment_id,
            "workload": workload_key(cell.workload),
            "dtype": engine.dtype if engine else None,
            "tensor_parallel": engine.tensor_parallel if engine else None,
            "requests": asked_requests(cell),
            "status": record.status,
            "started_at": record.started_at,
            "duration_s": record.duration_s,
            "error": starred(record.error, secret),
            "cell": to_json(cell, secret),
            "facts": to_json(record.facts, secret),
            "environment": to_json(_finite(record.environment), secret),
            "client": to_json(samples.client) if samples else None,
            "absent": to_json(samples.readings.absent) if samples else None,
            "mlflow_run_id": record.mlflow_run_id,
        },
    )


def _finite(environment: Mapping[str, str | int | float | None]) -> Values:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in environment.items()
    }


def metric_rows(run_id: str, metrics: Metrics) -> list[Values]:
    return [
        _checked(core_tables.metrics, {"run_id": run_id, "name": name, **_values(_FIGURE, figure)})
        for name, figure in metrics.items()
    ]


def slo_times_row(run_id: str, times: "SloTimes") -> Values:
    packed = times.latencies_s.astype("<f8").tobytes()
    values = {"span_s": times.span_s, "steady_from": times.steady_from, "latencies_s": packed}
    return _checked(core_tables.slo_times, {"run_id": run_id, **values})


def stored_slo_times(span_s: Any, steady_from: Any, latencies_s: Any) -> "SloTimes":
    """The times from the columns of a row of `slo_times`. Raises ValueError or TypeError for a row
    that is damaged."""
    import numpy as np

    from journal.metrics.slo_times import LATENCIES, SloTimes

    rows = np.frombuffer(latencies_s, "<f8").reshape(len(LATENCIES), -1)
    for value, kinds in ((span_s, (float, int)), (steady_from, (int,))):
        if value is not None and type(value) not in kinds:
            raise TypeError(f"{value!r:.40} is not a number")
    return SloTimes(span_s, steady_from, rows)


def doubt_rows(run_id: str, doubts: Iterable[Doubt]) -> list[Values]:
    rows = (
        {"name": one.name, "values": to_json(one.values), "severity": one.severity}
        for one in doubts
    )
    return _numbered(core_tables.doubts, run_id, rows)


# ---- samples ---------------------------------------------------------------------------------

READING_KINDS: tuple[
    tuple[Table, str, type[GpuReading | ServerReading | ProcessReading | HostReading]], ...
] = (
    (core_tables.gpu_readings, "gpu", GpuReading),
    (core_tables.server_readings, "server", ServerReading),
    (core_tables.process_readings, "process", ProcessReading),
    (core_tables.host_readings, "host", HostReading),
)


def sample_rows(run_id: str, samples: Samples) -> Iterator[tuple[Table, list[Values]]]:
    """Every raw row of one run, table by table."""
    engine = samples.cell.engine
    secret = secret_of([engine] if engine else [])
    traces = (_trace_row(trace, secret) for trace in samples.traces)
    yield core_tables.requests, _numbered(core_tables.requests, run_id, traces)
    for rows, field, kind in READING_KINDS:
        names, readings = _names(kind), getattr(samples.readings, field)
        yield rows, _numbered(rows, run_id, (_values(names, reading) for reading in readings))


def _numbered(rows: Table, run_id: str, items: Iterable[Values]) -> list[Values]:
    checked = _checker(rows)
    return [
        checked({"run_id": run_id, "position": position, **item})
        for position, item in enumerate(items)
    ]


def _trace_row(trace: Trace, secret: Secret) -> Values:
    values = _values(_TRACE, trace)
    if not all(map(math.isfinite, trace.chunk_s)):
        raise StoreError(f"request {trace.index} has a chunk time that is not a finite number")
    values["chunk_s"] = _packed("d", trace.chunk_s)
    if trace.chunk_tokens is not None:
        values["chunk_tokens"] = _packed("i", trace.chunk_tokens)
    values["error"] = starred(trace.error, secret)
    values["checksum"] = checksum(values)
    return values


def _packed(form: str, values: Sequence[float]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}{form}", *values)
    except struct.error as error:
        raise StoreError(f"chunks cannot be stored ({error}): {values!r}") from error


def _absence(stored: str | Values) -> DoubtValues:
    """The values of an absence; older journals store a sentence instead."""
    return {"sentence": stored} if isinstance(stored, str) else stored


def samples(
    run: Mapping[str, Any] | RowMapping,
    requests: Iterable[Mapping[str, Any] | RowMapping],
    readings: Mapping[str, Iterable[Mapping[str, Any] | RowMapping]],
) -> Samples:
    """The samples of a run from its row, the rows of its requests, and the rows of its readings
    by the names of their fields in `Readings`. Raises StoreError for samples that are damaged."""
    with naming(f"the samples of run {run['id']}"):
        return _samples(run, requests, readings)


def _samples(
    run: Mapping[str, Any] | RowMapping,
    requests: Iterable[Mapping[str, Any] | RowMapping],
    readings: Mapping[str, Iterable[Mapping[str, Any] | RowMapping]],
) -> Samples:
    for _, field, kind in READING_KINDS:
        for reading in readings[field]:
            check_numbers(kind, reading)
    read: dict[str, Any] = {
        field: tuple(kind(**{name: row[name] for name in _names(kind)}) for row in readings[field])
        for _, field, kind in READING_KINDS
    }
    return Samples(
        cell=stored_cell(text_in(run, "cell")),
        facts=stored_facts(run["facts"]),
        traces=tuple(map(trace, requests)),
        readings=Readings(**read, absent=tuple(map(_absence, json.loads(run["absent"])))),
        client=from_json(ClientHealth, run["client"]),
    )
