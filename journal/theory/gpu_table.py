"""A small table of NVIDIA GPUs: memory, bandwidth and arithmetic.

`memory_bytes` is the total that the driver shows (nvidia-smi, MiB), which an engine can share
out; it differs a little between driver versions. Rates are the maker's peaks: dense (without
sparsity), 16-bit inputs on tensor cores with 32-bit accumulation, as engines compute.
"""

import re
from dataclasses import dataclass

from journal.errors import SpecError

MIB, TERA, GIGA = 2**20, 1e12, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """One kind of GPU by its data sheet, `source`. `bandwidth` is in bytes/s, `fp16_flops` and
    `fp8_flops` are in FLOP/s; `fp8_flops` is None where it has no 8-bit floating point (engines
    then store FP8 weights and compute in 16 bits). `without` are the precisions for which engines
    have no kernels on it."""

    name: str
    memory_bytes: int
    bandwidth: float
    fp16_flops: float
    fp8_flops: float | None
    source: str
    without: tuple[str, ...] = ()


def _gpu_kind(
    name: str,
    mib: int,
    gb_per_s: float,
    fp16: float,
    fp8: float | None,
    source: str,
    without: tuple[str, ...] = (),
) -> GpuKind:
    return GpuKind(
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
GA102 = "NVIDIA Ampere GA102 GPU Architecture whitepaper"
BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture whitepaper"
PRO = "NVIDIA RTX PRO Blackwell GPU Architecture whitepaper"
HGX = "NVIDIA HGX platform data sheet (given with sparsity: halved)"
HOPPER_NVL = "NVIDIA H100 NVL data sheet (given with sparsity: halved)"
GPU_KINDS = (
    # vLLM's kernels for FP8 weights begin with Ampere.
    _gpu_kind("T4", 15360, 320, 65, None, "NVIDIA T4 datasheet", without=("fp8",)),
    _gpu_kind("L4", 23034, 300, 121, 242.5, "NVIDIA L4 datasheet (given with sparsity: halved)"),
    _gpu_kind("A10G", 23028, 600, 70, None, "NVIDIA A10G datasheet (AWS)"),
    _gpu_kind("A10", 23028, 600, 125, None, "NVIDIA A10 datasheet"),
    _gpu_kind("RTX 3090", 24576, 936, 71, None, GA102),
    _gpu_kind("RTX 3090 Ti", 24564, 1008, 80, None, "NVIDIA GeForce RTX 3090 Ti specifications"),
    _gpu_kind("RTX 4090", 24564, 1008, 165.2, 330.3, ADA),
    _gpu_kind("RTX 5090", 32607, 1792, 209.5, 419, BLACKWELL),
    _gpu_kind("A100 40GB", 40960, 1555, 312, None, AMPERE),
    _gpu_kind("A40", 46068, 696, 149.7, None, "NVIDIA A40 datasheet"),
    _gpu_kind("L40", 46068, 864, 181.05, 362.1, "NVIDIA L40 datasheet"),
    _gpu_kind("L40S", 46068, 864, 362.05, 733, "NVIDIA L40S datasheet"),
    _gpu_kind("RTX A6000", 49140, 768, 154.8, None, GA102),
    _gpu_kind("RTX 6000 Ada", 49140, 960, 364.2, 728.5, ADA),
    _gpu_kind("A100 80GB", 81920, 2039, 312, None, AMPERE),
    _gpu_kind("H100 PCIe", 81559, 2000, 756, 1513, HOPPER),
    _gpu_kind("H100 SXM", 81559, 3350, 989.4, 1978.9, HOPPER),
    _gpu_kind("H100 NVL", 95830, 3938, 835.5, 1670.5, HOPPER_NVL),
    _gpu_kind("RTX PRO 6000", 97887, 1792, 503.8, 1007.6, PRO),
    _gpu_kind("H20", 97871, 4000, 148, 296, "NVIDIA H20 data sheet"),
    _gpu_kind("GH200", 97871, 4000, 989.4, 1978.9, "NVIDIA GH200 data sheet (the 96 GB form)"),
    _gpu_kind("GB10", 125122, 273, 125, 250, "NVIDIA DGX Spark data sheet (FP4 halved, twice)"),
    _gpu_kind("H200", 143771, 4800, 989.4, 1978.9, "NVIDIA H200 Tensor Core GPU datasheet"),
    _gpu_kind("H200 NVL", 143771, 4800, 835.5, 1670.5, "NVIDIA H200 Tensor Core GPU datasheet"),
    _gpu_kind("B200", 183359, 8000, 2250, 4500, HGX),
    _gpu_kind("GB200", 189471, 8000, 2500, 5000, "NVIDIA GB200 NVL72 data sheet"),
    _gpu_kind("B300", 275040, 8000, 2250, 4500, HGX),
)
# Words in NVML's names, and the words of this table with the same meaning.
_SAME = {"hbm3": "sxm", "sxm4": "sxm", "sxm5": "sxm"}
_OF_MANY = {"nvidia", "geforce", "rtx"}
_MADE_OTHERWISE = {"laptop", "mobile", "max", "mig", "d", "3e", "144g", "hbm3e", "ti", "super"}
# A share of a GPU that a hypervisor lends: "GRID A100-20C", "NVIDIA A40-48Q", "A100-4-20C".
_LENT = re.compile(r"\b(grid|vgpu)\b|-\d+(q|c|a|b|cme)\b", re.IGNORECASE)


def find_gpu(name: str) -> GpuKind:
    """The GPU of that `name`, as people write it ("h100 sxm", "4090", "A100 80GB") or as NVML
    does ("NVIDIA H100 80GB HBM3"). Raises SpecError, which lists the known GPUs, where no GPU or
    more than one has that name, and for a share of one that a hypervisor lends (vGPU)."""
    words = _words(name)
    if _LENT.search(name):
        raise SpecError(
            f"{name!r} is a share of a GPU that a hypervisor lends, of a size of its own: give its"
            " memory instead"
        )
    whole = [kind for kind in GPU_KINDS if _words(kind.name) <= words]
    if whole:
        kind = max(whole, key=lambda kind: len(_words(kind.name)))
        if (words - _words(kind.name)).isdisjoint(_MADE_OTHERWISE):
            return kind
    elif words.isdisjoint(_MADE_OTHERWISE):
        partial = [kind for kind in GPU_KINDS if words and words <= _words(kind.name)]
        if len(partial) == 1:
            return partial[0]
        if partial:
            names = " or ".join(kind.name for kind in partial)
            raise SpecError(f"{name!r} may be {names}: say which")
    known = ", ".join(kind.name for kind in GPU_KINDS)
    raise SpecError(f"no GPU {name!r} is known here ({known}): give its memory instead")


def _words(name: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(\d) gb\b", r"\1gb", name.lower()))
    return {_SAME.get(word, word) for word in words if word not in _OF_MANY}
