"""The journal's tables. Columns have the names and units of the fields of the types in
journal/records; a value with structure (a cell with its engine, an environment) is stored as
canonical JSON. The tables of samples hold one row for each trace or reading, by `position`.

A change here needs a migration in migrations/versions; a test compares the two. `make docs` then
writes core_tables.py again, by which a journal is made, and rows are read and written.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from journal.store.utc_time import UtcTime


class Row(SQLModel, registry=registry()):
    """The root of the journal's tables, with metadata of its own: a program that uses this
    package may have an SQLModel table `runs` itself."""


def _run_id() -> str:
    """The column `run_id` of every table of samples: its key together with `position`."""
    field: str = Field(foreign_key="runs.id", primary_key=True)
    return field


def _position() -> int:
    field: int = Field(primary_key=True)
    return field


def _moment() -> datetime:
    field: datetime = Field(sa_type=UtcTime)
    return field


def _big() -> int | None:
    field: int | None = Field(default=None, sa_type=BigInteger)
    return field


class ExperimentRow(Row, table=True):
    """One experiment that `journal run` ran. `experiment` and `environment` are JSON.

    `mlflow_pending` is the outbox to MLflow: true until MLflow has all of this row. After a
    failed try `mlflow_error` has the reason.
    """

    __tablename__ = "experiments"
    __table_args__ = (Index("experiments_by_time", "started_at", "id"),)

    id: str = Field(primary_key=True)
    name: str
    question: str
    hypothesis: str
    status: str
    started_at: datetime = _moment()
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)
    experiment: str
    environment: str
    mlflow_run_id: str | None = None
    mlflow_pending: bool = Field(default=True, index=True)
    mlflow_error: str | None = None
    mlflow_experiment_id: str | None = None


class RunRow(Row, table=True):
    """One cell, measured once. `cell`, `facts`, `environment`, `client` and `absent` are JSON; the
    columns from `experiment` to `identity` repeat fields of `cell` for SQL. `client` is NULL where
    the run has no samples; `requests_file` names the Parquet file that its requests were moved to.
    `requests` is 0 where the cell lasted for a time, and a length is NULL where another tool's
    file does not tell it. `workload` is the name of the workload with
    its hash, NULL for random tokens. The outbox is as in `experiments`."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_time", "started_at", "id"),
        Index("runs_by_model", "model", "started_at"),
        Index("runs_by_identity", "identity", "status", "started_at"),
        Index("runs_by_place", "model", "prompt_tokens", "output_tokens", "started_at"),
    )

    id: str = Field(primary_key=True)
    experiment_id: str = Field(foreign_key="experiments.id", index=True)
    experiment: str
    model: str
    quantisation: str | None = None
    dtype: str | None = None
    tensor_parallel: int | None = None
    batch: int | None = None
    rate: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    requests: int
    repeat: int
    seed: int = Field(sa_type=BigInteger)
    identity: str
    status: str
    started_at: datetime = _moment()
    duration_s: float
    error: str | None = None
    cell: str
    facts: str
    environment: str
    client: str | None = None
    absent: str | None = None
    mlflow_run_id: str | None = None
    mlflow_pending: bool = Field(default=True, index=True)
    mlflow_error: str | None = None
    requests_file: str | None = None
    workload: str | None = None


class RequestRow(Row, table=True):
    """One trace. `chunk_s` is little-endian float64 in s, `chunk_tokens` little-endian int32,
    NULL where the server did not give them; `checksum` is the CRC-32 of the two, NULL in requests
    of before schema 0013."""

    __tablename__ = "requests"

    run_id: str = _run_id()
    position: int = _position()
    index: int
    warmup: bool
    scheduled_s: float
    start_s: float
    end_s: float
    outcome: str
    prompt_tokens_asked: int
    output_tokens_asked: int
    chunk_s: bytes
    chunk_tokens: bytes | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    output_chars: int | None = None
    finish_reason: str | None = None
    status: int | None = None
    error: str | None = None
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    server_decode_s: float | None = None
    ttfo_s: float | None = None
    reasoning_tokens: int | None = None
    reasoning_chunks: int | None = None
    tool_call_deltas: int | None = None
    done: bool | None = None
    timed_out: bool | None = None
    reconnected: bool | None = None
    refused: bool | None = None
    counted_tokens: int | None = None
    connect_s: float | None = None
    turn: int | None = None
    sent_sha256: str | None = None
    checksum: int | None = _big()


