"""A journal of version 0.1.0 opens, is recomputed and compared, and its numbers stay what they
were, apart from the ends of intervals. New keys may stand beside the old ones."""

import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import journal

DATA = Path(__file__).parent / "data" / "journals"
THEN = json.loads(lzma.decompress((DATA / "version-0.1.0.json.xz").read_bytes()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("older") / "lab"
    folder.mkdir()
    packed = (DATA / "version-0.1.0.db.xz").read_bytes()
    (folder / "journal.db").write_bytes(lzma.decompress(packed))
    return folder


def now(home: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "journal", *arguments, "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def kept(then: Any, now: Any, path: str = "") -> None:
    """Whether `now` holds all of `then`."""
    if isinstance(then, dict):
        assert isinstance(now, dict), path
        for key, value in then.items():
            assert key in now, f"{path}.{key} is gone"
            kept(value, now[key], f"{path}.{key}")
    elif isinstance(then, list):
        assert len(then) == len(now), path
        for number, value in enumerate(then):
            kept(value, now[number], f"{path}[{number}]")
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=1e-12), path
    else:
        assert then == now, path


def test_every_run_is_listed_as_it_was(home: Path) -> None:
    kept(THEN["runs"], now(home, "runs"))


def test_every_run_is_shown_as_it_was(home: Path) -> None:
    """But for the verdict of a search: each of its loads had one run, shorter than a queue takes
    to pass the limit, and was said to hold."""
    for run_id in list(THEN["show"])[:4]:  # a process each
        then, found = dict(THEN["show"][run_id]), now(home, "show", run_id)
        for before, after in zip(then.pop("capacity", ()), found.get("capacity", ()), strict=True):
            assert [probe["load"] for probe in after["probes"]] == [
                probe["load"] for probe in before["probes"]
            ]
            assert before["held"] and after["holds_up_to"] is None
        kept(then, found)


def test_two_models_compare_as_they_did(home: Path) -> None:
    """The means and ratios are as they were. How sure they are is not: the runs of each model were
    all made on one server, and a version that counted runs called them different."""
    found = now(home, "compare", "simulated", "simulated-b")
    then = json.loads(json.dumps(THEN["compare"]))
    for figure in (*then["overall"], *(f for cell in then["cells"] for f in cell["figures"])):
        for name in ("low", "high", "p", "verdict", "reason"):
            del figure[name]
    kept(then, found)
    verdicts = {f["verdict"] for cell in found["cells"] for f in cell["figures"]}
    assert verdicts == {"cannot say"} and found["measured"]["unit"] == "experiment"


def test_recomputing_changes_no_number_but_ends_of_intervals(home: Path) -> None:
    """The old intervals took each request for independent of all others."""
    with journal.open_store(home) as store:
        before = {run.id: run for run in store.runs()}
    journal.recompute(home)
    with journal.open_store(home) as store:
        for run in store.runs():
            assert run.status == before[run.id].status
            for name, figure in before[run.id].metrics.items():
                now = run.metrics[name]
                assert (now.value, now.count) == (figure.value, figure.count), name


def test_a_resumed_experiment_finds_its_cells(home: Path) -> None:
    with journal.open_store(home) as store:
        for begun in store.experiments():
            if begun.experiment.find_capacity:  # its plan is where the search begins
                continue
            model = store.runs(experiment_id=begun.id)[0].cell.model
            planned = {cell.identity for cell in journal.plan(begun.experiment, model).cells}
            measured = {run.cell.identity for run in store.runs(experiment_id=begun.id)}
            assert planned == measured, begun.experiment.name
