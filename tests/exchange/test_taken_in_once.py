"""Imports and merges that meet, or that are killed: each run is there once, and MLflow is told."""

import contextlib
import os
import signal
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from journal.exchange.import_results import import_results
from journal.records.experiment import Experiment
from journal.store.merge import Merged, merge
from journal.store.store import Store, open_store
from journal.tracking.mlflow_runs import MlflowRuns
from journal.tracking.tracker import Tracker, sync, tracking_uri

DATA = Path(__file__).parent / "data"
FILE = DATA / "vllm-closed.json"


def together(acts: list[Callable[[], bool]]) -> list[bool]:
    """What `acts` return, each called in a process of its own at the same moment."""
    gate, opener = os.pipe()
    pids = []
    for act in acts:
        pid = forked()
        if pid == 0:
            code = 2
            with contextlib.suppress(BaseException):
                os.close(opener)
                os.read(gate, 1)
                code = 0 if act() else 1
            os._exit(code)
        pids.append(pid)
    os.close(gate)
    os.close(opener)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert 2 not in codes, codes
    return [code == 0 for code in codes]


def forked() -> int:
    with warnings.catch_warnings(action="ignore"):  # of threads, which the child does without
        return os.fork()


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """Another journal, with an experiment, a run and a note."""
    import_results(FILE, tmp_path / "away")
    with open_store(tmp_path / "away", f"sqlite:///{tmp_path}/away/journal.db") as store:
        store.begin_experiment(Experiment(name="x"), datetime(2026, 3, 1, tzinfo=UTC), {})
    return tmp_path / "away"


def test_imports_of_one_file_at_once_take_it_in_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others say that it is there already; also where none of them finds a journal yet, and
    where several hosts share one."""
    monkeypatch.setenv("JOURNAL_DB", url)
    homes = [tmp_path] * 4 if url.startswith("sqlite") else [tmp_path / str(n) for n in range(4)]
    new = together([lambda home=home: len(import_results(FILE, home).new) == 1 for home in homes])
    assert sorted(new) == [False, False, False, True]
    with open_store(tmp_path) as store:
        (run,) = store.runs()
        assert store.samples(run.id) is not None and len(store.experiments()) == 1


def test_merges_of_one_journal_at_once_take_it_in_once(
    url: str, away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_DB", url)
    homes = [tmp_path / "lab"] * 4 if "sqlite" in url else [tmp_path / str(n) for n in range(4)]
    nothing, all_of_it = Merged(0, 0, 0, 0), Merged(2, 1, 0, 0)

    def took(home: Path) -> bool:
        done = merge(away, home)
        assert done in (nothing, all_of_it), done
        return done == all_of_it

    took_all = together([lambda home=home: took(home) for home in homes])
    assert sorted(took_all) == [False, False, False, True]
    with open_store(tmp_path / "lab") as store:
        assert len(store.runs()) == 1 and len(store.experiments()) == 2


# Where an import is killed: before each of these calls, and once each has returned.
POINTS: list[tuple[Any, str]] = [
    (import_module("journal.exchange.import_results"), "store_lacking"),
    (Tracker, "_opened"),
    (MlflowRuns, "_create"),
    (MlflowRuns, "put"),
    (Store, "mark_logged"),
]


def killed_at(place: Any, name: str, *, after: bool, home: Path) -> int:
    """Import FILE as the command does, in a process that dies at this call; its exit code."""
    real = getattr(place, name)

    def dying(*given: object, **named: object) -> None:
        if after:
            real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    pid = forked()
    if pid == 0:
        with contextlib.suppress(BaseException):
            setattr(place, name, dying)
            import_results(FILE, home)
            with open_store(home) as store:
                sync(store, home)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.mlflow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("place", "name"), POINTS, ids=[name for _, name in POINTS])
def test_a_killed_import_is_told_by_the_next_sync(
    place: Any, name: str, after: bool, mlflow_template: Path, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    assert killed_at(place, name, after=after, home=tmp_path) == -signal.SIGKILL
    stored = (name, after) != ("store_lacking", False)
    imported = import_results(FILE, tmp_path)
    assert (len(imported.records), len(imported.new)) == (1, 0 if stored else 1)
    with open_store(tmp_path) as store:
        left = len(store.pending()[1])
        report = sync(store, tmp_path)
        assert (report.failed, report.imported) == (0, left)
        assert left == 1 or name == "mark_logged"
        ((run,), (experiment,)) = store.runs(), store.experiments()
        assert store.pending() == ([], [])
    mlflow = MlflowRuns(tracking_uri(tmp_path), tmp_path)._client
    there = mlflow.get_experiment_by_name(experiment.experiment.name)
    told = mlflow.search_runs([there.experiment_id])
    assert sorted(one.data.tags["journal.id"] for one in told) == sorted([run.id, experiment.id])
