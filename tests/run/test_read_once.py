"""A run reads back each of its records once, and builds the page of its log once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.records.experiment import Experiment
from journal.report import log, questions
from journal.store import from_rows

Server = Callable[..., str]
SWEEP = Experiment(
    name="sweep",
    grid=journal.Grid(batch=(1, 2), prompt_tokens=(4, 8), output_tokens=(2,)),
    load=journal.Load(requests=6, warmup=1),
)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each run was read back, by its id, and how often a "page" was built."""
    counted: Counter[str] = Counter()
    read, build = from_rows.run_record, questions.log_page

    def reading(row: Any, *parts: Any) -> Any:
        counted[row["id"]] += 1
        return read(row, *parts)

    def building(day: Any) -> Any:
        counted["page"] += 1
        return build(day)

    monkeypatch.setattr(from_rows, "run_record", reading)
    monkeypatch.setattr(log, "log_page", building)
    monkeypatch.setattr(questions, "log_page", building)
    return counted


def test_records_are_read_once_and_the_page_is_built_once(
    fake_server: Server, tmp_path: Path, counts: Counter[str]
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    result = journal.run(SWEEP, tmp_path, endpoint=endpoint)
    assert len(result.records) == 4
    assert counts == dict.fromkeys([record.id for record in result.records], 1) | {"page": 1}


def test_a_second_run_reads_of_the_first_what_its_log_shows(
    fake_server: Server, tmp_path: Path, counts: Counter[str]
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    journal.run(SWEEP, tmp_path, endpoint=endpoint)
    counts.clear()
    journal.run(SWEEP, tmp_path, endpoint=endpoint)
    assert len(counts) == 8 + 1
    assert set(counts.values()) == {1}
