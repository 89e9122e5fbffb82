"""The journal as tables for other programs: a row for each run, or for each request."""

import csv
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, get_args

from journal.errors import MissingExtra, UsageError
from journal.metrics.beside_theory import of_engine
from journal.metrics.table import rows
from journal.paths import is_written_in_place
from journal.private import write_private
from journal.records.load_shape import AXES
from journal.records.request import Trace
from journal.records.run import Record
from journal.redaction import hidden_in, hiding
from journal.store.store import Store, open_store

Form = Literal["csv", "parquet", "jsonl"]
Kind = Literal["text", "whole", "number", "flag", "numbers", "wholes"]
Columns: TypeAlias = dict[str, Kind]
Row: TypeAlias = dict[str, Any]

FORMS: tuple[str, ...] = get_args(Form)
BATCH = 2000  # rows of Parquet that are in memory at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")

OF_ENGINE = ("weights_bytes", "kv_pool_bytes", "kv_pool_tokens")
RUN: Columns = {
    **dict.fromkeys(("id", "experiment_id", "experiment", "tool", "model"), "text"),
    "quantisation": "text",
    **{axis.name: "whole" if axis.whole else "number" for axis in AXES},
    **dict.fromkeys(("requests_asked", "repeat"), "whole"),
    **dict.fromkeys(("identity", "status", "error", "started_at"), "text"),
    "duration_s": "number",
    "engine_version": "text",
    "engine_start_s": "number",
    **dict.fromkeys(OF_ENGINE, "whole"),
    "doubts": "text",
    "environment": "text",
}
REQUEST: Columns = {
    "run_id": "text",
    "index": "whole",
    "warmup": "flag",
    **dict.fromkeys(("scheduled_s", "start_s", "end_s"), "number"),
    "outcome": "text",
    "prompt_tokens_asked": "whole",
    "output_tokens_asked": "whole",
    "chunk_s": "numbers",
    "chunk_tokens": "wholes",
    **dict.fromkeys(("prompt_tokens", "output_tokens", "cached_tokens", "output_chars"), "whole"),
    "finish_reason": "text",
    "status": "whole",
    "error": "text",
    **dict.fromkeys(("server_queue_s", "server_prefill_s", "server_decode_s"), "number"),
    "ttfo_s": "number",
    **dict.fromkeys(("reasoning_tokens", "reasoning_chunks", "tool_call_deltas"), "whole"),
    **dict.fromkeys(("done", "timed_out", "reconnected", "refused"), "flag"),
    "counted_tokens": "whole",
    "connect_s": "number",
}


def export(
    out: IO[str] | Path, home: str | Path = "lab", form: Form | None = None, *, raw: bool = False
) -> int:
    """Write every run of the journal in `home` to `out`, in `form` (None: by the name of the
    file), and return the number of rows. With `raw` there is a row for each request instead,
    with the times of its chunks.

    Times are UTC in ISO 8601, durations in s, sizes in bytes; unknown values are empty or null.
    In CSV a text that a spreadsheet would read as a formula gets an apostrophe before it. Raises
    UsageError for a file that cannot be written, a name without a format, or Parquet without a
    file; MissingExtra for Parquet without pyarrow.
    """
    chosen = _form(out, form)
    with open_store(Path(home)) as store:
        columns, lines = _rows(store, raw=raw)
        if not isinstance(out, Path):
            return _text(out, chosen, columns, lines)
        in_place = is_written_in_place(out)
        temporary = out if in_place else out.with_name(f".{out.name}.{secrets.token_hex(4)}")
        try:
            if not in_place:
                write_private(temporary, b"")
            if chosen == "parquet":
                count = _parquet(temporary, columns, lines)
            else:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    count = _text(file, chosen, columns, lines)
            if not in_place:
                temporary.replace(out)
        except OSError as error:
            raise UsageError(f"{out} cannot be written ({error.strerror}): name another") from error
        finally:
            if not in_place:
                with suppress(OSError):  # it has its name by now, or was never made
                    temporary.unlink()
        return count


