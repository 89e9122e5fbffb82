"""A measurement is guarded: what disturbs it is told before, doubted after, refused if asked."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import journal
from journal.measure import host
from journal.records.experiment import Experiment
from journal.records.progress import Event
from journal.serve import gpu_memory

Server = Callable[..., str]
BURN = "while True: pass"
# Another program, not a child of this process, says its id and burns a processor.
OTHER = f"""
import os
if os.fork() == 0:
    print(os.getpid(), flush=True)
    {BURN}
"""


def sweep(**load: object) -> Experiment:
    given = {"requests": 30, "warmup": 1, **load}
    return Experiment(
        name="guarded",
        grid=journal.Grid(batch=(2,), prompt_tokens=(4,), output_tokens=(8,)),
        load=journal.Load(**given),  # type: ignore[arg-type]
    )


@contextmanager
def busy() -> Iterator[None]:
    """Other programs keep every processor busy."""
    count = len(psutil.Process().cpu_affinity() or [])
    others = [another_program() for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()


def another_program() -> psutil.Process:
    """A program that keeps one processor busy and whose parent is gone."""
    parent = subprocess.Popen([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as said:
        pid = int(said.readline())
    parent.wait()
    return psutil.Process(pid)


@pytest.mark.timing
def test_a_busy_host_is_told_doubted_and_refused_if_strict(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(ttft_s=0.03, itl_s=0.01))
    assert endpoint.pid is not None
    events: list[Event] = []
    with busy():
        with pytest.raises(journal.Unfit, match=r"other programs use .* processors: stop them"):
            journal.run(sweep(), tmp_path, endpoint=endpoint, strict=True)
        assert not (tmp_path / "journal.db").exists()
        result = journal.run(sweep(), tmp_path, endpoint=endpoint, listener=events.append)
    assert "doubts are to be expected, because other programs use" in events[0].message
    (record,) = result.records
    assert "busy_host" in {doubt.name for doubt in record.doubts if doubt.severity == "flag"}
    assert result.ok and record.status == "flagged"


@pytest.mark.timing
def test_our_own_work_and_the_servers_is_no_disturbance() -> None:
    server = another_program()
    try:
        told = [s for s in host.host_disturbances(server.pid) if "other programs" in s]
        alone = [s for s in host.host_disturbances() if "other programs" in s]
    finally:
        server.kill()
    assert len(told) <= len(alone) == 1  # whatever else runs here, the server itself is not it


def test_a_flag_is_a_failure_if_strict(
    fake_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.HostWatch, "disturbances", lambda watch: [])
    endpoint = journal.attach(fake_server(ttft_s=0.01, itl_s=0.001, fault="cut", fault_every=10))
    result = journal.run(sweep(), tmp_path, endpoint=endpoint, strict=True)
    assert [record.status for record in result.records] == ["flagged"]
    assert not result.ok
    assert journal.run(sweep(), tmp_path, endpoint=endpoint).ok


NEIGHBOURS = """
import json
from journal.serve import gpu_memory
print(json.dumps(gpu_memory.gpu_disturbances([0], options["ours"])))
"""


@pytest.mark.parametrize(
    ("trace", "ours", "said"),
    [
        ("", [101, 102, 999], []),
        ("", [101, 102], ["other processes (999) are on GPU 0: end them"]),
        ("", [], ["other processes (101, 102 and 999) are on GPU 0: end them"]),
        (
            "0 0 nvmlDeviceGetCurrentClocksEventReasons 0 72",
            [101, 102, 999],
            ["GPU 0 is slowed down by a hardware slowdown and heat (by hardware): cool it, "
             "or wait"],
        ),
        ("0 0 nvmlDeviceGetCurrentClocksEventReasons 0 1", [101, 102, 999], []),
        ("init 9", [], []),
    ],
    ids=["quiet", "a stranger", "nobody is ours", "hot", "idle", "no driver"],
)  # fmt: skip
def test_others_on_the_gpu_are_named(
    scripted: Callable[..., list[str]], trace: str, ours: list[int], said: list[str]
) -> None:
    healthy = "0 0 nvmlDeviceGetCurrentClocksEventReasons 0 0"
    assert scripted(NEIGHBOURS, f"{healthy}\n{trace}", ours=ours) == said


def test_no_neighbours_are_named_without_a_gpu() -> None:
    assert gpu_memory.gpu_disturbances([]) == []
