"""What quantization_configs of various tools say of a weight, and of the matrices left as they
are."""

from typing import Any

import pytest

from journal.theory.packing import packing


def groups(**weights: object) -> dict[str, Any]:
    return {"config_groups": {"group_0": {"weights": weights}}}


COMPRESSED: dict[str, Any] = {"quant_method": "compressed-tensors"}
MODELOPT: dict[str, Any] = {"quant_method": "modelopt"}


@pytest.mark.parametrize(
    ("config", "name", "weight_bytes"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 0.5 + 2.5 / 128),
        ({"quant_method": "GPTQ_marlin", "bits": 8, "group_size": 32}, "gptq", 1 + 3 / 32),
        ({"quant_method": "gptq", "bits": 8, "group_size": 0}, "gptq", 1.0),
        ({"quant_method": "gptq", "group_size": 128}, "gptq", None),
        ({"quant_method": "auto-round", "weight_bits": 2}, "auto-round", 0.25),
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, "fp8", 1 + 4 / (128 * 64)),
        ({"quant_method": "fp8", "weight_block_size": [128, "all"]}, "fp8", 1.0),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "fp8", 1.0),
        ({"quant_method": "mxfp4"}, "mxfp4", 0.5 + 1 / 32),
        ({"quant_method": "bnb"}, "bitsandbytes", 0.5 + 4 / 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes", 1.0),
        (
            COMPRESSED | groups(num_bits=4, type="int", group_size=128),
            "gptq",
            0.5 + 2 / 128,  # the zero point of a symmetric group is known
        ),
        (
            COMPRESSED | groups(num_bits=4, type="int", group_size=64, symmetric=False),
            "gptq",
            0.5 + 2.5 / 64,
        ),
        (COMPRESSED | groups(num_bits=8, type="int", strategy="channel"), COMPRESSED, 1.0),
        (COMPRESSED | groups(num_bits=8, type="float"), "fp8", 1.0),
        (
            COMPRESSED | groups(num_bits=8, type="float", block_structure=[128, 128]),
            "fp8",
            1 + 4 / 128**2,
        ),
        (COMPRESSED | groups(num_bits=4, type="float"), COMPRESSED, 0.5 + 1 / 16),
        (COMPRESSED | groups(num_bits=4, type="float", group_size=32), COMPRESSED, 0.5 + 1 / 32),
        (COMPRESSED | {"config_groups": {"a": 1, "b": {"weights": None}}}, COMPRESSED, None),
        (MODELOPT | {"quant_algo": "NVFP4"}, MODELOPT, 0.5 + 1 / 16),
        (MODELOPT | {"quantization": {"quant_algo": "W4A16_NVFP4"}}, MODELOPT, 0.5 + 1 / 16),
        (MODELOPT | {"quant_algo": "FP8"}, "fp8", 1.0),
        (MODELOPT | {"quantization": {"quant_algo": "FP8_PB_WO"}}, "fp8", 1.0),
        (MODELOPT | {"quant_algo": "W4A16_AWQ"}, MODELOPT, 0.5 + 2 / 128),
        (MODELOPT, MODELOPT, None),
        ({"quant_algo": "FP8"}, "fp8", 1.0),
    ],
)
def test_a_packed_weight_takes_its_bits_and_its_share_of_the_scales(
    config: dict[str, Any], name: str | dict[str, Any], weight_bytes: float | None
) -> None:
    packed = packing(config)
    assert packed is not None
    assert packed.name == (name if isinstance(name, str) else name["quant_method"])
    assert packed.weight_bytes == weight_bytes


def test_a_config_that_names_no_method_packs_nothing() -> None:
    assert packing({}) is None
    assert packing({"bits": 4}) is None


@pytest.mark.parametrize(
    ("left_out", "unpacked"),
    [
        ({"ignore": ["lm_head"]}, set()),
        ({"ignore": ["re:.*self_attn.*"]}, {"attention"}),
        ({"ignore": ["re:self_attn.*"]}, set()),  # such a pattern is one of the whole name
        ({"ignore": ["re:(", "mlp.down_proj"]}, {"mlp"}),
        ({"modules_to_not_convert": ["self_attn"]}, {"attention"}),
        ({"modules_to_not_convert": ["model.layers.3.self_attn.o_proj"]}, {"attention"}),
        ({"modules_to_not_convert": ["model.layers.2", "layers.30"]}, set()),
        (
            {"exclude_modules": ["model.layers.3"]},
            {"attention", "state", "mlp", "experts", "shared"},
        ),
        ({"exclude_modules": ["*shared_expert*"]}, {"shared"}),
        ({"exclude_modules": ["layers.3.mlp.shared*"]}, {"shared"}),
        ({"quantization": {"exclude_modules": ["model*linear_attn*"]}}, {"state"}),
        ({"ignored_layers": ["mlp.gate_proj"], "ignore": "all"}, {"mlp"}),
        ({"ignore": ["block_sparse_moe"], "ignored_layers": ["mamba"]}, {"experts", "state"}),
    ],
)
def test_matrices_that_a_config_leaves_out_stay_as_they_are(
    left_out: dict[str, Any], unpacked: set[str]
) -> None:
    packed = packing({"quant_method": "fp8", **left_out})
    assert packed is not None
    places = ("attention", "state", "mlp", "experts", "shared")
    assert {place for place in places if not packed.packs(place, 3)} == unpacked


def test_mxfp4_packs_experts_alone() -> None:
    only = packing({"quant_method": "mxfp4"})
    assert only is not None
    assert only.packs("experts", 0)
    assert not only.packs("attention", 0)
