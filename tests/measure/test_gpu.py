"""GPUs as the unmodified pynvml shows them, over a driver library that follows a script."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from journal.measure.nvml import NEVER

Scripted = Callable[..., Any]

READ = """
import dataclasses, json
from journal.doubts.words import absence
from journal.errors import MeasureError
from journal.measure.gpu import Gpus, driver
result = {"looks": []}
try:
    with Gpus(options.get("which")) as gpus:
        result["gpus"] = [dataclasses.asdict(gpu) for gpu in gpus.gpus]
        pids = options.get("pids", [101, 102])
        pids = None if pids is None else frozenset(pids)
        result["holding"] = gpus.holding(pids or frozenset())
        try:
            for at_s in range(options.get("looks", 1)):
                result["looks"].append([dataclasses.asdict(one) for one in gpus.look(at_s, pids)])
        finally:
            result["absent"] = [absence(values) for values in gpus.absent]
except MeasureError as error:
    result["error"] = str(error)
print(json.dumps(result))
"""
GB80 = 85899345920


def test_a_healthy_gpu(scripted: Scripted) -> None:
    result = scripted(READ, looks=3)
    assert result["absent"] == []
    assert result["holding"] == [0]
    assert result["gpus"] == [
        {
            "index": 0,
            "name": "Scripted Card 80GB",
            "uuid": "GPU-5c21a7b0-0000-4000-8000-000000000001",
            "total_bytes": GB80,
            "reserved_bytes": 512 * 2**20,
            "mig": False,
            "unified": False,
        }
    ]
    assert result["looks"][0] == [
        {
            "at_s": 0,
            "device": 0,
            "used_bytes": 73551314944,
            "total_bytes": GB80,
            "process_bytes": 73014444032 + 536870912,
            "other_processes": 1,
            "utilisation_fraction": 0.93,
            "power_w": 351.25,
            "energy_j": 1000.0,
            "sm_clock_hz": 1.755e9,
            "memory_clock_hz": 2.619e9,
            "temperature_c": 61,
            "throttle_reasons": 4,
        }
    ]
    assert [look[0]["used_bytes"] for look in result["looks"]] == [73551314944] * 2 + [74625056768]
    assert [look[0]["energy_j"] for look in result["looks"]] == [1000.0, 1035.125, 1035.125]


def test_the_driver_tells_its_versions(scripted: Scripted) -> None:
    script = "import json\nfrom journal.measure.gpu import Gpus, driver\n"
    assert scripted(script + "with Gpus(): print(json.dumps(driver()))") == ["575.57.08", "12.9"]


# ---- what stops reading ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "sentence"),
    [
        ("init 9", "not loaded"),
        ("init 4", "may not talk to the NVIDIA driver"),
        ("init 8", "power"),
        ("init 12", "No NVIDIA driver is installed"),
        ("init 13", "too old"),
        ("init 15", "lost the GPU"),
        ("init 16", "reset"),
        ("init 17", "operating system blocks"),
        ("init 18", "reboot"),
        ("init 28", "finds no GPU"),
        ("init 999", "Unknown Error"),
        ("init 77", "an error that has no name"),
        ("cards 0", "no NVIDIA GPU"),
        ("cards 1\n0 - nvmlDeviceGetCount_v2 999", "Unknown Error"),
        ("cards 1\n0 0 nvmlDeviceGetHandleByIndex_v2 4", "may not talk"),
        ("cards 1\n0 0 nvmlDeviceGetHandleByIndex_v2 15", "lost the GPU"),
        ("cards 1\n0 0 * 15", "lost the GPU"),
    ],
)
def test_what_stops_reading_is_one_clear_sentence(
    scripted: Scripted, trace: str, sentence: str
) -> None:
    error = scripted(READ, trace, alone=True)["error"]
    assert sentence in error
    assert error.endswith(".")
    assert "\n" not in error


def test_no_gpu_is_seen_without_a_driver_library() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    result = subprocess.run(
        [sys.executable, "-c", "options = {}\n" + READ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if '"cards"' in result:
        pytest.skip("this host has an NVIDIA driver")
    assert "libnvidia-ml.so.1" in result


def test_a_gpu_that_is_not_there(scripted: Scripted) -> None:
    assert scripted(READ, which=[3])["error"] == "There is no GPU 3 here: NVML sees 1."
    assert "GPU-00" in scripted(READ, which=["GPU-00"])["error"]


# ---- what is merely absent -------------------------------------------------------------------

ASKED = {
    "nvmlDeviceGetUtilizationRates": ("utilisation_fraction", "utilisation"),
    "nvmlDeviceGetPowerUsage": ("power_w", "power"),
    "nvmlDeviceGetTotalEnergyConsumption": ("energy_j", "energy"),
    "nvmlDeviceGetClockInfo": ("sm_clock_hz", "SM clock"),
    "nvmlDeviceGetTemperature": ("temperature_c", "temperature"),
    "nvmlDeviceGetCurrentClocksEventReasons": ("throttle_reasons", "throttle reasons"),
    "nvmlDeviceGetMemoryInfo_v2": ("used_bytes", "memory"),
    "nvmlDeviceGetComputeRunningProcesses_v3": ("process_bytes", "compute processes"),
}


OLDER = {
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
}


@pytest.mark.parametrize("function", ASKED)
@pytest.mark.parametrize(("code", "reason"), [(3, "not supported"), (4, "may not read")])
def test_a_figure_that_a_gpu_does_not_give_is_absent_with_a_reason(
    scripted: Scripted, function: str, code: int, reason: str
) -> None:
    field, words = ASKED[function]
    result = scripted(READ, f"0 0 {function} {code}\n0 0 {function.removesuffix('_v2')} {code}")
    reading = result["looks"][0][0]
    assert reading[field] is None
    assert any(f"its {words}: " in line for line in result["absent"])
    assert all(line.startswith("GPU 0 does not tell") for line in result["absent"])
    others = {field for field, _ in ASKED.values()} - {field}
    assert all(reading[other] is not None for other in others)


def test_the_reason_is_named(scripted: Scripted) -> None:
    result = scripted(READ, "0 0 nvmlDeviceGetPowerUsage 3\n0 0 nvmlDeviceGetTemperature 4")
    power, temperature = result["absent"]
    assert "power: not supported by this GPU" in power
    assert "temperature: this user may not read it" in temperature


@pytest.mark.parametrize("code", [7, 10, 11, 19, 20, 21, 27, 999])
def test_a_passing_fault_costs_one_value(scripted: Scripted, code: int) -> None:
    faults = f"1 0 nvmlDeviceGetPowerUsage {code}\n2 0 nvmlDeviceGetPowerUsage 0 300000"
    result = scripted(READ, faults, looks=3)
    assert [look[0]["power_w"] for look in result["looks"]] == [None, 300, 300]
    (sentence,) = result["absent"]
    assert sentence.startswith("GPU 0 does not tell its power: NVML says ")


def test_older_drivers_are_asked_in_their_own_words(scripted: Scripted) -> None:
    old = f"""
        0 0 nvmlDeviceGetMemoryInfo_v2 13
        0 0 nvmlDeviceGetMemoryInfo 0 {GB80} 11811160064 74088185856
        0 0 nvmlDeviceGetCurrentClocksEventReasons 13
        0 0 nvmlDeviceGetCurrentClocksThrottleReasons 0 8
        0 0 nvmlDeviceGetComputeRunningProcesses_v3 13
        0 0 nvmlDeviceGetComputeRunningProcesses_v2 0 101:5
        0 0 nvmlDeviceGetGraphicsRunningProcesses_v3 13
        0 0 nvmlDeviceGetGraphicsRunningProcesses_v2 0 7:6
    """
    result = scripted(READ, old)
    reading = result["looks"][0][0]
    assert (reading["used_bytes"], reading["total_bytes"]) == (74088185856, GB80)
    assert (reading["process_bytes"], reading["other_processes"]) == (5, 1)
    assert reading["throttle_reasons"] == 8
    assert result["gpus"][0]["reserved_bytes"] is None
    assert result["absent"] == []


# ---- whose memory it is ----------------------------------------------------------------------


@pytest.mark.parametrize("listed", ["", "40101:73014444032 40102:536870912"])
def test_no_share_is_invented_where_process_ids_are_hidden(scripted: Scripted, listed: str) -> None:
    result = scripted(READ, f"0 0 nvmlDeviceGetComputeRunningProcesses_v3 0 {listed}", looks=2)
    for (reading,) in result["looks"]:
        assert reading["process_bytes"] is None
        assert reading["other_processes"] is None
    (sentence,) = result["absent"]
    assert "lists none of the server's processes" in sentence
    assert result["holding"] == []


def test_the_share_is_absent_where_bytes_are_hidden(scripted: Scripted) -> None:
    result = scripted(READ, "0 0 nvmlDeviceGetComputeRunningProcesses_v3 0 101:- 102:5 900:-")
    assert result["looks"][0][0]["process_bytes"] is None
    assert result["looks"][0][0]["other_processes"] == 1
    assert result["absent"] == ["GPU 0 does not tell the memory of each process."]


def test_processes_come_and_go(scripted: Scripted) -> None:
    trace = """
        1 0 nvmlDeviceGetComputeRunningProcesses_v3 0
        2 0 nvmlDeviceGetComputeRunningProcesses_v3 0 101:5
        3 0 nvmlDeviceGetComputeRunningProcesses_v3 0 101:7 555:1
    """
    result = scripted(READ, trace, looks=3)
    assert [look[0]["process_bytes"] for look in result["looks"]] == [None, 5, 7]
    assert [look[0]["other_processes"] for look in result["looks"]] == [None, 0, 1]
    assert result["absent"] == []


def test_a_server_that_is_not_here_has_no_share(scripted: Scripted) -> None:
    result = scripted(READ, pids=None)
    assert result["looks"][0][0]["process_bytes"] is None
    assert result["looks"][0][0]["used_bytes"] == 73551314944
    assert result["absent"] == []


# ---- GPUs that go away, and several GPUs -----------------------------------------------------


@pytest.mark.parametrize("code", [1, 9, 15, 16, 28])
def test_a_gpu_lost_in_mid_run_keeps_what_was_read(scripted: Scripted, code: int) -> None:
    result = scripted(READ, f"3 0 * {code}", looks=5)
    assert len(result["looks"]) == 2
    assert result["error"] == "No GPU is left to be read."
    (sentence,) = result["absent"]
    assert sentence.startswith("GPU 0 was read no more after 2.0 s. ")


ERRORS = {
    name: value
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int)
}


@pytest.mark.parametrize("code", ERRORS.values(), ids=ERRORS)
def test_every_error_of_nvml_is_reported_wherever_it_comes(scripted: Scripted, code: int) -> None:
    """In a sentence: as the reason why reading ends, as the end of a GPU, or as absent."""
    refused = scripted(READ, f"init {code}", alone=True)["error"]
    assert refused.endswith(".") and "\n" not in refused
    for function, (field, words) in ASKED.items():
        result = scripted(READ, f"2 0 {function} {code}", looks=2)
        readings = [look[0][field] for look in result["looks"]]
        assert readings[0] is not None
        if len(readings) == 1:
            assert "was read no more after 1.0 s. " in result["absent"][0]
        elif readings[1] is None:
            assert any(f"its {words}: " in sentence for sentence in result["absent"])
        else:  # an older question had the answer
            assert function in OLDER and code in NEVER


TWO = """
    cards 2
    0 1 nvmlDeviceGetName 0 Scripted Card 24GB
    0 1 nvmlDeviceGetUUID 0 GPU-77777777-0000-4000-8000-000000000002
    0 1 nvmlDeviceGetMemoryInfo_v2 0 25769803776 0 25769803775 1
    0 1 nvmlDeviceGetComputeRunningProcesses_v3 0 555:1
    0 1 nvmlDeviceGetGraphicsRunningProcesses_v3 0 777:2
