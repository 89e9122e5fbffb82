"""What may befall the journal's files while a run goes on: nothing that was measured is lost."""

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import journal
from journal.records.experiment import Experiment
from journal.records.progress import Event
from journal.records.run import Record
from journal.run import stages as runner
from journal.run.resume import newest

Server = Callable[..., str]
ROOT = Path(__file__).parent.parent
GOOD = ("valid", "flagged")


def sweep(*batches: int) -> Experiment:
    return Experiment(
        name="stores",
        grid=journal.Grid(batch=batches, prompt_tokens=(4,), output_tokens=(4,)),
        load=journal.Load(requests=6, warmup=1),
    )


@pytest.fixture
def quick(fake_server: Server) -> journal.Endpoint:
    return journal.attach(fake_server(ttft_s=0.01, itl_s=0.001))


def test_a_run_waits_for_a_journal_that_another_program_has_locked(
    quick: journal.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_DB", f"sqlite:///{tmp_path}/journal.db?timeout=0.1")
    monkeypatch.setattr(runner, "AGAIN_S", 0.1)
    journal.open_store(tmp_path).close()
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False)
    said: list[str] = []

    def listener(event: Event) -> None:
        said.append(event.message)
        if event.message.startswith("cell 1 of 2") and event.done == 3:
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(1.0, other.execute, ["ROLLBACK"]).start()

    with closing(other):
        result = journal.run(sweep(1, 2), tmp_path, endpoint=quick, listener=listener)
    assert result.ok and len(result.records) == 2
    assert any("is locked by another program" in words and "again" in words for words in said)


def test_a_journal_that_stays_locked_ends_the_run_and_no_cell_is_called_failed(
    quick: journal.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_DB", f"sqlite:///{tmp_path}/journal.db?timeout=0.1")
    monkeypatch.setattr(runner, "AGAIN_S", 0.1)
    monkeypatch.setattr(runner, "PATIENCE_S", 0.3)
    journal.open_store(tmp_path).close()
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)

    def listener(event: Event) -> None:
        if event.message.startswith("cell 2 of 3") and event.done == 3:
            other.execute("BEGIN IMMEDIATE")

    with closing(other), pytest.raises(journal.StoreError, match="is locked by another program"):
        journal.run(sweep(1, 2, 3), tmp_path, endpoint=quick, listener=listener)
    with journal.open_store(tmp_path) as store:
        assert [run.cell.batch for run in store.runs()] == [1]
        assert store.experiment("last").status == "interrupted"
    again = journal.run(sweep(1, 2, 3), tmp_path, endpoint=quick, resume=True)
    assert again.ok and [run.cell.batch for run in again.records] == [1, 2, 3]


LITTLE_ROOM = """
import resource, sys
from pathlib import Path
import journal
from journal.run import stages as runner
runner.AGAIN_S, runner.PATIENCE_S = 0.1, 0.2
url, home, room = sys.argv[1], sys.argv[2], int(sys.argv[3])
endpoint = journal.attach(url)
journal.open_store(Path(home)).close()
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
grid = journal.Grid(batch=(1, 2, 3, 4, 5, 6, 7, 8), prompt_tokens=(4,), output_tokens=(4,))
load = journal.Load(requests=6, warmup=1)
asked = journal.Experiment(name="stores", grid=grid, load=load)
try:
    journal.run(asked, home, endpoint=endpoint, listener=lambda e: print(e.message, flush=True))
except journal.JournalError as error:
    print("ERROR", error)
"""


def test_a_full_disk_keeps_what_was_measured_before(
    fake_server: Server, quick: journal.Endpoint, tmp_path: Path
) -> None:
    """No file may grow beyond a size: the system refuses to write more, as a full disk does."""
    journal.open_store(tmp_path).close()
    room = (tmp_path / "journal.db").stat().st_size + 200_000
    command = [sys.executable, "-c", LITTLE_ROOM, quick.base_url, str(tmp_path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    stored = [line.split()[0] for line in done.stdout.splitlines() if "TTFT" in line]
    assert "ERROR the journal" in done.stdout, done.stdout
    assert "free some disk space" in done.stdout or "the room on it" in done.stdout
    with journal.open_store(tmp_path) as store:
        kept = store.runs()
        assert {run.id[:8] for run in kept} >= set(stored)
        assert all(store.samples(run.id) is not None for run in kept)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    again = journal.run(sweep(1, 2, 3, 4, 5, 6, 7, 8), tmp_path, endpoint=quick, resume=True)
    assert again.ok and len(again.records) == 8
    with journal.open_store(tmp_path) as store:
        assert len(store.experiments()) == 1
        good = [run for run in store.runs() if run.status in GOOD]
    assert len(good) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk(quick: journal.Endpoint, tmp_path: Path) -> None:
    home = tmp_path / "small disk"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody mount a disk")
    try:
        program = LITTLE_ROOM.replace("resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))", "")
        many = program.replace("requests=6", "requests=60").replace("(1, 2, 3,", "(20, 21, 22,")
        command = [sys.executable, "-c", many, quick.base_url, str(home), "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert "Traceback" not in done.stderr, done.stderr
        assert "ERROR" in done.stdout and "disk" in done.stdout, done.stdout
        shutil.copytree(home, tmp_path / "copy")
    finally:
        subprocess.run(["umount", str(home)], check=True)
    with journal.open_store(tmp_path / "copy") as store:
        assert all(store.samples(run.id) is not None for run in store.runs())
    with closing(sqlite3.connect(tmp_path / "copy" / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_log_that_cannot_be_written_costs_no_run(quick: journal.Endpoint, tmp_path: Path) -> None:
    (tmp_path / "log").touch()  # a file where the directory should be
    with pytest.raises(journal.JournalError, match="log"):
        journal.run(sweep(1), tmp_path, endpoint=quick)
    with journal.open_store(tmp_path) as store:
        (run,) = store.runs()
        assert run.status in GOOD and store.experiment("last").status == "done"


def test_a_clock_that_was_set_back_does_not_bring_a_failure_to_the_front() -> None:
    from journal.plan.cells import cells

    experiment = sweep(1)
    (cell,) = cells(experiment, model="m")
    now = datetime(2026, 3, 29, 2, 0, tzinfo=UTC)
    failed = Record(
        id="a", experiment_id="e", cell=cell, status="failed", started_at=now, duration_s=1.0
    )
    good = replace(failed, id="b", status="valid", started_at=now - timedelta(hours=1))
    assert newest(experiment, [cell], [good, failed]) == (good,)


CLOCKS = {"time", "time_ns"}


def test_no_duration_comes_from_the_clock_on_the_wall() -> None:
    """Only when something was is told in wall-clock time; how long it took, never."""
    for path in sorted((ROOT / "journal").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and (node.func.value.id, node.func.attr) in {("time", clock) for clock in CLOCKS}
            ):
                assert path.name == "answers_stream.py", f"{path}:{node.lineno}"


def test_the_first_second_of_a_run_is_in_utc_whatever_the_zone(
    quick: journal.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # UTC+14
    time.tzset()
    try:
        before = datetime.now(UTC)
        (run,) = journal.run(sweep(1), tmp_path, endpoint=quick).records
        assert run.started_at.utcoffset() == timedelta(0)
        assert before <= run.started_at <= datetime.now(UTC)
        day = datetime.now().astimezone().date()
        assert (tmp_path / "log" / f"{day}.md").exists()
    finally:
        monkeypatch.undo()
        time.tzset()
