"""What proves the steps of the two weeks, from rows alone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from builders import BEGAN

from journal.errors import DamagedRow
from journal.records.engine import EngineFacts
from journal.records.notebook import Checkup, Interaction
from journal.records.run import Record
from journal.store.checkups import add_checkup
from journal.store.evidence import environment_of, first_answer, first_checkup, good_runs
from journal.store.interactions import add_interaction
from journal.store.store import Store

MINUTE = timedelta(minutes=1)


def test_a_good_run_has_its_facts_and_the_figures_that_it_has(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    figures = {"vram_peak_bytes": 7.0, "rss_peak_bytes": 6.0, "output_tokens_per_s": 5.0}
    whole = add_run(1, batch=4, quantisation="awq", metrics={**figures, "e2e_s.mean": 2.5, "x": 9})
    bare = add_run(2, model="simulated-8b", batch=None, rate=2.5)
    scripted = add_run(3, facts=EngineFacts(version="simulated 1.0"))
    for number, status in ((4, "failed"), (5, "invalid")):
        add_run(number, status=status)
    first, second, third = good_runs(lab)
    assert (first.id, first.started_at, first.model) == (whole.id, whole.started_at, "m")
    assert (first.quantisation, first.batch, first.rate) == ("awq", 4, None)
    assert (first.prompt_tokens, first.output_tokens, first.simulated) == (64, 32, False)
    assert (first.vram_peak_bytes, first.rss_peak_bytes) == (7, 6)
    assert (first.e2e_s, first.output_tokens_per_s) == (2.5, 5)
    assert (second.id, second.batch, second.rate) == (bare.id, None, 2.5)
    assert second.simulated is third.simulated is True
    assert third.id == scripted.id
    assert second.e2e_s is second.vram_peak_bytes is None


def test_the_first_three_runs_of_a_kind_are_all_that_it_proves(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    assert good_runs(lab) == []
    same = [add_run(number) for number in range(5)]
    other = add_run(6, batch=2)
    flagged = add_run(7, model="n", status="flagged")
    assert [run.id for run in good_runs(lab)] == [
        *(run.id for run in same[:3]),
        other.id,
        flagged.id,
    ]
    early = good_runs(lab, same[2].started_at)  # that one began no earlier
    assert [run.id for run in early] == [run.id for run in same[:2]]


def test_the_environment_of_a_run_is_read_alone(lab: Store, add_run: Callable[..., Record]) -> None:
    record = add_run(1)
    assert environment_of(lab, record.id) == record.environment
    with lab.transaction(writing=True) as connection:
        connection.exec_driver_sql("UPDATE runs SET environment = '[1'")
    with pytest.warns(DamagedRow, match=f"the environment of run {record.id}"):
        assert environment_of(lab, record.id) == {}


def asked(number: int, **changes: object) -> Interaction:
    given = {
        "id": f"{number:016x}",
        "source": "ask",
        "asked_at": BEGAN + number * MINUTE,
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "m",
        "api": "chat",
        "messages": ({"role": "user", "content": "Why?"},),
        "answer": "Because.",
    }
    return Interaction(**{**given, **changes})  # type: ignore[arg-type]


def test_the_first_answer_is_one_without_an_error_from_that_source(lab: Store) -> None:
    assert first_answer(lab, "ask") is None
    for question in (
        asked(1, error="refused"),
        asked(2, source="chat"),
        asked(4, model="later"),
        asked(3),
    ):
        add_interaction(lab, question)
    third = BEGAN + 3 * MINUTE
    assert first_answer(lab, "ask") == (f"{3:016x}", third, "m")
    assert first_answer(lab, "chat") == (f"{2:016x}", BEGAN + 2 * MINUTE, "m")
    assert first_answer(lab, "ask", before=third) is None
    assert first_answer(lab, "ask", before=third + MINUTE) is not None


def test_the_first_checkup_is_the_earliest(lab: Store) -> None:
    assert first_checkup(lab) is None
    for number, host in ((2, "later"), (1, "bench")):
        made_at = BEGAN + number * MINUTE
        add_checkup(lab, Checkup(id=f"{number:016x}", host=host, made_at=made_at, checks=()))
    first = (f"{1:016x}", BEGAN + MINUTE, "bench")
    assert first_checkup(lab) == first
    assert first_checkup(lab, before=BEGAN + MINUTE) is None
    assert first_checkup(lab, before=BEGAN + 2 * MINUTE) == first