def frame_rows(home: Path, *, raw: bool = False) -> tuple[Columns, list[Row]]:
    """The columns and all rows of the journal in `home`: runs, or with `raw` requests."""
    with open_store(home) as store:
        columns, lines = _rows(store, raw=raw)
        return columns, list(lines)


def _rows(store: Store, *, raw: bool) -> tuple[Columns, Iterator[Row]]:
    if raw:
        return REQUEST, _without_secrets(_requests(store))
    parts = figures()
    columns: Columns = RUN | dict.fromkeys(parts, "number")
    return columns, _without_secrets(_run(record, parts) for record in store.runs())


def _without_secrets(rows: Iterable[Row]) -> Iterator[Row]:
    """`rows` without secrets, which rows of another program may hold."""
    hide = hiding()
    for row in rows:
        yield {name: hide(item) if isinstance(item, str) else item for name, item in row.items()}


def _form(out: IO[str] | Path, form: Form | None) -> Form:
    if isinstance(out, Path):
        form = form or next((known for known in get_args(Form) if out.suffix == f".{known}"), None)
        if form is None:
            raise UsageError(f"the name {out} gives no format: give one of {', '.join(FORMS)}")
        return form
    if form == "parquet":
        raise UsageError("Parquet cannot be written to a stream: name a file")
    return form or "csv"


# ---- the rows --------------------------------------------------------------------------------


def figures() -> dict[str, tuple[str, str]]:
    """The columns of metrics: the name of each column, and the metric and the part of its figure
    (value, low, high) that it holds. A metric whose name a column of the run has is prefixed."""
    return {
        f"{'metric.' if metric.name in RUN else ''}{metric.name}{end}": (metric.name, part)
        for metric in rows()
        for end, part in (("", "value"), (".low", "low"), (".high", "high"))
    }


def _run(record: Record, parts: Mapping[str, tuple[str, str]]) -> Row:
    cell, facts = record.cell, record.facts
    return {
        "id": record.id,
        "experiment_id": record.experiment_id,
        "experiment": cell.experiment,
        "tool": record.environment.get("tool"),
        "model": cell.model,
        "quantisation": cell.quantisation,
        **{axis.name: getattr(cell, axis.name) for axis in AXES},
        "requests_asked": cell.load.requests,
        "repeat": cell.repeat,
        "identity": cell.identity,
        "status": record.status,
        "error": record.error,
        "started_at": record.started_at.astimezone(UTC).isoformat(),
        "duration_s": record.duration_s,
        "engine_version": facts.version,
        "engine_start_s": facts.start_s,
        **{name: _whole(of_engine(record, name)) for name in OF_ENGINE},
        "doubts": json.dumps([doubt.name for doubt in record.doubts]),
        "environment": json.dumps(
            hidden_in(record.environment), ensure_ascii=False, sort_keys=True
        ),
        **{
            column: getattr(record.metrics.get(name), part, None)
            for column, (name, part) in parts.items()
        },
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _requests(store: Store) -> Iterator[Row]:
    """A row for each request, read run by run, so that only one run's requests are in memory."""
    for record in store.runs():
        samples = store.samples(record.id)
        for trace in samples.traces if samples else ():
            own = {name: _plain(trace, name) for name in REQUEST if name != "run_id"}
            yield {"run_id": record.id, **own}


def _plain(trace: Trace, name: str) -> Any:
    value = getattr(trace, name)
    if name.endswith("_asked") and value == 0:  # no file told it
        return None
    return list(value) if isinstance(value, tuple) else value


# ---- the forms -------------------------------------------------------------------------------


def _text(file: IO[str], form: Form, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    if form == "csv":
        writer.writeheader()
    for row in rows:
        if form == "csv":
            writer.writerow({name: _in_csv(value) for name, value in row.items()})
        else:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        count += 1
    return count


def _in_csv(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return json.dumps(value) if isinstance(value, list) else value


def _parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtra("Parquet", "parquet") from error
    types = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "numbers": pa.list_(pa.float64()),
        "wholes": pa.list_(pa.int64()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    count, waiting = 0, iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(waiting, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count
