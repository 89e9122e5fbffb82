"""Whatever stops a run, what it measured is kept, and what is left can be measured later."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import journal
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.progress import Event, Listener
from journal.records.run import Record
from journal.serve import process_tree as process
from journal.store.alone import alone

Server = Callable[..., str]
GOOD = {"valid", "flagged"}


def sweep(*batches: int, requests: int = 6, **fields: object) -> Experiment:
    grid = journal.Grid(batch=batches, prompt_tokens=(4,), output_tokens=(2,))
    load = journal.Load(requests=requests, warmup=1)
    return Experiment(name="sweep", grid=grid, load=load, **fields)  # type: ignore[arg-type]


def at(wanted: str, done: int, act: Callable[[], object]) -> Listener:
    """A listener that acts once, when cell `wanted` ("2 of 3") has so many requests done."""
    acted = []

    def listener(event: Event) -> None:
        if event.message.startswith(f"cell {wanted}") and event.done == done and not acted:
            acted.append(act())

    return listener


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def stored(home: Path) -> list[Record]:
    with journal.open_store(home) as store:
        return store.runs()


def batches(records: list[Record] | tuple[Record, ...]) -> list[int | None]:
    return [record.cell.batch for record in records]


def interrupted(home: Path, endpoint: Endpoint, experiment: Experiment) -> None:
    """One cell measured, a second one stopped after its third request."""
    with pytest.raises(KeyboardInterrupt):
        total = len(experiment.grid.batch)
        journal.run(experiment, home, endpoint=endpoint, listener=at(f"2 of {total}", 3, ctrl_c))


@pytest.mark.timing
def test_ctrl_c_keeps_the_raw_requests_of_a_half_done_cell_apart(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    interrupted(tmp_path, endpoint, sweep(1, 2, 3))
    whole, half = stored(tmp_path)
    assert whole.status in GOOD
    assert (half.status, half.metrics, half.doubts) == ("interrupted", {}, ())
    assert half.error is not None and half.error.startswith("stopped after ")
    with journal.open_store(tmp_path) as store:
        samples = store.samples(half.id)
        assert store.experiment("last").status == "interrupted"
    assert samples is not None and 3 <= len(samples.traces) < 7
    assert journal.recompute(tmp_path) == ()
    assert list((tmp_path / "log").glob("*.html"))


def test_resume_measures_what_is_left_and_nothing_else(fake_server: Server, tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    interrupted(tmp_path, endpoint, sweep(1, 2, 3))
    events: list[Event] = []
    result = journal.run(
        sweep(1, 2, 3, question="Reworded since."),
        tmp_path,
        endpoint=endpoint,
        resume=True,
        listener=events.append,
    )
    assert any("2 of 3 cells are left" in event.message for event in events)
    assert result.ok and result.experiment.status == "done"
    assert batches(result.records) == [1, 2, 3]
    assert result.experiment.experiment.question == ""  # as it was frozen before it ran
    assert [(r.cell.batch, r.status in GOOD) for r in stored(tmp_path)] == [
        (1, True),
        (2, False),
        (2, True),
        (3, True),
    ]
    with journal.open_store(tmp_path) as store:
        assert len(store.experiments()) == 1


def test_resume_of_what_is_complete_measures_nothing(fake_server: Server, tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    first = journal.run(sweep(1, 2), tmp_path, endpoint=endpoint)
    again = journal.run(sweep(1, 2), tmp_path, endpoint=endpoint, resume=True)
    assert (again.experiment.id, again.records) == (first.experiment.id, first.records)
    assert again.experiment.ended_at == first.experiment.ended_at
    assert len(stored(tmp_path)) == 2


def test_resume_tries_failed_cells_again(fake_server: Server, tmp_path: Path) -> None:
    broken = journal.attach(fake_server(fault="error_in_stream"))
    failed = journal.run(sweep(1, 2), tmp_path, endpoint=broken)
    assert not failed.ok and failed.experiment.status == "failed"
    repaired = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    result = journal.run(sweep(1, 2), tmp_path, endpoint=repaired, resume=True)
    assert result.ok and result.experiment.id == failed.experiment.id
    assert [record.status in GOOD for record in stored(tmp_path)] == [False, False, True, True]


@pytest.mark.parametrize(
    "changed", [sweep(1, 2, 4), sweep(1, 2, 3, requests=7)], ids=["grid", "load"]
)
def test_resume_of_a_changed_experiment_begins_anew(
    fake_server: Server, tmp_path: Path, changed: Experiment
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    interrupted(tmp_path, endpoint, sweep(1, 2, 3))
    result = journal.run(changed, tmp_path, endpoint=endpoint, resume=True)
    assert result.ok and len(result.records) == 3
    with journal.open_store(tmp_path) as store:
        assert [one.status for one in store.experiments()] == ["interrupted", "done"]


def test_a_run_that_was_interrupted_is_mentioned_when_it_begins_anew(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    interrupted(tmp_path, endpoint, sweep(1, 2))
    events: list[Event] = []
    journal.run(sweep(1, 2), tmp_path, endpoint=endpoint, listener=events.append)
    assert any("was interrupted with 1 of 2 cells left" in event.message for event in events)


# ---- one at a time ---------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from journal.store.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_in_the_same_home_is_refused_until_the_first_is_gone(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(journal.UsageError, match=f"process {holder.pid} .*disturb each other"):
        journal.run(sweep(1), tmp_path, endpoint=endpoint)
    assert stored(tmp_path) == []
    assert journal.run(sweep(1), tmp_path / "other", endpoint=endpoint).ok
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert journal.run(sweep(1), tmp_path, endpoint=endpoint).ok


def test_two_runs_in_one_program_are_one_too_many(tmp_path: Path) -> None:
    refused = pytest.raises(journal.UsageError, match=f"process {os.getpid()}")
    with alone(tmp_path), refused, alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


# ---- through the command, with an engine of its own ------------------------------------------

STAND_IN = Path(__file__).parents[1] / "serve" / "stand_in.py"


class Started:
    """`journal run` on an engine that is a stand-in, measuring its first cell."""

    def __init__(self, folder: Path, *, stubborn: bool = False, stall: bool = False) -> None:
        self.home, self.family = folder / "lab", folder / "family.json"
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text('{"max_position_embeddings": 8192}')
        no_tensors = (2).to_bytes(8, "little") + b"{}"
        (model / "model.safetensors").write_bytes(no_tensors)
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
        python.chmod(0o700)
        script = {"family": str(self.family), "stubborn": stubborn, "stall": stall}
        self.file = folder / "stand in.toml"
        self.file.write_text(
            f'[engine]\nmodel = "{model}"\npython = "{python}"\n'
            f"[engine.env]\nSTAND_IN = '{json.dumps(script)}'\n"
            "[grid]\nbatch = [2, 4]\nprompt_tokens = [8]\noutput_tokens = [60]\n"
            "[load]\nrequests = 8\nwarmup = 1\n"
        )
        self.arguments = ["run", str(self.file), "--home", str(self.home)]
        self.process = self.start()

    def start(self, *more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "journal", *self.arguments, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return
        pytest.fail(f"the run ended before it said {words!r}")

    def end(self) -> tuple[int, str]:
        _, output = self.process.communicate(timeout=60)
        return self.process.returncode, output

    def engine(self) -> list[int]:
        """The processes of the engine that still run."""
        return [pid for pid in json.loads(self.family.read_text()) if process.is_running(pid)]


@contextmanager
def started(folder: Path, **options: bool) -> Iterator[Started]:
    run = Started(folder, **options)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.communicate()


@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_asked_to_end_it_stores_stops_the_engine_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started(tmp_path) as run:
        run.wait_for("cell 1 of 2")
        assert run.engine()
        time.sleep(0.5)
        run.process.send_signal(number)
        returned, output = run.end()
        assert (returned, "Traceback" in output) == (code, False), output
        assert run.engine() == []
        file, home = str(run.file), str(run.home)
        again = f"journal run '{file}' --home {home} --resume\n"
        assert output.endswith(f"Go on with: {again}")
        (half,) = stored(run.home)
        assert half.status == "interrupted"
        (log,) = (run.home / "log").glob("*.md")
        assert again in log.read_text(encoding="utf-8")


@pytest.mark.timing
def test_a_second_ctrl_c_ends_a_stubborn_engine_at_once(tmp_path: Path) -> None:
    with started(tmp_path, stubborn=True) as run:
        run.wait_for("cell 1 of 2")
        time.sleep(0.5)  # before its load nothing of the cell is stored
        run.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 30
        while not any(record.status == "interrupted" for record in stored(run.home)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)  # now it waits for the engine to end well, which this one never does
        run.process.send_signal(signal.SIGINT)
        returned, output = run.end()
        assert (returned, "Traceback" in output) == (130, False), output
        assert run.engine() == []
        assert not (run.home / "log").exists()
        with journal.open_store(run.home) as store:
            assert store.experiment("last").status == "interrupted"


@pytest.mark.timing
def test_sigkill_leaves_no_engine_and_the_experiment_can_go_on(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        run.wait_for("cell 1 of 2")
        run.process.kill()
        run.end()
        deadline = time.monotonic() + 20
        while run.engine():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with journal.open_store(run.home) as store:
            assert store.experiment("last").status == "interrupted"
        run.process = run.start("--resume")
        returned, output = run.end()
        assert returned == 0, output
        assert "2 of 2 cells are left" in output
        assert run.engine() == []
    assert [record.status in GOOD for record in stored(run.home)] == [True, True]


@pytest.mark.timing
def test_ctrl_c_while_the_engine_starts_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, stall=True) as run:
        while not run.family.exists():
            assert run.process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        run.process.send_signal(signal.SIGINT)
        returned, output = run.end()
        assert (returned, "Traceback" in output) == (130, False), output
        assert run.engine() == [] and stored(run.home) == []
