"""The newest try of the same experiment, found without planning every one that is stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from journal.plan import cells as plan
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.run import resume
from journal.run.resume import earlier_try
from journal.store.store import Store

DAY = datetime(2026, 3, 1, tzinfo=UTC)
ASKED = Experiment(
    name="sweep",
    grid=Grid(batch=(1, 2), prompt_tokens=(4,), output_tokens=(2,)),
    slo=Slo(ttft_ms=9),
)
OTHERS = [
    replace(ASKED, name="another"),
    replace(ASKED, grid=replace(ASKED.grid, batch=(1, 2, 4))),
    replace(ASKED, grid=replace(ASKED.grid, prompt_tokens=(4, 8))),
    replace(ASKED, grid=replace(ASKED.grid, output_tokens=(3,))),
    replace(ASKED, grid=replace(ASKED.grid, rate=(1.0,))),
    replace(ASKED, load=Load(requests=7)),
    replace(ASKED, slo=Slo(ttft_ms=10)),
    replace(ASKED, find_capacity="rate"),
    replace(ASKED, engines=(Engine(model="m"),)),
]


def tried(store: Store, *experiments: Experiment) -> list[str]:
    return [
        store.begin_experiment(each, DAY + timedelta(minutes=n), {}).id
        for n, each in enumerate(experiments)
    ]


def test_the_newest_try_that_plans_the_same_cells_is_found_whatever_its_words(store: Store) -> None:
    ids = tried(store, ASKED, replace(ASKED, question="Reworded."), *OTHERS)
    found = earlier_try(store, ASKED, "m")
    assert found == store.experiment(ids[1])
    shuffled = replace(ASKED, grid=replace(ASKED.grid, batch=(2, 1)))
    assert earlier_try(store, shuffled, "m") == found


@pytest.mark.parametrize("other", OTHERS)
def test_a_try_that_plans_other_cells_is_not_taken(store: Store, other: Experiment) -> None:
    tried(store, other)
    assert earlier_try(store, ASKED, "m") is None


def test_a_token_that_changed_since_makes_no_other_experiment(store: Store) -> None:
    def with_token(token: str) -> Experiment:
        return replace(ASKED, engines=(Engine(model="m", env={"HF_TOKEN": token}),))

    (first,) = tried(store, with_token("hf_first-token"))
    found = earlier_try(store, with_token("hf_other-token"), None)
    assert found is not None and found.id == first


def test_many_tries_are_not_planned_one_by_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = replace(ASKED, load=Load(requests=99))  # only its plan tells it apart
    tried(store, *[slower] * 20, *OTHERS)
    planned: list[str] = []

    def counted(experiment: Experiment, *, model: str | None = None) -> object:
        planned.append(experiment.name)
        return plan.cells(experiment, model=model)

    monkeypatch.setattr(resume, "cells", counted)
    assert earlier_try(store, ASKED, "m") is None
    ours, once, of_others = 1, 1, 2  # of the others, those with another load and another SLO
    assert len(planned) == ours + once + of_others
