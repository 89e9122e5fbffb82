"""The views for people and their own SQL: `runs_flat`, a row for each run with its headline
figures, and `requests_flat`, a row for each request that is in the database.

Views hold no data. They are dropped before a migration, which may rebuild the tables below them,
and made again after it; a change here needs a migration of its own, which may be empty.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, text

from journal.records.load_shape import AXIS_NAMES, LOAD_AXES
from journal.records.money import USD

NAMES = ("runs_flat", "requests_flat")

# The columns of runs_flat that are metrics. `.` is `_` in their names; those of WITH_INTERVAL have
# the ends of their 95% interval beside them.
WITH_INTERVAL = ("ttft_s.p50", "tpot_s.p50", "itl_s.p50", "e2e_s.p50", "output_tokens_per_s")
ALONE = (
    *("ttft_s.p99", "itl_s.p99", "e2e_s.p99", "total_tokens_per_s", "requests_per_s"),
    *("goodput_per_s", "good_fraction", "error_fraction", "vram_peak_bytes", "rss_peak_bytes"),
    *("weights_bytes", "kv_pool_bytes", "kv_pool_tokens", "kv_cache_peak_bytes"),
    *("kv_cache_peak_fraction", "prefix_cache_hit_fraction", "preemptions"),
    *("energy_per_output_token_j", "usd_per_million_output_tokens"),
    "price_per_million_output_tokens",
)
OF_RUN = (
    *("id", "experiment_id", "experiment", "model", "quantisation", "dtype", "tensor_parallel"),
    *("workload", *AXIS_NAMES, "requests", "repeat"),
    *("status", "error", "started_at", "duration_s"),
)
OF_PLACE = ("experiment", "model", "quantisation", *LOAD_AXES)
OF_REQUEST = (
    *("warmup", "turn", "outcome", "scheduled_s", "start_s", "end_s", "prompt_tokens_asked"),
    *("output_tokens_asked", "prompt_tokens", "output_tokens", "cached_tokens"),
    *("reasoning_tokens", "finish_reason", "status", "error", "server_queue_s"),
    *("server_prefill_s", "server_decode_s"),
)


def drop_views(connection: Connection) -> None:
    """Drop the views, where they are there."""
    for name in NAMES:
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def make_views(connection: Connection) -> None:
    """Make the views in the SQL of the database, SQLite's or PostgreSQL's."""
    for name, query in definitions(connection.dialect.name).items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))


def definitions(dialect: str) -> Mapping[str, str]:
    """The query of each view, for "sqlite" or "postgresql"."""
    if dialect == "sqlite":
        return {"runs_flat": _runs(_in_sqlite, _SQLITE_NAMES), "requests_flat": _requests_sqlite()}
    return {"runs_flat": _runs(_in_postgres, _POSTGRES_NAMES), "requests_flat": _requests_pg()}


# ---- runs ------------------------------------------------------------------------------------

_SQLITE_NAMES = (
    "(SELECT group_concat(name, ', ') FROM (SELECT d.name FROM doubts d WHERE d.run_id = r.id"
    "{which} ORDER BY d.position))"
)
_POSTGRES_NAMES = (
    "(SELECT string_agg(d.name, ', ' ORDER BY d.position) FROM doubts d WHERE d.run_id = r.id"
    "{which})"
)


def _in_sqlite(column: str, key: str) -> str:
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '$.{key}') END"


def _in_postgres(column: str, key: str) -> str:
    return f"CAST({column} AS json) #>> '{{{key.replace('.', ',')}}}'"


def _runs(of_json: Callable[[str, str], str], names: str) -> str:
    columns = [f"r.{name}" for name in OF_RUN]
    columns += [
        f"{of_json('r.environment', 'host')} AS host",
        f"{of_json('r.environment', 'tool')} AS tool",
        f"{of_json('r.facts', 'version')} AS engine_version",
        f"{names.format(which=_FLAGS)} AS flags",
        f"{names.format(which='')} AS doubts",
    ]
    for metric in WITH_INTERVAL:
        columns += [_metric(metric, part) for part in ("value", "low", "high")]
    columns += [_metric(metric, "value") for metric in ALONE]
    in_usd, other = (of_json("r.facts", key) for key in ("usd_per_hour", "price_per_hour.currency"))
    columns += [f"CASE WHEN {in_usd} IS NOT NULL THEN '{USD}' ELSE {other} END AS currency"]
    engine, start_s = of_json("r.cell", "engine.model"), of_json("r.facts", "start_s")
    columns += [
        f"CASE WHEN {_UNMEASURED.format(run='r')} AND {engine} IS NOT NULL AND {start_s} IS NULL "
        f"THEN {_FIRST} END AS failed_start"
    ]
    return f"SELECT {', '.join(columns)} FROM runs r"


# What sets the runs of an engine that did not start apart, and the first of them, which names it.
_UNMEASURED = (
    "{run}.status = 'failed' AND {run}.duration_s = 0 "
    "AND NOT EXISTS (SELECT 1 FROM metrics m WHERE m.run_id = {run}.id)"
)
_FIRST = (
    "(SELECT f.id FROM runs f WHERE f.experiment_id = r.experiment_id AND f.model = r.model "
    f"AND f.error = r.error AND f.facts = r.facts AND {_UNMEASURED.format(run='f')} "
    "ORDER BY f.started_at, f.id LIMIT 1)"
)
_FLAGS = " AND d.severity <> 'note'"


def _metric(metric: str, part: str) -> str:
    """A scalar subquery by the key of `metrics`: a column that nobody asks for costs nothing."""
    name = metric.replace(".", "_") + ("" if part == "value" else f"_{part}")
    return (
        f"(SELECT m.{part} FROM metrics m WHERE m.run_id = r.id AND m.name = '{metric}') AS {name}"
    )


# ---- requests --------------------------------------------------------------------------------
# The times of the first and the last chunk are read from the little-endian float64 of `chunk_s`:
# (2^52 + mantissa) * 2^(exponent - 1075), exactly. A time before the load began is negative.


def _told(name: str) -> str:
    """A length that was asked for, which is stored as 0 where another tool's file has none."""
    return f"nullif(q.{name}, 0) AS {name}"


