"""The journal as a DataFrame, for notebooks and scripts."""

from pathlib import Path
from typing import Any

from journal.errors import MissingExtra
from journal.exchange.export import frame_rows


def runs(home: str | Path = "lab", *, raw: bool = False) -> Any:
    """Every run of the journal in `home` as a DataFrame, a row each, or with `raw` every request
    with the times of its chunks: of pandas where that is installed, else of polars.

    Columns and units are those of `export`: durations in s, sizes in bytes; `started_at` is a time
    in UTC. A metric that no run has is left out. Raises MissingExtra where neither is installed.
    """
    columns, rows = frame_rows(Path(home), raw=raw)
    known = {name for row in rows for name, value in row.items() if value is not None}
    kept = [name for name in columns if name in known or columns[name] != "number"]
    rows = [{name: row[name] for name in kept} for row in rows]
    try:
        import pandas
    except ModuleNotFoundError:
        return _of_polars(rows, kept)
    frame = pandas.DataFrame(rows, columns=kept)
    if "started_at" in kept:
        frame["started_at"] = pandas.to_datetime(frame["started_at"], utc=True, format="ISO8601")
    return frame


def _of_polars(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    try:
        import polars
    except ModuleNotFoundError as error:
        raise MissingExtra("a DataFrame", "notebook") from error
    frame = polars.DataFrame(rows, schema=columns, infer_schema_length=None)
    if "started_at" not in columns or not rows:
        return frame
    return frame.with_columns(polars.col("started_at").str.to_datetime(time_zone="UTC"))
