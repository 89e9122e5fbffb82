"""Packings of weights: what a quantization_config says, and the bytes of a weight in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from journal.theory.layers import Place

PACKED_KEYS = tuple(
    """
    quant_method quant_algo bits w_bit weight_bits group_size q_group_size weight_group_size
    load_in_8bit load_in_4bit config_groups weight_block_size quantization desc_act sym zero_point
    format ignore modules_to_not_convert exclude_modules ignored_layers fmt activation_scheme
    weight_dtype data_type quant_type lm_head
    """.split()
)
PLACES: Mapping[Place, tuple[str, ...]] = {
    "attention": ("self_attn.q_proj", "self_attn.o_proj"),
    "state": ("linear_attn.in_proj_qkvz", "mamba.in_proj", "mixer.in_proj"),
    "mlp": ("mlp.gate_proj", "mlp.down_proj"),
    "experts": ("mlp.experts.0.gate_proj", "block_sparse_moe.experts.0.w1", "mlp.experts"),
    "shared": ("mlp.shared_expert.gate_proj", "mlp.shared_experts.gate_proj"),
}
FP8 = {"fp8", "fbgemm_fp8", "ptpc_fp8", "modelopt_fp8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How a checkpoint packs its weights. `name` is the method under one name each, `bits` the size
    of a weight and `group` the number of weights that share a scale of `scale_bytes` and a zero
    point of `zero_bytes`; None: not stated, or a channel and more. `unpacked` are the places of a
    layer whose matrices stay in 16 bits, with the fraction of layers for which they do."""

    name: str
    bits: int | None = None
    group: int | None = None
    scale_bytes: float = 0.0
    zero_bytes: float = 0.0
    only: tuple[Place, ...] | None = None
    ignored: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> float | None:
        """Bytes of a packed weight, its share of the scales included; None where the packing does
        not state its bits."""
        if self.bits is None:
            return None
        shared = self.scale_bytes + self.zero_bytes
        return self.bits / 8 + (0.0 if self.group is None else shared / self.group)

    def packs(self, place: Place, layer: int) -> bool:
        """Whether the matrices in that `place` of that `layer` are packed."""
        if self.only is not None and place not in self.only:
            return False
        names = [f"model.layers.{layer}.{name}" for name in PLACES[place]]
        return not any(_matches(pattern, name) for pattern in self.ignored for name in names)


def packing(packed: Mapping[str, Any]) -> Packing | None:
    """The packing that a quantization_config describes, under the keys that various tools write
    there; None where it names no method."""
    method = packed.get("quant_method") or packed.get("quant_algo")
    if method is None:
        return None
    method = str(method).lower()
    ignored = _ignored(packed)
    if method in ("compressed-tensors", "modelopt", "modelopt_fp4", "modelopt_mixed", "quark"):
        return _by_groups(method, packed, ignored)
    if method == "mxfp4":
        return Packing(
            name="mxfp4", bits=4, group=32, scale_bytes=1, only=("experts",), ignored=ignored
        )
    if method in ("bitsandbytes", "bnb"):
        return _bitsandbytes(packed, ignored)
    if method in FP8 or "fp8" in method:
        return Packing(name="fp8", bits=8, **_block(packed), ignored=ignored)
    bits = _whole(packed.get("bits", packed.get("w_bit", packed.get("weight_bits"))))
    group = _positive(packed.get("group_size", packed.get("q_group_size")))
    zero = 0.0 if bits is None else bits / 8
    return Packing(
        name=method.removesuffix("_marlin"),
        bits=bits,
        group=group,
        scale_bytes=2,
        zero_bytes=zero,
        ignored=ignored,
    )


def _bitsandbytes(packed: Mapping[str, Any], ignored: tuple[str, ...]) -> Packing:
    if packed.get("load_in_8bit"):
        return Packing(name="bitsandbytes", bits=8, ignored=ignored)
    return Packing(name="bitsandbytes", bits=4, group=64, scale_bytes=4, ignored=ignored)


def _by_groups(method: str, packed: Mapping[str, Any], ignored: tuple[str, ...]) -> Packing:
    """The packing of the first group of layers; most tools write one group only. Integers of 4 bits
    are packed as those of GPTQ, floats of 8 bits as FP8."""
    groups = packed.get("config_groups") or {}
    weights: Mapping[str, Any] = next(
        (g["weights"] for g in groups.values() if isinstance(g, Mapping) and g.get("weights")), {}
    )
    algorithm = str(
        packed.get("quant_algo") or (packed.get("quantization") or {}).get("quant_algo")
    )
    bits = _whole(weights.get("num_bits"))
    group, kind = _positive(weights.get("group_size")), weights.get("type")
    if algorithm.upper() in ("NVFP4", "W4A16_NVFP4") or (bits == 4 and kind == "float"):
        size = group or 16
        return Packing(name=method, bits=4, group=size, scale_bytes=1, ignored=ignored)
    if algorithm.upper().startswith("FP8") or (bits == 8 and kind == "float"):
        return Packing(name="fp8", bits=8, **_block(weights), ignored=ignored)
    zero = 0.0 if weights.get("symmetric", True) or bits is None else bits / 8
    name = "gptq" if bits == 4 and method == "compressed-tensors" else method
    if algorithm.upper().startswith("W4A16") and bits is None:
        bits, group = 4, 128
    return Packing(
        name=name, bits=bits, group=group, scale_bytes=2, zero_bytes=zero, ignored=ignored
    )


def _block(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The scale of 32 bits of each block of FP8 weights; one of a channel or a tensor is below
    0.1%."""
    block = packed.get("weight_block_size") or packed.get("block_structure")
    if isinstance(block, list) and len(block) == 2 and all(isinstance(n, int) for n in block):
        return {"group": block[0] * block[1], "scale_bytes": 4}
    return {}


def _ignored(packed: Mapping[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    for key in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers"):
        value = packed.get(key) or (packed.get("quantization") or {}).get(key)
        if isinstance(value, list):
            names += [str(one) for one in value]
    return tuple(dict.fromkeys(names))


def _matches(pattern: str, name: str) -> bool:
    """Whether an entry of a list of modules that stay as they are names the module `name`: exactly,
    as the beginning or the middle of it, by "re:" or by a wildcard."""
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], name) is not None
        except re.error:
            return False
    if "*" in pattern:
        return fnmatch(name, pattern) or fnmatch(name, f"*{pattern}")
    ends = name.partition(".layers.")[2].partition(".")[2]
    return (
        name.startswith(f"{pattern}.")
        or name == pattern
        or pattern == ends
        or (f".{pattern}." in f".{name}.")
    )


def _positive(value: Any) -> int | None:
    """A group size; None for -1 and 0, which mean that weights have no groups."""
    return value if isinstance(value, int) and value > 0 else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