def _request_columns(first: str, last: str) -> str:
    columns = ["q.run_id", "q.position", *(f"r.{name}" for name in OF_PLACE)]
    columns += [_told(name) if name.endswith("_asked") else f"q.{name}" for name in OF_REQUEST]
    columns += [
        "length(q.chunk_s) / 8 AS chunks",
        f"{first} AS first_chunk_s",
        f"{last} AS last_chunk_s",
        f"{first} - q.scheduled_s AS ttft_s",
        f"{last} - {first} AS streamed_s",
        "q.end_s - q.scheduled_s AS e2e_s",
    ]
    return ", ".join(columns)


def _requests_sqlite() -> str:
    """SQLite has no function for the bytes of a blob: their hex digits are looked up."""
    inner = (
        "SELECT *, hex(substr(chunk_s, 1, 8)) AS first_hex, hex(substr(chunk_s, -8)) AS last_hex "
        "FROM requests"
    )
    columns = _request_columns(_float_sqlite("q.first_hex"), _float_sqlite("q.last_hex"))
    return f"SELECT {columns} FROM ({inner}) q JOIN runs r ON r.id = q.run_id"


def _float_sqlite(digits: str) -> str:
    def digit(at: int) -> str:
        return f"(instr('123456789ABCDEF', substr({digits}, {at}, 1)))"

    high, low = f"({digit(15)} & 7) * 256 + {digit(16)} * 16", digit(13)
    exponent = f"({high} + {low})"
    bits = " + ".join(
        f"({digit(2 * byte + 1)} * 16 + {digit(2 * byte + 2)} << {8 * byte})" for byte in range(6)
    )
    mantissa = f"((1 << 52) + ({digit(14)} << 48) + {bits})"
    halves = (
        f"(1 << max(0, min(62, 1075 - {exponent}))) / (1 << max(0, min(62, 1013 - {exponent})))"
    )
    sign = f"CASE WHEN {digit(15)} > 7 THEN -1.0 ELSE 1.0 END"
    return (
        f"(CASE WHEN {digits} = '' THEN NULL WHEN {exponent} = 0 THEN 0.0 "
        f"ELSE {sign} * {mantissa} / {halves} END)"
    )


def _requests_pg() -> str:
    columns = _request_columns(_float_pg("0"), _float_pg("length(q.chunk_s) - 8"))
    return f"SELECT {columns} FROM requests q JOIN runs r ON r.id = q.run_id"


def _float_pg(offset: str) -> str:
    def byte(number: int) -> str:
        return f"CAST(get_byte(q.chunk_s, {offset} + {number}) AS bigint)"

    exponent = f"(({byte(7)} & 127) * 16 + ({byte(6)} >> 4))"
    bits = " + ".join(f"({byte(number)} << {8 * number})" for number in range(6))
    mantissa = f"((CAST(1 AS bigint) << 52) + (({byte(6)} & 15) << 48) + {bits})"
    power = f"power(CAST(2 AS double precision), {exponent} - 1075)"
    sign = f"CASE WHEN {byte(7)} > 127 THEN -1.0 ELSE 1.0 END"
    return (
        f"(CASE WHEN length(q.chunk_s) < 8 THEN NULL WHEN {exponent} = 0 THEN 0.0 "
        f"ELSE ({sign}) * {mantissa} * {power} END)"
    )