"""


def indices(result: Any) -> list[int]:
    return [gpu["index"] for gpu in result["gpus"]]


def test_the_other_gpu_is_still_read(scripted: Scripted) -> None:
    result = scripted(READ, TWO + "2 0 * 15", looks=3)
    assert [[one["device"] for one in look] for look in result["looks"]] == [[0, 1], [1], [1]]
    assert "error" not in result


def test_the_gpus_of_the_server_are_found(scripted: Scripted) -> None:
    assert scripted(READ, TWO)["holding"] == [0]
    assert scripted(READ, TWO, pids=[777])["holding"] == [1]


def test_gpus_are_chosen_by_index_uuid_and_environment(scripted: Scripted) -> None:
    assert indices(scripted(READ, TWO)) == [0, 1]
    assert indices(scripted(READ, TWO, which=[1])) == [1]
    assert indices(scripted(READ, TWO, which=["GPU-7777"])) == [1]
    assert indices(scripted(READ, TWO, env={"CUDA_VISIBLE_DEVICES": "1"})) == [1]
    assert indices(scripted(READ, TWO, env={"CUDA_VISIBLE_DEVICES": "1,0"})) == [1, 0]
    assert indices(scripted(READ, TWO, which=[0], env={"CUDA_VISIBLE_DEVICES": "1"})) == [0]
    hidden = scripted(READ, TWO, env={"CUDA_VISIBLE_DEVICES": ""})
    assert "CUDA_VISIBLE_DEVICES" in hidden["error"]


INSTANCE = """
    instance 1 0
    0 0 nvmlDeviceGetMigMode 0 1
    0 0 nvmlDeviceGetUtilizationRates 3
    0 1 * 3
    0 1 nvmlDeviceGetUUID 0 MIG-11111111-0000-4000-8000-000000000003
    0 1 nvmlDeviceGetName 0 Scripted Card MIG 1g.10gb
    0 1 nvmlDeviceGetMemoryInfo_v2 0 10737418240 0 10737418239 1
"""


def test_a_gpu_divided_by_mig_says_so(scripted: Scripted) -> None:
    result = scripted(READ, INSTANCE)
    assert result["gpus"][0]["mig"] is True
    assert result["looks"][0][0]["utilisation_fraction"] is None
    assert any("MIG instances" in line for line in result["absent"])


def test_an_instance_of_mig_has_memory_of_its_own(scripted: Scripted) -> None:
    result = scripted(READ, INSTANCE, which=["MIG-11111111-0000-4000-8000-000000000003"])
    (reading,) = result["looks"][0]
    assert (reading["device"], reading["total_bytes"], reading["used_bytes"]) == (0, 10737418240, 1)
    assert reading["power_w"] is None
    assert any("its power: not supported" in line for line in result["absent"])
