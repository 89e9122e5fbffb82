"""The header of a GGUF file: the sizes of its model, and the bytes of its tensors.

Source of the format: https://github.com/ggml-org/ggml, docs/gguf.md; of the blocks of its types:
ggml-common.h there.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from journal.errors import SpecError
from journal.theory.checkpoint import Tensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_ENTRIES = 2**26
MOST_DIMENSIONS = 8  # of a tensor; 4 are in use
# Elements of a block, and the bytes that it takes, by the number of the type.
BLOCKS: Mapping[int, tuple[str, int, int]] = {
    **{0: ("F32", 1, 4), 1: ("F16", 1, 2), 28: ("F64", 1, 8), 30: ("BF16", 1, 2)},
    **{24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8)},
    **{2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24)},
    **{8: ("Q8_0", 32, 34), 20: ("IQ4_NL", 32, 18), 39: ("MXFP4", 32, 17)},
    **{10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144)},
    **{13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292)},
    **{16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98)},
    **{19: ("IQ1_S", 256, 50), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82)},
    **{23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56)},
    **{34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 40: ("NVFP4", 64, 36)},
    **{41: ("Q1_0", 128, 18)},
}
# The names that llama.cpp gives to families, and those of config.json. Others need a config.json.
FAMILIES: Mapping[str, str] = {
    **{name: name for name in ("llama", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "olmo2")},
    **{"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gemma3": "gemma3_text"},
    **{"granite": "granite", "starcoder2": "starcoder2", "gpt-oss": "gpt_oss"},
}
# Fields of a config.json, and the keys that hold them after the name of the family.
FIELDS: Mapping[str, str] = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
}
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"}
_NUMBERS |= {10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class Unfinished(Exception):
    """The header goes on beyond the bytes that were read."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header of a GGUF file states: its values by key, an array as the number of its
    entries, and its tensors."""

    values: Mapping[str, Any]
    tensors: tuple[Tensor, ...]


def gguf_header(raw: bytes, name: str) -> GgufHeader:
    """The header of the GGUF file `name`, whose first bytes are `raw`. Raises Unfinished where
    they end before it does, SpecError where they are no GGUF header, or hold a type whose size is
    not known here."""
    reader = _Reader(raw, name)
    if reader.take(4) != MAGIC:
        raise SpecError(f"{name} is no GGUF file: download it again")
    version = reader.number("<I")
    if version not in VERSIONS:
        raise SpecError(f"{name} is of version {version} of GGUF, and 2 and 3 are known here")
    count, entries = reader.number("<Q"), reader.number("<Q")
    if max(count, entries) > MOST_ENTRIES:
        raise SpecError(f"{name} is damaged: download it again")
    values = {reader.text(): reader.value(reader.number("<I")) for _ in range(entries)}
    return GgufHeader(values, tuple(reader.tensor() for _ in range(count)))


def gguf_config(header: GgufHeader, name: str) -> dict[str, Any]:
    """The config.json that goes with a GGUF file. Raises SpecError for a family that needs more
    than its header states."""
    values, own = header.values, str(header.values.get("general.architecture"))
    if own not in FAMILIES:
        raise SpecError(
            f"{name} holds a model of the family {own!r}, whose sizes its header does not state in"
            " full: put the config.json of the model that it was made from beside it"
        )
    config = {
        field: value
        for field, key in FIELDS.items()
        if isinstance(value := values.get(f"{own}.{key}"), int) and value
    }
    embedding = next((t for t in header.tensors if t.name == "token_embd.weight"), None)
    if embedding is not None and config.get("hidden_size"):
        config["vocab_size"] = embedding.elements // config["hidden_size"]
    return config | {
        "model_type": FAMILIES[own],
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": not any(t.name == "output.weight" for t in header.tensors),
        "quantization_config": {"quant_method": "gguf"},
    }


class _Reader:
    """Reads the values of a header one after the other."""

    def __init__(self, raw: bytes, name: str) -> None:
        self.raw, self.name, self.at = raw, name, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        part = self.raw[self.at : self.at + count]
        if len(part) < count:
            raise Unfinished
        self.at += count
        return part

    def number(self, form: str) -> Any:
        """The next number of that form of struct."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """The next string."""
        return self.take(self.number("<Q")).decode(errors="replace")

    def value(self, kind: int) -> Any:
        """The next value of that kind; of an array the number of its entries."""
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise SpecError(f"{self.name} is damaged: download it again")
        kind, count = self.number("<I"), self.number("<Q")
        if kind in _NUMBERS:
            self.take(count * struct.calcsize(_NUMBERS[kind]))
        elif kind == _STRING:
            for _ in range(count):
                self.text()
        else:  # arrays of arrays are allowed, and written by nobody
            raise SpecError(f"{self.name} is damaged: download it again")
        return count

    def tensor(self) -> Tensor:
        """The next entry of the table of tensors."""
        name, dimensions = self.text(), self.number("<I")
        if dimensions > MOST_DIMENSIONS:
            raise SpecError(f"{self.name} is damaged: download it again")
        shape = [self.number("<Q") for _ in range(dimensions)]
        kind, _ = self.number("<I"), self.number("<Q")
        if kind not in BLOCKS:
            raise SpecError(f"{self.name} holds tensors of type {kind}, which is not known here")
        (dtype, elements, size), count = BLOCKS[kind], prod(shape)
        return Tensor(name, dtype, count, -(-count // elements) * size)


def growing(first: int, most: int) -> Iterator[int]:
    """Numbers of bytes to read for a header whose length is not known: `first`, then four times as
    many each time, up to `most`."""
    while first < most:
        yield first
        first *= 4
    yield most
