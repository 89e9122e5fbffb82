"""Engines on the hosts of a real Ray cluster, of two nodes on loopback: one of them is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

import journal
from journal.records.experiment import Engine, Experiment
from journal.records.run import Record
from journal.run.parallel.on_ray import Cluster
from journal.serve import process_tree as process

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray is not installed: serving-journal[ray]"
)

GOOD = {"valid", "flagged"}
# Ray turns 127.0.0.1 into the host's other address, but where it may have no cluster of hosts.
LOOPBACK = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
THREE_EACH = {"batch": (1, 2, 4), "output_tokens": 60}  # cells of each engine

# Two nodes with a processor each, of which the second is killed when it is asked for. A node that
# is lost is noticed within a few seconds, where Ray gives it half a minute.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 5}
small = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "_system_config": quick})
second = cluster.add_node(**small)
print(cluster.address, flush=True)
if sys.stdin.readline():
    cluster.remove_node(second, allow_graceful=False)
    print("killed", flush=True)
    sys.stdin.readline()
cluster.shutdown()
"""


class Nodes:
    """The cluster's address, and a way to kill its second node."""

    def __init__(self, helper: "subprocess.Popen[str]") -> None:
        assert helper.stdin is not None and helper.stdout is not None
        self._asked, self._said = helper.stdin, helper.stdout
        self.address = self._said.readline().strip()

    def lose_one(self) -> None:
        self._asked.write("\n")
        self._asked.flush()
        assert self._said.readline() == "killed\n"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as helper:
        yield Nodes(helper)


class Run:
    """`journal run --on ray`, line by line."""

    def __init__(self, tmp_path: Path, file: Path, address: str) -> None:
        self.home, self.said = tmp_path / "lab", list[str]()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "journal", "run", file, "--on", "ray", "--home", self.home],
            env=LOOPBACK | {"RAY_ADDRESS": address, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, met: Callable[[list[str]], bool]) -> None:
        assert self.process.stderr is not None
        while not met(self.said):
            line = self.process.stderr.readline()
            assert line, "".join(self.said)
            self.said.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> int:
        _, rest = self.process.communicate(timeout=120)
        self.said.append(rest)
        return self.process.returncode

    def stored(self) -> list[Record]:
        with journal.open_store(self.home) as store:
            return store.runs()


def families(tmp_path: Path) -> list[int]:
    files = [tmp_path / "first", tmp_path / "second"]
    return [pid for file in files if file.exists() for pid in json.loads(file.read_text())]


def places(lines: list[str], words: str) -> set[str]:
    """Where something was said to happen."""
    return {line.partition(": ")[0] for line in lines if words in line}


@pytest.mark.timing
def test_a_node_that_is_lost_in_mid_run_costs_no_more_than_its_cell(
    nodes: Nodes, written: Callable[..., Path], tmp_path: Path, gone: Callable[..., bool]
) -> None:
    with Run(tmp_path, written(**THREE_EACH), nodes.address) as run:
        run.wait_for(lambda lines: len(places(lines, "cell 2 of 3")) == 2)
        nodes.lose_one()
        assert run.end() == 0, "".join(run.said)
        assert any("lost: what it had not measured yet" in line for line in run.said), run.said
    runs = run.stored()
    assert {record.status for record in runs} <= GOOD
    assert set(Counter(record.cell.identity for record in runs).values()) == {1}
    assert len(runs) == 6
    for record in runs:
        log_path = record.facts.log_path
        assert log_path is not None and Path(log_path).read_text()
        assert record.environment["host"] == os.uname().nodename
    assert gone(families(tmp_path))


@pytest.mark.timing
def test_ctrl_c_brings_home_what_was_measured_on_every_host(
    nodes: Nodes, written: Callable[..., Path], tmp_path: Path
) -> None:
    with Run(tmp_path, written(**THREE_EACH), nodes.address) as run:
        run.wait_for(lambda lines: len(places(lines, "cell 1 of 3")) == 2)
        time.sleep(0.3)
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 130, "".join(run.said)
    half = [record for record in run.stored() if record.status == "interrupted"]
    assert half and not any(map(process.is_running, families(tmp_path)))
    assert list((run.home / "log").glob("*.md"))


@pytest.mark.timing
def test_a_second_ctrl_c_ends_stubborn_engines_at_once(
    nodes: Nodes, written: Callable[..., Path], tmp_path: Path
) -> None:
    with Run(tmp_path, written({"stubborn": True}, **THREE_EACH), nodes.address) as run:
        run.wait_for(lambda lines: len(places(lines, "cell 1 of 3")) == 2)
        time.sleep(0.5)  # before its load nothing of a cell is interrupted
        run.process.send_signal(signal.SIGINT)
        run.wait_for(lambda lines: any("interrupted" in line for line in lines))
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 130, "".join(run.said)
    assert not any(map(process.is_running, families(tmp_path)))
    assert not (run.home / "log").exists()


# ---- without a cluster ---------------------------------------------------------------------------


def hosts(*resources: dict[str, float]) -> Cluster:
    """A cluster with these hosts, and one that is gone."""
    nodes = [{"Alive": True, "Resources": host} for host in resources]
    gone = {"Alive": False, "Resources": {"CPU": 999.0, "GPU": 999.0}}
    return Cluster(SimpleNamespace(nodes=lambda: [*nodes, gone]))


def test_a_task_asks_for_the_gpus_of_its_engine() -> None:
    needs = hosts({"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}).needs(
        Engine(model="m", tensor_parallel=2)
    )
    assert (needs["num_gpus"], needs["num_cpus"]) == (2, 2)


def test_an_engine_on_a_cpu_has_a_host_for_itself() -> None:
    needs = hosts({"CPU": 16.0}, {"CPU": 8.0}, {}).needs(Engine(model="m"))
    assert (needs["num_gpus"], needs["num_cpus"]) == (0, 8)


def test_an_engine_that_no_host_has_the_gpus_for_is_refused() -> None:
    cluster = hosts({"CPU": 64.0, "GPU": 2.0}, {"CPU": 64.0, "GPU": 4.0})
    cluster.check([Engine(model="m", tensor_parallel=4)])
    with pytest.raises(journal.SpecError, match=r"m needs 8 GPUs .* no host .* more than 4"):
        cluster.check([Engine(model="m", tensor_parallel=8)])


def test_the_way_to_install_ray_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    experiment = Experiment(name="e", engines=(Engine(model="m"),))
    with pytest.raises(journal.UsageError, match=r"pip install 'serving-journal\[ray\]'"):
        journal.run(experiment, tmp_path / "lab", on="ray")
    assert not (tmp_path / "lab").exists()


def test_ray_and_parallel_gpus_are_one_too_many(tmp_path: Path) -> None:
    experiment = Experiment(name="e", engines=(Engine(model="m"),))
    with pytest.raises(journal.SpecError, match=r"--parallel-gpus .* --on ray .*: leave one out"):
        journal.run(experiment, tmp_path, on="ray", parallel_gpus=2)
