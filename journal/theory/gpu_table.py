"""A small table of NVIDIA cards: memory, bandwidth and arithmetic.

`memory_bytes` is the total that the driver shows (nvidia-smi, MiB), which is what an engine can
share out; it differs a little between driver versions. Rates are the makers' peaks: dense
(without sparsity), 16-bit inputs on tensor cores with 32-bit accumulation, as engines compute.
"""

import re
from dataclasses import dataclass

from journal.errors import SpecError

MIB, TERA, GIGA = 2**20, 1e12, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What one card can do. Rates in bytes/s and FLOP/s; `fp8_flops` None where the card has no
    8-bit floating point (engines then store FP8 weights but compute in 16 bits). `without` are
    the precisions that engines have no kernels for on it."""

    name: str
    memory_bytes: int
    bandwidth: float
    fp16_flops: float
    fp8_flops: float | None
    source: str
    without: tuple[str, ...] = ()


def _card(
    name: str,
    mib: int,
    gb_per_s: float,
    fp16: float,
    fp8: float | None,
    source: str,
    without: tuple[str, ...] = (),
) -> Card:
    return Card(
        name=name,
        memory_bytes=mib * MIB,
        bandwidth=gb_per_s * GIGA,
        fp16_flops=fp16 * TERA,
        fp8_flops=None if fp8 is None else fp8 * TERA,
        source=source,
        without=without,
    )


AMPERE = "NVIDIA A100 Tensor Core GPU datasheet (bandwidth of the SXM form)"
HOPPER = "NVIDIA H100 Tensor Core GPU datasheet (given with sparsity: halved)"
ADA = "NVIDIA Ada GPU Architecture whitepaper, appendix A"
CARDS = (
    # vLLM's kernels for FP8 weights begin with Ampere.
    _card("T4", 15360, 320, 65, None, "NVIDIA T4 datasheet", without=("fp8",)),
    _card("L4", 23034, 300, 121, 242.5, "NVIDIA L4 datasheet (given with sparsity: halved)"),
    _card("A10G", 23028, 600, 70, None, "NVIDIA A10G datasheet (AWS)"),
    _card("RTX 3090", 24576, 936, 71, None, "NVIDIA Ampere GA102 GPU Architecture whitepaper"),
    _card("RTX 4090", 24564, 1008, 165.2, 330.3, ADA),
    _card("A100 40GB", 40960, 1555, 312, None, AMPERE),
    _card("L40S", 46068, 864, 362.05, 733, "NVIDIA L40S datasheet"),
    _card("A100 80GB", 81920, 2039, 312, None, AMPERE),
    _card("H100 PCIe", 81559, 2000, 756, 1513, HOPPER),
    _card("H100 SXM", 81559, 3350, 989.4, 1978.9, HOPPER),
    _card("H200", 143771, 4800, 989.4, 1978.9, "NVIDIA H200 Tensor Core GPU datasheet"),
)
# Words of NVML's names that say the same as ours.
_SAME = {"hbm3": "sxm", "sxm4": "sxm", "sxm5": "sxm"}
_MADE_OTHERWISE = {"laptop", "mobile", "max", "mig", "d"}


def find_card(name: str) -> Card:
    """The card of that `name`, as people write it ("h100 sxm", "4090", "A100 80GB") or as NVML
    does ("NVIDIA H100 80GB HBM3"). Raises SpecError, which names the cards known, when there is
    none or more than one."""
    asked = _words(name)
    if asked.isdisjoint(_MADE_OTHERWISE):
        whole = [card for card in CARDS if _words(card.name) <= asked]
        if whole:
            return max(whole, key=lambda card: len(_words(card.name)))
        begun = [card for card in CARDS if asked and asked <= _words(card.name)]
        if len(begun) == 1:
            return begun[0]
        if begun:
            names = " or ".join(card.name for card in begun)
            raise SpecError(f"{name!r} may be {names}: say which.")
    known = ", ".join(card.name for card in CARDS)
    raise SpecError(f"No card {name!r} is known here ({known}): give its memory instead.")


def _words(name: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+", name.lower().replace(" gb", "gb"))
    return {_SAME.get(word, word) for word in words}