class GpuReadingRow(Row, table=True):
    __tablename__ = "gpu_readings"

    run_id: str = _run_id()
    position: int = _position()
    at_s: float
    device: int
    used_bytes: int | None = _big()
    total_bytes: int | None = _big()
    process_bytes: int | None = _big()
    other_processes: int | None = None
    utilisation_fraction: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    throttle_reasons: int | None = _big()


class ServerReadingRow(Row, table=True):
    __tablename__ = "server_readings"

    run_id: str = _run_id()
    position: int = _position()
    at_s: float
    running: float | None = None
    waiting: float | None = None
    kv_cache_fraction: float | None = None
    preemptions_total: float | None = None
    prefix_queries_total: float | None = None
    prefix_hits_total: float | None = None
    prompt_tokens_total: float | None = None
    output_tokens_total: float | None = None
    drafts_total: float | None = None
    draft_tokens_total: float | None = None
    accepted_tokens_total: float | None = None
    accepted_at_1_total: float | None = None
    accepted_at_2_total: float | None = None
    accepted_at_3_total: float | None = None
    accepted_at_4_total: float | None = None
    accepted_at_5_total: float | None = None
    accepted_at_6_total: float | None = None
    accepted_at_7_total: float | None = None
    accepted_at_8_total: float | None = None


class ProcessReadingRow(Row, table=True):
    __tablename__ = "process_readings"

    run_id: str = _run_id()
    position: int = _position()
    at_s: float
    rss_bytes: int = Field(sa_type=BigInteger)
    processes: int
    cpu_s: float | None = None


class HostReadingRow(Row, table=True):
    __tablename__ = "host_readings"

    run_id: str = _run_id()
    position: int = _position()
    at_s: float
    cpus: int
    busy_s: float | None = None
    ours_s: float | None = None
    stolen_s: float | None = None
    asleep_s: float | None = None
    swapped_bytes_total: int | None = _big()


class SloTimesRow(Row, table=True):
    """The times of a run's measured requests that decide its figures under any SLO, computed from
    its samples: `latencies_s` is little-endian float64, the TTFT, TPOT and E2E of all requests one
    after the other, in order of start. Runs of before schema 0020 and imported ones have none
    until they are recomputed."""

    __tablename__ = "slo_times"

    run_id: str = Field(foreign_key="runs.id", primary_key=True)
    span_s: float | None = None
    steady_from: int | None = None
    latencies_s: bytes


class MetricRow(Row, table=True):
    """One figure of a run: its value (NULL: absent), the ends of its 95% interval, and the number
    of samples behind it."""

    __tablename__ = "metrics"

    run_id: str = _run_id()
    name: str = Field(primary_key=True)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: int | None = None


class DoubtRow(Row, table=True):
    """One doubt of a run. `values` is JSON with the values of its sentence; an older journal has
    the sentence itself, as {"sentence": ...}."""

    __tablename__ = "doubts"

    run_id: str = _run_id()
    position: int = _position()
    name: str
    values: str
    severity: str


class InteractionRow(Row, table=True):
    """One question that a person asked by hand. `messages` and `settings` are JSON."""

    __tablename__ = "interactions"
    __table_args__ = (Index("interactions_by_time", "asked_at", "id"),)

    id: str = Field(primary_key=True)
    source: str
    asked_at: datetime = _moment()
    base_url: str
    model: str
    api: str
    messages: str
    settings: str
    answer: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    duration_s: float | None = None
    error: str | None = None
    thoughts: str | None = None
    ttfo_s: float | None = None
    reasoning_tokens: int | None = None
    note: str | None = None


class CheckupRow(Row, table=True):
    """One checkup of a host by `journal doctor`. `checks` is JSON."""

    __tablename__ = "checkups"
    __table_args__ = (Index("checkups_by_host", "host", "made_at"),)

    id: str = Field(primary_key=True)
    host: str
    made_at: datetime = _moment()
    checks: str


class NoteRow(Row, table=True):
    """The user's own words, as the bytes that were written (UTF-8, as a rule)."""

    __tablename__ = "notes"
    __table_args__ = (Index("notes_by_day", "day", "written_at", "id"),)

    id: str = Field(primary_key=True)
    day: date
    written_at: datetime = _moment()
    text: bytes
    experiment_id: str | None = Field(default=None, foreign_key="experiments.id")
    run_id: str | None = Field(default=None, foreign_key="runs.id")


class TagRow(Row, table=True):
    """A name for runs; `id` is the name itself. `run_ids` is JSON."""

    __tablename__ = "tags"

    id: str = Field(primary_key=True)
    tagged_at: datetime = _moment()
    run_ids: str
