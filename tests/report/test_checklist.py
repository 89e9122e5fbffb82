"""The two weeks' steps are ticked from evidence, and from nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import journal
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment
from journal.records.notebook import Checkup, Interaction
from journal.records.run import Record
from journal.report.checklist import Step, steps
from journal.report.day import collect
from journal.report.questions import log_page
from journal.store.checkups import add_checkup
from journal.store.evidence import good_runs
from journal.store.interactions import add_interaction
from journal.store.store import Store, open_store

Build = Callable[..., Record]
Add = Callable[..., Record]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = ["host", "api", "memory", "latency", "models", "structure", "chat"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def add(store: Store, record: Build) -> Add:
    """Store one run, of an experiment of its own unless `experiment_id` says otherwise."""
    number = 0

    def added(*args: object, **changes: object) -> Record:
        nonlocal number
        number += 1
        made = record(*args, number=number, **changes)
        if "experiment_id" not in changes:
            begun = store.begin_experiment(Experiment(name="x"), made.started_at, {})
            made = replace(made, experiment_id=begun.id)
        store.add_run(made, None)
        return made

    return added


def done(store: Store) -> dict[str, str | None]:
    """The steps that are ticked, with the ids that prove them."""
    return {step.name: step.id for step in steps(store) if step.done}


def step_named(store: Store, name: str) -> Step:
    return next(step for step in steps(store) if step.name == name)


def evidence(store: Store, name: str, lang: str = "en") -> str:
    return str(step_named(store, name).as_json(lang)["evidence"])


def test_an_empty_journal_has_no_step_done(store: Store, tmp_path: Path) -> None:
    assert [(step.name, step.done, step.id) for step in steps(store)] == [
        (name, False, None) for name in NAMES
    ]
    assert [each["step"] for each in (step.as_json() for step in journal.checklist(tmp_path))] == (
        NAMES
    )


def test_a_first_run_sees_the_host_and_an_answer(store: Store, add: Add) -> None:
    add("m", status="failed")
    assert done(store) == {}
    first = add("m")
    add("m")
    assert done(store) == {"host": first.id, "api": first.id}
    assert evidence(store, "host") == "bench: NVIDIA L40S"
    assert evidence(store, "api") == "m answered"
    assert evidence(store, "api", "zh") == "m 作出了回答"


def test_a_run_of_no_known_host_proves_no_host(store: Store, add: Add) -> None:
    imported = add(environment={"tool": "GuideLLM"})
    assert done(store) == {"api": imported.id}
    here = add()
    assert step_named(store, "host").id == here.id


def test_a_checkup_sees_the_host_too(store: Store, add: Add) -> None:
    add_checkup(store, Checkup(id="c1", host="bench", made_at=NOON - timedelta(days=1), checks=()))
    step = step_named(store, "host")
    assert (step.done, step.kind, step.id) == (True, "checkup", "c1")
    assert step.as_json()["run_id"] is None
    add("m")
    assert step_named(store, "host").id == "c1", "the first counts"


def test_memory_takes_two_lengths_of_one_server_and_a_gpu(store: Store, add: Add) -> None:
    vram = {"vram_peak_bytes": 2.0**34}
    add("m", 1, 64, metrics=vram)
    add("m", 8, 128, metrics=vram)
    add("n", 1, 128, metrics=vram)
    add("m", 1, 256, metrics=vram, status="invalid")
    assert "memory" not in done(store)
    second = add("m", 1, 128, metrics=vram)
    assert done(store)["memory"] == second.id
    assert evidence(store, "memory") == "m: at 64, 128 prompt tokens 16 GiB, 16 GiB"


def test_resident_memory_is_shown_and_does_not_tick(store: Store, add: Add) -> None:
    add("m", 1, 64, metrics={"rss_peak_bytes": 2.0**30})
    add("m", 1, 128, metrics={"rss_peak_bytes": 2.0**30})
    assert "memory" not in done(store)
    assert "VRAM needs a GPU" in evidence(store, "memory")


def test_latency_takes_two_batches_of_one_server(store: Store, add: Add) -> None:
    add("m", 1, metrics={"e2e_s.mean": 0.5})
    add("m", 8, 512, metrics={"e2e_s.mean": 0.5})
    add("m", None, rate=2.0, metrics={"e2e_s.mean": 0.5})
    assert "latency" not in done(store)
    second = add("m", 8, metrics={"e2e_s.mean": 0.9})
    assert done(store)["latency"] == second.id
    assert evidence(store, "latency") == "m: at batch 1, 8 E2E 500 ms, 900 ms"


def test_models_are_compared_at_one_cell(store: Store, add: Add) -> None:
    figures = {"output_tokens_per_s": 9.0}
    add("m", 1, metrics=figures)
    add("n", 8, metrics=figures)
    assert "models" not in done(store)
    second = add("n", 1, metrics=figures)
    assert done(store)["models"] == second.id
    assert evidence(store, "models") == "m and n, at the same batch and lengths"


def test_real_servers_go_before_simulated_ones(store: Store, add: Add) -> None:
    fake = {"facts": EngineFacts(version="simulated"), "metrics": {"e2e_s.mean": 0.1}}
    add("simulated-model", 1, **fake)
    add("simulated-model", 8, **fake)
    assert evidence(store, "latency").startswith("simulated-model (simulated)")
    assert evidence(store, "api") == "simulated-model (simulated) answered"
    real = add("m", 1, metrics={"e2e_s.mean": 0.1})
    second = add("m", 8, metrics={"e2e_s.mean": 0.1})
    assert (done(store)["api"], done(store)["latency"]) == (real.id, second.id)


def question(id_: str, source: str, *, model: str = "m", **changes: object) -> Interaction:
    given: dict[str, object] = {"asked_at": NOON, "base_url": "http://127.0.0.1/v1", "api": "chat"}
    given |= {"id": id_, "source": source, "model": model, "messages": ()}
    return Interaction(**given | changes)  # type: ignore[arg-type]


def test_the_chat_page_ticks_and_a_question_by_command_does_not(store: Store) -> None:
    add_interaction(store, question("a", "ask"))
    add_interaction(store, question("b", "chat", error="refused"))
    assert "chat" not in done(store)
    add_interaction(store, question("c", "chat", answer="Hi"))
    assert done(store)["chat"] == "c"


def test_a_question_by_command_sees_an_answer_until_a_run_does(store: Store, add: Add) -> None:
    add("simulated-model", facts=EngineFacts(version="simulated"))
    add_interaction(store, question("a", "ask", error="refused"))
    assert evidence(store, "api") == "simulated-model (simulated) answered"
    add_interaction(store, question("b", "ask", model="asked"))
    step = step_named(store, "api")
    assert (step.kind, step.id, step.as_json()["run_id"]) == ("ask", "b", None)
    assert evidence(store, "api") == "asked answered"
    run = add("m")
    assert done(store)["api"] == run.id


def test_the_log_of_a_day_shows_what_was_done_by_its_end(store: Store, add: Add) -> None:
    first = add("m", 1, metrics={"e2e_s.mean": 0.5})
    later = first.started_at + timedelta(days=1)
    add("m", 8, metrics={"e2e_s.mean": 0.9}, started_at=later)
    earlier, now = (collect(store, at.date(), UTC) for at in (first.started_at, later))
    assert [step.done for step in earlier.steps if step.name == "latency"] == [False]
    assert [step.done for step in now.steps if step.name == "latency"] == [True]
    headings = [section.heading for section in log_page(now).sections]
    assert any(getattr(heading, "key", "") == "checklist.heading" for heading in headings)


def test_the_first_of_many_runs_alike_prove_the_steps(store: Store, add: Add) -> None:
    first = [add(batch=1, metrics={"e2e_s.mean": 1.0}).id for _ in range(5)]
    other = add(batch=1, metrics={"e2e_s.mean": 1.0}, environment={"host": "no GPU"}).id
    late = add(model="b", batch=8, metrics={"e2e_s.mean": 2.0}).id
    assert [run.id for run in good_runs(store)] == [*first[:3], other, late]
    assert done(store)["api"] == first[0]
    assert [run.id for run in good_runs(store, NOON - timedelta(days=1))] == []
