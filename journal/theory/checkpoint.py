"""The size of a checkpoint on disk, read from the headers of its safetensors files."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from journal.errors import NotFound, SpecError

INDEX = "model.safetensors.index.json"
PLAIN = ("F64", "F32", "F16", "BF16")
FILE_NAME = re.compile(r"(?!\.)[\w.+-]{1,200}", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a checkpoint, by the header of its file."""

    name: str
    dtype: str
    elements: int
    bytes: int


def read_checkpoint(folder: Path, *, tied: bool = False, layers: int | None = None) -> Checkpoint:
    """The sizes of the tensors in `folder` that an engine loads. Raises NotFound where a
    safetensors file is missing, SpecError where one cannot be read.

    Source of the format: https://github.com/huggingface/safetensors, "Format".
    """
    return loaded(_tensors(_files(folder)), tied=tied, layers=layers)


def loaded(tensors: Iterable[Tensor], *, tied: bool, layers: int | None) -> Checkpoint:
    """The sizes of those of `tensors` that an engine loads. `tied` leaves out the copy of the
    embedding that some checkpoints store as their head. Layers from number `layers` on, and those
    called mtp, guess tokens ahead: an engine loads them only where it is asked to speculate."""
    sizes: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    for tensor in tensors:
        if not (tied and tensor.name == "lm_head.weight") and not _guesses(tensor.name, layers):
            sizes[tensor.dtype] += tensor.bytes
            elements[tensor.dtype] += tensor.elements
    return Checkpoint(dict(sizes), dict(elements))


def _guesses(name: str, layers: int | None) -> bool:
    if name.startswith(("mtp.", "model.mtp")):
        return True
    number = re.match(r"model\.layers\.(\d+)\.", name)
    return layers is not None and number is not None and int(number[1]) >= layers


def _files(folder: Path) -> list[Path]:
    """The files that make up the model, in order of name. Some checkpoints hold a second copy in
    another layout: the index, or else the usual name, selects one."""
    index = folder / INDEX
    if index.exists():
        try:
            files = [folder / name for name in files_of_index(index.read_bytes())]
        except ValueError as error:
            raise SpecError(f"{index} {error}: download the checkpoint again") from error
    else:
        files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    missing = [path.name for path in files if not path.exists()]
    if missing or not files:
        raise NotFound(f"{folder} has no {missing[0] if missing else '*.safetensors file'}")
    return files


def files_of_index(index: bytes) -> list[str]:
    """The names of the files that the index of a checkpoint lists, in order. Raises ValueError, the
    second half of a sentence, for an index of another form, and for a name that leads out of the
    checkpoint's folder."""
    try:
        names = set(json.loads(index)["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("is no index of safetensors files") from None
    for name in names:
        if not isinstance(name, str) or FILE_NAME.fullmatch(name) is None:
            raise ValueError(f"lists {str(name)[:60]!r}, which is no name of a file beside it")
    return sorted(names)


def _tensors(files: list[Path]) -> Iterator[Tensor]:
    for path in files:
        with path.open("rb") as file:
            header = _header(file, path)
        yield from tensors_of(header, path)


def tensors_of(header: Mapping[str, Any], file: Path | str) -> Iterator[Tensor]:
    """The tensors that the header of a safetensors `file` lists. Raises SpecError for one without
    sizes."""
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        try:
            count = 1
            for length in tensor["shape"]:
                count *= int(length)
            start, end = tensor["data_offsets"]
            yield Tensor(name, str(tensor["dtype"]), count, int(end) - int(start))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"{file} has no sizes for its tensor {name}") from error


def _header(file: BinaryIO, path: Path) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    raw = file.read(length) if length <= HEADER_LIMIT else b""
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise SpecError(f"{path} is not a complete safetensors file: download it again")
    return header
