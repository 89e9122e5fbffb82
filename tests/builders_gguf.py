"""GGUF files whose header is real and whose tensors are zeros."""

import struct
from collections.abc import Mapping
from typing import Any

UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def gguf_file(
    values: Mapping[str, Any], tensors: Mapping[str, tuple[int, list[int]]], version: int = 3
) -> bytes:
    """A file with these values, and these tensors: the number of the type and the shape of each."""
    raw = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    for key, value in values.items():
        raw += _text(key) + _value(value)
    for name, (kind, shape) in tensors.items():
        raw += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)
    return raw + bytes(4096)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    entries = b"".join(_value(one)[4:] for one in value)
    kind = STRING if not value or isinstance(value[0], str) else UINT32
    return struct.pack("<IIQ", ARRAY, kind, len(value)) + entries
