import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import NotFound, SpecError
from journal.theory.checkpoint import read_checkpoint

Tensors = dict[str, tuple[str, list[int], int]]


def write(path: Path, tensors: Tensors) -> None:
    """A safetensors file whose header names `tensors` (dtype, shape, bytes)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(at))


def test_bytes_and_elements_by_dtype(tmp_path: Path) -> None:
    write(
        tmp_path / "model.safetensors",
        {
            "a": ("F16", [4, 8], 64),
            "a.qweight": ("I32", [4], 16),
            "norm": ("F32", [], 4),
            "b": ("F16", [2], 4),
        },
    )
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.bytes_by_dtype == {"F16": 68, "I32": 16, "F32": 4}
    assert checkpoint.elements_by_dtype == {"F16": 34, "I32": 4, "F32": 1}
    assert checkpoint.bytes == 88
    assert checkpoint.bytes_in(None) == 88
    assert checkpoint.bytes_in(2) == 2 * (34 + 1) + 16  # what is packed stays as it is


def test_the_index_says_which_files_are_meant(tmp_path: Path) -> None:
    write(tmp_path / "consolidated.safetensors", {"copy": ("F16", [50], 100)})
    write(tmp_path / "model-1.safetensors", {"a": ("F16", [5], 10)})
    write(tmp_path / "model-2.safetensors", {"b": ("F16", [1], 2)})
    assert read_checkpoint(tmp_path).bytes == 12
    weights = {"weight_map": {"a": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(weights))
    assert read_checkpoint(tmp_path).bytes == 10


def test_other_names_are_read_where_there_is_no_usual_one(tmp_path: Path) -> None:
    write(tmp_path / "gptq_model-4bit-128g.safetensors", {"a": ("I32", [5], 20)})
    assert read_checkpoint(tmp_path).bytes == 20


def test_a_copy_of_the_embedding_is_left_out_when_tied(tmp_path: Path) -> None:
    write(
        tmp_path / "model.safetensors",
        {"lm_head.weight": ("F16", [5], 10), "model.embed_tokens.weight": ("F32", [5], 20)},
    )
    assert read_checkpoint(tmp_path).bytes == 30
    assert read_checkpoint(tmp_path, tied=True).bytes_by_dtype == {"F32": 20}


def test_layers_that_guess_ahead_are_left_out(tmp_path: Path) -> None:
    names = ("model.layers.0.w", "model.layers.11.w", "model.layers.12.w", "mtp.w", "model.mtp.w")
    sizes = {name: ("F16", [2**number], 2 * 2**number) for number, name in enumerate(names)}
    write(tmp_path / "model.safetensors", sizes)
    assert read_checkpoint(tmp_path, layers=12).elements_by_dtype == {"F16": 1 + 2}
    assert read_checkpoint(tmp_path, layers=11).elements_by_dtype == {"F16": 1}
    assert read_checkpoint(tmp_path).elements_by_dtype == {"F16": 1 + 2 + 4}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no \*\.safetensors file"):
        read_checkpoint(tmp_path)
    weights = {"weight_map": {"a": "model-7.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(weights))
    with pytest.raises(NotFound, match=r"no model-7\.safetensors"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("index", ["not json", "{}", '{"weight_map": 3}'])
def test_a_broken_index_is_an_error(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(SpecError, match="is no index"):
        read_checkpoint(tmp_path)


@given(raw=st.binary(max_size=64))
def test_a_broken_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(SpecError, match=r"is not a complete safetensors file"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "tensor", [{}, {"dtype": "F16", "shape": [1], "data_offsets": [0]}, 3, {"shape": None}]
)
def test_a_tensor_without_sizes_is_an_error(tmp_path: Path, tensor: object) -> None:
    raw = json.dumps({"odd": tensor}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw)
    with pytest.raises(SpecError, match="tensor odd"):
        read_checkpoint(tmp_path)
