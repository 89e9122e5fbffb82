"""The journal as tables: the same rows in every form, readable by the usual programs."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from journal.errors import UsageError
from journal.exchange.export import REQUEST, RUN, export, figures
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import Store, open_store

NewRecord = Callable[..., Record]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def kept(store: Store, new_record: NewRecord, samples: Samples) -> list[Record]:
    """Two runs, the second without samples and with texts that are trouble."""
    evil = replace(samples.cell, model='=HYPERLINK("http://x"),\n"y"', experiment="-1+1")
    records = [
        new_record(),
        new_record(status="failed", error="it\tdied; 引擎", cell=evil, metrics={}),
    ]
    store.add_run(records[0], samples)
    store.add_run(records[1], None)
    return records


def text(home: Path, form: Any, **options: bool) -> str:
    out = io.StringIO(newline="")
    count = export(out, home, form, **options)
    assert count == {"raw": 3}.get(next(iter(options), ""), 2)
    return out.getvalue()


def test_every_run_is_a_row(tmp_path: Path, kept: list[Record]) -> None:
    first, second = (json.loads(line) for line in text(tmp_path, "jsonl").splitlines())
    assert list(first) == [*RUN, *figures()]
    assert (first["id"], first["batch"], first["prompt_tokens"]) == (kept[0].id, 8, 64)
    assert (first["ttft_s.p50"], first["ttft_s.p50.low"], first["ttft_s.p50.high"]) == (
        0.1,
        0.09,
        0.11,
    )
    assert first["vram_peak_bytes"] is None
    assert first["metric.prompt_tokens"] is None, "a metric whose name a column has"
    assert json.loads(first["doubts"]) == ["few-samples", "prefix-cache"]
    assert json.loads(first["environment"])["driver"] == "570.1"
    assert first["started_at"] == "2026-03-01T09:01:00+00:00"
    assert (second["error"], second["ttft_s.p50"]) == ("it\tdied; 引擎", None)


def test_csv_holds_the_same_and_no_formula(tmp_path: Path, kept: list[Record]) -> None:
    rows = list(csv.DictReader(io.StringIO(text(tmp_path, "csv"), newline="")))
    written = [json.loads(line) for line in text(tmp_path, "jsonl").splitlines()]
    assert rows[1]["model"] == "'" + written[1]["model"]
    assert rows[1]["experiment"] == "'-1+1"
    for row, same in zip(rows, written, strict=True):
        for name, value in same.items():
            if name not in ("model", "experiment"):
                assert row[name] == ("" if value is None else str(value)), name


def test_every_request_is_a_row_with_its_chunks(tmp_path: Path, kept: list[Record]) -> None:
    lines = [json.loads(line) for line in text(tmp_path, "jsonl", raw=True).splitlines()]
    assert list(lines[0]) == list(REQUEST)
    assert {line["run_id"] for line in lines} == {kept[0].id}
    assert lines[0]["chunk_s"] == [0.2, 0.25, 1 / 3]
    assert (lines[0]["chunk_tokens"], lines[2]["chunk_tokens"]) == ([1, 1, 2], None)
    assert (lines[0]["warmup"], lines[2]["error"]) == (True, "cut ✂ off")
    (row, *_) = csv.DictReader(io.StringIO(text(tmp_path, "csv", raw=True), newline=""))
    assert json.loads(row["chunk_s"]) == [0.2, 0.25, 1 / 3]


@pytest.mark.parametrize("raw", [False, True])
def test_parquet_holds_the_same(tmp_path: Path, kept: list[Record], raw: bool) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path = tmp_path / "out.parquet"
    assert export(path, tmp_path, raw=raw) == (3 if raw else 2)
    options = {"raw": True} if raw else {}
    written = [json.loads(line) for line in text(tmp_path, "jsonl", **options).splitlines()]
    table = pq.read_table(path)
    assert table.to_pylist() == written
    if raw:
        assert str(table.schema.field("chunk_s").type).startswith("list<")
    else:
        assert str(table.schema.field("ttft_s.p99").type) == "double", "even where all are null"


def test_the_name_of_the_file_tells_the_form(tmp_path: Path, kept: list[Record]) -> None:
    assert export(tmp_path / "a.csv", tmp_path) == 2
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").startswith("id,experiment_id,")
    assert export(tmp_path / "b.jsonl", tmp_path) == 2
    assert export(tmp_path / "c.txt", tmp_path, "jsonl") == 2
    before = (tmp_path / "a.csv").read_bytes()
    for out, form, reason in (
        (tmp_path / "d.txt", None, "gives no format"),
        (io.StringIO(), "parquet", "cannot be written to a stream"),
        (tmp_path / "none" / "a.csv", None, "cannot be written"),
    ):
        with pytest.raises(UsageError, match=reason):
            export(out, tmp_path, form)  # type: ignore[arg-type]
    assert (tmp_path / "a.csv").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_an_empty_journal_is_a_table_without_rows(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    out = io.StringIO()
    assert export(out, tmp_path) == 0
    assert out.getvalue().count("\n") == 1
