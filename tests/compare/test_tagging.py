"""Names of runs as sides of comparisons."""

from pathlib import Path

import pytest
from builders import a_record, an_experiment

import journal
from journal.compare.sides import find_side
from journal.errors import NotFound, UsageError
from journal.store.merge import merge
from journal.store.store import open_store

NIGHTLY = an_experiment(1, name="nightly")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A journal of three runs of one experiment."""
    home = tmp_path / "lab"
    with open_store(home) as store:
        begun = store.begin_experiment(NIGHTLY.experiment, NIGHTLY.started_at, {})
        for number in range(3):
            run = a_record(number=number, experiment="nightly", experiment_id=begun.id)
            store.add_run(run, None)
    return home


def ids(home: Path, text: str) -> list[str]:
    with open_store(home) as store:
        return [record.id for record in find_side(store, text).records]


def test_a_tag_names_the_runs_of_the_last_experiment(home: Path) -> None:
    made = journal.tag("baseline", home=home)
    assert len(made.run_ids) == 3
    assert journal.tags(home) == (made,)
    assert ids(home, "baseline") == ids(home, "tag:baseline") == list(made.run_ids)


def test_a_tag_moves_to_other_runs_and_is_removed(home: Path) -> None:
    every = journal.tag("baseline", "experiment:nightly", home=home).run_ids
    moved = journal.tag("baseline", f"run:{every[0]},{every[1]}", home=home)
    assert moved.run_ids == every[:2]
    assert ids(home, "baseline") == list(every[:2])
    journal.untag("baseline", home)
    assert journal.tags(home) == ()
    with pytest.raises(NotFound, match="no tag 'baseline'"):
        journal.untag("baseline", home)
    assert len(ids(home, "nightly")) == 3


@pytest.mark.parametrize(
    "name", ["2026-11-20", "today", "last", "a b", "run:x", "a,b", "", "nightly"]
)
def test_a_name_that_means_something_else_is_refused(home: Path, name: str) -> None:
    with pytest.raises(UsageError):
        journal.tag(name, home=home)


def test_a_tag_that_later_is_an_experiment_is_asked_back(home: Path) -> None:
    journal.tag("weekly", home=home)
    with open_store(home) as store:
        other = an_experiment(2, name="weekly")
        begun = store.begin_experiment(other.experiment, other.started_at, {})
        store.add_run(a_record(number=9, experiment="weekly", experiment_id=begun.id), None)
    with pytest.raises(UsageError, match="write tag:weekly"):
        ids(home, "weekly")
    assert len(ids(home, "tag:weekly")) == 3


def test_tags_are_merged_and_the_own_one_stays(home: Path, tmp_path: Path) -> None:
    every = journal.tag("baseline", home=home).run_ids
    other = tmp_path / "other"
    assert merge(home, other).others == 1
    assert ids(other, "baseline") == list(every)
    journal.tag("baseline", f"run:{every[0]}", home=home)
    assert merge(home, other).others == 0
    assert ids(other, "baseline") == list(every)


def test_nothing_cannot_be_tagged(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no runs to tag"):
        journal.tag("baseline", home=tmp_path)
