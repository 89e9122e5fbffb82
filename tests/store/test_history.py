"""What was asked and measured earlier, looked up by name, place and time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import BEGAN

from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.records.workload import Workload
from journal.store.history import (
    asked_before,
    last_began,
    last_measured,
    measured_between,
    place,
)
from journal.store.store import Store

MINUTE = timedelta(minutes=1)
LATE = BEGAN + 9 * MINUTE


def test_what_was_asked_under_a_name_comes_newest_first(lab: Store) -> None:
    ids = [
        lab.begin_experiment(Experiment(name=name), BEGAN + at * MINUTE, {}).id
        for at, name in ((0, "mine"), (2, "mine"), (1, "mine"), (3, "other"))
    ]
    asked = list(asked_before(lab, "mine"))
    assert [experiment_id for experiment_id, _ in asked] == [ids[1], ids[2], ids[0]]
    assert all('"name":"mine"' in stored for _, stored in asked)


def test_the_newest_beginning_is_that_of_a_run_or_of_an_experiment(
    lab: Store, request: pytest.FixtureRequest
) -> None:
    assert last_began(lab) is None
    add_run = request.getfixturevalue("add_run")  # begins an experiment a minute before
    assert last_began(lab) == BEGAN - MINUTE
    for number in (2, 1):
        add_run(number)
    assert last_began(lab) == BEGAN + 2 * MINUTE
    lab.begin_experiment(Experiment(name="y"), LATE, {})
    assert last_began(lab) == LATE


def test_runs_of_a_time_are_those_at_the_places_that_are_asked_for(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    metrics = {"ttft_s.p50": 0.1, "e2e_s.mean": 0.5}
    runs = [add_run(number, batch=2, metrics=metrics) for number in range(4)]
    other = add_run(1, batch=4, id="f" * 16)
    places, since, until = {place(runs[0].cell)}, runs[1].started_at, runs[3].started_at
    assert measured_between(lab, places, since, until) == runs[1:3]
    both = {*places, place(other.cell)}
    assert len(measured_between(lab, both, since, until)) == 3
    (fewer, _) = measured_between(lab, places, since, until, ["e2e_s.mean"])
    assert set(fewer.metrics) == {"e2e_s.mean"}


def test_a_prompt_of_one_s_own_is_at_its_place_whatever_a_server_counts(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    mine = Workload(prompts="mine.txt", content="5f2c")
    runs = [add_run(number, prompt_tokens=60 + number, workload=mine) for number in (1, 2)]
    add_run(3, prompt_tokens=61)
    fresh = replace(runs[0].cell, identity="new", prompt_tokens=None)
    at = place(fresh)
    assert last_measured(lab, [fresh], LATE) == {at: runs[1].started_at}
    assert measured_between(lab, {at}, BEGAN, LATE) == runs


def test_the_last_good_run_of_a_cell_is_of_that_very_cell_where_there_is_one(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    same = [add_run(number, identity="same") for number in (1, 3)]
    add_run(4, identity="other")  # at the same place, with another flag, say
    for number, status in ((5, "failed"), (6, "invalid")):
        add_run(number, identity="same", status=status)
    cell, at = same[0].cell, place(same[0].cell)
    assert last_measured(lab, [cell], LATE) == {at: same[1].started_at}
    assert last_measured(lab, [cell], same[1].started_at) == {at: same[0].started_at}
    assert last_measured(lab, [cell], same[0].started_at) == {}


def test_a_cell_that_was_never_measured_has_the_last_run_at_its_place(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    first, second = add_run(1, identity="a"), add_run(2, identity="b", status="flagged")
    add_run(3, identity="c", status="invalid")
    elsewhere = add_run(4, identity="d", batch=8)
    fresh = replace(first.cell, identity="new")
    unknown = replace(first.cell, identity="unknown", model="none such")
    last = last_measured(lab, [fresh, unknown], LATE)
    assert last == {place(first.cell): second.started_at}
    both = last_measured(lab, [fresh, elsewhere.cell], LATE)
    assert both == last | {place(elsewhere.cell): elsewhere.started_at}


def test_two_cells_at_one_place_have_the_newer_of_their_runs(
    lab: Store, add_run: Callable[..., Record]
) -> None:
    newer, older = add_run(2, identity="a"), add_run(1, identity="b")
    last = last_measured(lab, [older.cell, newer.cell], LATE)
    assert last == {place(newer.cell): newer.started_at}
    assert last_measured(lab, [newer.cell, older.cell], LATE) == last
