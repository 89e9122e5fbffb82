"""Questions asked by hand and checkups of hosts come back as they were stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from journal.records.notebook import Check, Checkup, Interaction
from journal.store.checkups import add_checkup, as_environment, last_checkup
from journal.store.interactions import add_interaction, interactions
from journal.store.store import Store

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def question() -> Interaction:
    return Interaction(
        id="a1",
        source="ask",
        asked_at=NOON,
        base_url="http://127.0.0.1:8000/v1",
        model="tiny",
        api="chat",
        messages=({"role": "system", "content": "be brief"}, {"role": "user", "content": "天?"}),
        settings={"max_tokens": 64, "temperature": 0.5},
        answer="blue",
        finish_reason="stop",
        prompt_tokens=12,
        output_tokens=3,
        ttft_s=0.1,
        duration_s=0.3,
    )


def test_a_question_comes_back_as_it_was_asked(store: Store, question: Interaction) -> None:
    failed = replace(question, id="a2", api="completions", answer="", ttft_s=None, error="refused")
    add_interaction(store, question)
    add_interaction(store, failed)
    assert interactions(store) == [question, failed]
    assert interactions(store, limit=1) == [failed]


def test_questions_of_a_time(store: Store, question: Interaction) -> None:
    later = [replace(question, id=f"b{n}", asked_at=NOON + timedelta(hours=n)) for n in range(4)]
    for one in reversed(later):
        add_interaction(store, one)
    hour = timedelta(hours=1)
    assert interactions(store, since=NOON + hour, until=NOON + 3 * hour) == later[1:3]


def test_what_no_database_can_hold_is_replaced(store: Store, question: Interaction) -> None:
    add_interaction(store, replace(question, answer="a\x00b\ud800"))
    (found,) = interactions(store)
    assert found.answer == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    ("changed", "speed"),
    [
        ({}, 10.0),
        ({"output_tokens": 1}, None),
        ({"output_tokens": None}, None),
        ({"ttft_s": None}, None),
        ({"duration_s": 0.1}, None),
    ],
)
def test_speed_is_that_after_the_first_token(
    question: Interaction, changed: dict[str, float | None], speed: float | None
) -> None:
    found = replace(question, **changed).tokens_per_s  # type: ignore[arg-type]
    assert found == (None if speed is None else pytest.approx(speed))


def checkup(name: str, *, hours: int, host: str = "here", state: str = "ok") -> Checkup:
    checks = (Check("disk: journal", "ok", "12 GiB"), Check("hub", state, "reason", "do"))  # type: ignore[arg-type]
    return Checkup(id=name, host=host, made_at=NOON + timedelta(hours=hours), checks=checks)


def test_the_newest_checkup_of_a_host(store: Store) -> None:
    new = checkup("n", hours=2, state="missing")
    for one in (new, checkup("o", hours=1), checkup("e", hours=3, host="elsewhere")):
        add_checkup(store, one)
    assert last_checkup(store, "here") == new
    assert last_checkup(store, "nowhere") is None
    assert not new.ok


def test_a_checkup_becomes_part_of_the_environment() -> None:
    found = as_environment(checkup("n", hours=2, state="note"))
    assert found == {
        "doctor_at": "2026-03-01T14:00:00+00:00",
        "doctor_disk_journal": "ok",
        "doctor_hub": "note",
    }
    assert as_environment(None) == {}


def test_fields_and_columns_are_the_same() -> None:
    from dataclasses import fields

    from journal.store.tables import InteractionRow

    assert {field.name for field in fields(Interaction)} == set(InteractionRow.model_fields)
