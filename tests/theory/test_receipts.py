"""Sizes by theory against what engines reported in public: tests/theory/memory_receipts.json."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from journal.theory.architecture import architecture, parameters
from journal.theory.memory import kv_bytes, kv_bytes_per_token, weight_bytes
from journal.theory.parallelism import piece_weight_bytes, pieces

HERE = Path(__file__).parent
GIB = 2**30
RECEIPTS: list[dict[str, Any]] = json.loads((HERE / "memory_receipts.json").read_text())
CONFIGS: dict[str, dict[str, Any]] = json.loads((HERE / "public_configs.json").read_text())
NO_RATE = {"T49"}  # its token count is that of the longest sequences, of a length not stated


def weights_error(receipt: dict[str, Any]) -> float:
    """The relative error of the weights on the fullest GPU."""
    model = architecture(receipt["config"])
    cut = pieces(model, receipt["tensor_parallel"], receipt["pipeline_parallel"])
    precision = model.quantisation or "fp16"
    most = max(piece_weight_bytes(model, piece, precision) for piece in cut)
    return most / (receipt["reported_weights_gib_per_gpu"] * GIB) - 1


def test_weights_are_those_that_engines_report() -> None:
    errors = {
        receipt["id"]: weights_error(receipt)
        for receipt in RECEIPTS
        if receipt["reported_weights_gib_per_gpu"]
    }
    assert len(errors) > 20
    assert median(map(abs, errors.values())) < 0.005
    assert max(map(abs, errors.values())) < 0.02, errors


@pytest.mark.parametrize(
    "receipt",
    [
        receipt
        for receipt in RECEIPTS
        if receipt["reported_kv_pool_gib_per_gpu"] and receipt["reported_kv_pool_tokens"]
        and receipt["id"] not in NO_RATE
    ],
    ids=lambda receipt: receipt["id"],
)  # fmt: skip
def test_a_token_takes_what_engines_report(receipt: dict[str, Any]) -> None:
    model = architecture(receipt["config"])
    cut = pieces(model, receipt["tensor_parallel"], receipt["pipeline_parallel"])
    most = max(kv_bytes_per_token(piece.cache, receipt["kv_element_bytes"]) for piece in cut)
    pool, tokens = receipt["reported_kv_pool_gib_per_gpu"], receipt["reported_kv_pool_tokens"]
    assert most == pytest.approx(pool * GIB / tokens, rel=0.005)


def test_a_model_whose_layers_differ_has_no_rate() -> None:
    receipt = next(one for one in RECEIPTS if one["id"] == "T49")
    assert architecture(receipt["config"]).mixed


@pytest.mark.parametrize("name", CONFIGS)
def test_every_public_config_is_answered(name: str) -> None:
    model = architecture(CONFIGS[name])
    assert weight_bytes(model, model.quantisation or "fp16") > 0
    assert kv_bytes(model, 1024) > 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("falcon7", 6.92),
        ("gemma3_4_as_published", 4.30),
        ("glm45air", 106.85),
        ("jamba", 51.57),
        ("mixtral", 46.70),
        ("q3next", 79.67),
        ("qwen25vl3", 3.75),
        ("small31", 24.01),
        ("v2lite", 15.71),
    ],
)
def test_public_configs_count_to_their_published_parameters(name: str, billions: float) -> None:
    assert parameters(architecture(CONFIGS[name])).total == pytest.approx(billions * 1e9, rel=0.005)
