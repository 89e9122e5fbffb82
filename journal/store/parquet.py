"""Rows of requests in Parquet files beside the database that they were moved from, written and
read exactly. A file has the columns of the table `requests`, the times of chunks as lists of
float64 numbers, and a row group for each run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import URL, Connection, RowMapping, select

from journal.errors import MissingExtra, StoreError
from journal.store import core_tables
from journal.store.database import file_of

if TYPE_CHECKING:
    import pyarrow as pa

_requests = core_tables.requests

PACKED = {"chunk_s": "<f8", "chunk_tokens": "<i4"}

Row: TypeAlias = Mapping[str, Any] | RowMapping
Rows: TypeAlias = Sequence[Row]


def folder_of(url: URL, home: Path) -> Path:
    """The folder of a journal's files: beside its SQLite file, or in `home` where the database is
    on a server."""
    return folder_beside(file_of(url) or home / str(url.database))


def folder_beside(database: Path) -> Path:
    """The folder of Parquet files that belongs to an SQLite file."""
    return database.with_name(f"{database.name}.requests")


def request_rows(connection: Connection, run: Row, folder: Path) -> Rows:
    """The rows of a run's requests, from the database or from its file in `folder`. Raises
    StoreError where the file cannot be read."""
    if run["requests_file"] is not None:
        return moved_rows(run, folder)
    query = select(_requests).where(_requests.c.run_id == run["id"])
    return connection.execute(query.order_by(_requests.c.position)).mappings().all()


def moved_rows(run: Row, folder: Path) -> Rows:
    """The rows of a run's requests from its file in `folder`. Raises StoreError where the file
    cannot be read."""
    return read_run(_inside(folder, run["requests_file"]), run["id"])


def _inside(folder: Path, name: object) -> Path:
    """The path of the file `name` in `folder`. Raises StoreError for a name that leads elsewhere,
    as one from another journal may."""
    path = folder / str(name)
    if not isinstance(name, str) or path.name != name or path.resolve().parent != folder.resolve():
        raise StoreError(
            f"the journal names {str(name)[:60]!r} as the file of a run's requests, which is not "
            f"a file in {folder}: the row is damaged, or of another program"
        )
    return path


def as_table(rows: Rows) -> "pa.Table":
    """Rows of `requests` as an Arrow table. Raises MissingExtra without pyarrow."""
    pa = _arrow()
    schema = pa.schema([(column.name, _type(column.name)) for column in _requests.c])
    columns = [
        _lists([row[name] for row in rows], PACKED[name])
        if name in PACKED
        else pa.array([row[name] for row in rows], type=schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_runs(path: Path, runs: "Sequence[pa.Table]") -> None:
    """Write a file, readable by its owner only, with one row group for each of `runs`; flush it to
    the disk and read it back. Raises StoreError where it does not hold the same rows."""
    pa = _arrow()
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        with pa.parquet.ParquetWriter(
            file,
            runs[0].schema,
            compression="zstd",
            use_dictionary=[n for n in runs[0].column_names if n != "chunk_s"],
            column_encoding={"chunk_s.list.element": "BYTE_STREAM_SPLIT"},
        ) as writer:
            for run in runs:
                writer.write_table(run, row_group_size=run.num_rows)
        file.flush()
        os.fsync(file.fileno())
    if not pa.parquet.read_table(path, partitioning=None).equals(pa.concat_tables(runs)):
        raise StoreError(f"{path} does not hold what was written to it: check the disk.")


def read_run(path: Path, run_id: str) -> Rows:
    """The rows of one run, as the database had them. Raises StoreError, naming the file, where it
    is missing, cannot be read, or does not hold the run."""
    pa = _arrow()
    try:
        rows = pa.parquet.read_table(path, partitioning=None, filters=[("run_id", "==", run_id)])
    except FileNotFoundError as error:
        raise StoreError(
            f"the requests of run {run_id} were moved to {path}, which is not there: put that "
            "file back, or read this journal on the host that has it"
        ) from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({reason}): put a copy of it back") from error
    if not rows.num_rows:
        raise StoreError(f"{path} has no requests of run {run_id}: put a copy of it back")
    columns = {
        name: _packed(column, PACKED[name]) if name in PACKED else column.to_pylist()
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    names, values = columns.keys(), zip(*columns.values(), strict=True)
    newer = {column.name: None for column in _requests.c if column.name not in columns}
    return [dict(zip(names, row, strict=True)) | newer for row in values]


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("a compacted journal", "parquet") from error
    return pyarrow


def _type(name: str) -> "pa.DataType":
    pa = _arrow()
    if name in PACKED:
        return pa.list_(pa.field("element", pa.float64() if name == "chunk_s" else pa.int32()))
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return kinds.get(_requests.c[name].type.python_type, pa.string())


def _lists(packed: Sequence[bytes | None], form: str) -> "pa.Array":
    """An Arrow array of lists of numbers from packed numbers of the NumPy type `form`; None stays
    None."""
    import numpy as np

    pa = _arrow()
    numbers = np.frombuffer(b"".join(piece or b"" for piece in packed), form)
    sizes = [len(piece or b"") // np.dtype(form).itemsize for piece in packed]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    absent = pa.array([piece is None for piece in packed], type=pa.bool_())
    values = pa.array(numbers.astype(numbers.dtype.newbyteorder("=")))
    kind = pa.list_(pa.field("element", values.type))
    return pa.ListArray.from_arrays(pa.array(ends), values, type=kind, mask=absent)


def _packed(lists: "pa.ChunkedArray", form: str) -> list[bytes | None]:
    """Packed numbers of the NumPy type `form` from lists of numbers; None stays None."""
    pieces: list[bytes | None] = []
    for chunk in lists.chunks:
        numbers, ends = chunk.values.to_numpy().astype(form), chunk.offsets.to_pylist()
        spans = zip(ends, ends[1:], chunk.is_valid().to_pylist(), strict=False)
        pieces += [numbers[a:b].tobytes() if valid else None for a, b, valid in spans]
    return pieces
