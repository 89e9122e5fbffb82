"""The journal as a DataFrame: the rows of an export, with types that a notebook can work with."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import journal
from journal.errors import MissingExtra
from journal.records.figure import Figure
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import Store

NewRecord = Callable[..., Record]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def kept(store: Store, new_record: NewRecord, samples: Samples) -> list[Record]:
    records = [
        new_record(metrics={"ttft_s.p50": Figure(0.25, 0.2, 0.3, 3)}),
        new_record(status="failed", error="it died", metrics={}),
    ]
    store.add_run(records[0], samples)
    store.add_run(records[1], None)
    return records


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_run_is_a_row_whose_times_and_figures_can_be_worked_with(
    library: str, kept: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library)
    if library == "polars":
        monkeypatch.setitem(sys.modules, "pandas", None)
    frame = journal.runs(tmp_path)
    assert type(frame).__module__.split(".")[0] == library
    assert list(frame["id"]) == [record.id for record in kept]
    assert frame["ttft_s.p50"][0] == 0.25 and frame["ttft_s.p50.high"][0] == 0.3
    assert frame["started_at"][0] == kept[0].started_at
    assert "itl_s.p50" not in frame.columns  # no run has it
    assert list(frame["error"])[1] == "it died"


def test_a_request_is_a_row_with_the_times_of_its_chunks(
    kept: list[Record], samples: Samples, tmp_path: Path
) -> None:
    pytest.importorskip("pandas")
    frame = journal.runs(tmp_path, raw=True)
    assert len(frame) == len(samples.traces)
    assert frame["chunk_s"][0] == list(samples.traces[0].chunk_s)


def test_an_empty_journal_is_an_empty_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with journal.open_store(tmp_path):
        pass
    frame = journal.runs(tmp_path)
    assert len(frame) == 0 and "started_at" in frame.columns


def test_a_sentence_says_what_to_install_without_a_library_for_frames(
    kept: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match="a DataFrame needs an optional part"):
        journal.runs(tmp_path)


def test_a_comparison_reads_as_text_and_in_a_notebook(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    for model, ttft_s in (("a", 0.1), ("b", 0.2)):
        cell = replace(new_record().cell, model=model, identity=model)
        store.add_run(new_record(cell=cell, metrics={"ttft_s.p50": Figure(ttft_s)}), None)
    comparison = journal.compare("model:a", "model:b", tmp_path)
    text = str(comparison)
    assert "b against a" in text.splitlines()[0]
    assert "ttft_s.p50: 100 ms, 200 ms, 2 times: cannot say (one run of an experiment each)" in text
    assert comparison._repr_html_().startswith("<pre>")
