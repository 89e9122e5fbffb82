"""The size of a checkpoint on disk, read from the headers of its safetensors files."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from journal.errors import NotFound, SpecError

INDEX = "model.safetensors.index.json"
PLAIN = ("F64", "F32", "F16", "BF16")
HEADER_LIMIT = 100 * 2**20  # as in the reference implementation


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Bytes and numbers of elements by dtype, as the files name it (BF16, F32, I32, F8_E4M3 ...).
    Packed weights count as their containers: eight weights of 4 bits are one I32."""

    bytes_by_dtype: Mapping[str, int]
    elements_by_dtype: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, as they are stored."""
        return sum(self.bytes_by_dtype.values())

    def bytes_in(self, element_bytes: int | None) -> int:
        """Bytes of all tensors in an engine that converts those that are not packed to
        `element_bytes` an element; None: the engine converts none."""
        if element_bytes is None:
            return self.bytes
        plain = sum(self.elements_by_dtype.get(dtype, 0) for dtype in PLAIN)
        packed = sum(size for dtype, size in self.bytes_by_dtype.items() if dtype not in PLAIN)
        return plain * element_bytes + packed


def read_checkpoint(folder: Path, *, tied: bool = False) -> Checkpoint:
    """The sizes of the tensors in `folder`. `tied` leaves out the copy of the embedding that some
    checkpoints store as their head and engines do not load. Raises NotFound where a safetensors
    file is missing, SpecError where one cannot be read.

    Source of the format: https://github.com/huggingface/safetensors, "Format".
    """
    sizes: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    for name, dtype, count, size in _tensors(_files(folder)):
        if not (tied and name == "lm_head.weight"):
            sizes[dtype] += size
            elements[dtype] += count
    return Checkpoint(dict(sizes), dict(elements))


def _files(folder: Path) -> list[Path]:
    """The files that make up the model, in order of name. Some checkpoints hold a second copy in
    another layout: the index, or else the usual name, selects one."""
    index = folder / INDEX
    if index.exists():
        try:
            names = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise SpecError(f"{index} cannot be read: download the checkpoint again") from error
        files = [folder / name for name in sorted(names)]
    else:
        files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    missing = [path.name for path in files if not path.exists()]
    if missing or not files:
        raise NotFound(f"{folder} has no {missing[0] if missing else '*.safetensors file'}")
    return files


def _tensors(files: list[Path]) -> Iterator[tuple[str, str, int, int]]:
    """The name, dtype, number of elements and bytes of each tensor in `files`."""
    for path in files:
        with path.open("rb") as file:
            header = _header(file, path)
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            try:
                count = 1
                for length in tensor["shape"]:
                    count *= int(length)
                start, end = tensor["data_offsets"]
                yield name, str(tensor["dtype"]), count, int(end) - int(start)
            except (KeyError, TypeError, ValueError) as error:
                raise SpecError(f"{path} has no sizes for its tensor {name}") from error


def _header(file: BinaryIO, path: Path) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    raw = file.read(length) if 0 < length <= HEADER_LIMIT else b""
    try:
        header = json.loads(raw)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise SpecError(f"{path} is not a complete safetensors file: download it again")
    return header
