"""Parameters of every family against the number that the transformers library counts in the model
that its own default config describes."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.errors import SpecError
from journal.theory.architecture import architecture, parameters
from journal.theory.families import FAMILIES, is_named_mixed
from journal.theory.memory import kv_bytes, kv_bytes_per_token

HERE = Path(__file__).parent
# transformers 5.19.0: AutoModelForCausalLM.from_config of the type's default config on the device
# "meta", tied parameters once.
COUNTED: dict[str, int] = json.loads((HERE / "counted_by_transformers.json").read_text())

# As above, of default configs but for these fields.
VARIANTS = json.loads((HERE / "counted_variants.json").read_text())
# As above, of AutoModelForMultimodalLM: the parameters that see and hear beside a small text part.
TOWERS = json.loads((HERE / "counted_towers.json").read_text())
# What an engine loads and that library keeps in buffers, which it does not count: a bias of each
# expert in the routers of sparse layers, a scalar of each layer of Gemma 4. Of Apertus the two
# slopes of each layer are not counted here.
BESIDE = {
    **{"deepseek_v3": 58 * 256, "deepseek_v32": 58 * 256, "glm_moe_dsa": 75 * 256},
    **{"glm4_moe": 45 * 128, "glm4v_moe": 45 * 128, "glm4_moe_lite": 46 * 64},
    **{"minimax_m2": 62 * 256, "solar_open": 48 * 128, "apertus": -32 * 2},
    **dict.fromkeys(("gemma4", "gemma4_text", "gemma4_unified"), 30),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_a_family_counts_as_its_library_does(kind: str) -> None:
    count = parameters(architecture({"model_type": kind})).total
    assert count == COUNTED[kind] + BESIDE.get(kind, 0)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: str(variant["config"]))
def test_a_variant_counts_as_its_library_does(variant: dict[str, Any]) -> None:
    count = parameters(architecture(variant["config"])).total
    assert count == variant["parameters"] + variant.get("beside", 0)


@pytest.mark.parametrize("tower", TOWERS, ids=lambda tower: str(tower["config"]["model_type"]))
def test_a_tower_counts_as_its_library_does(tower: dict[str, Any]) -> None:
    count = parameters(architecture(tower["config"])).tower
    assert count == pytest.approx(
        tower["tower"], rel=2e-4
    )  # its positions and biases are usual ones


def test_speech_is_heard_by_an_encoder_of_whisper_s_form() -> None:
    sizes = {"d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "num_mel_bins": 128}
    heads = {"encoder_attention_heads": 20, "decoder_attention_heads": 20, "vocab_size": 51866}
    inner = {"encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120, "max_source_positions": 1500}
    config = {"model_type": "whisper", "max_target_positions": 448, **sizes, **heads, **inner}
    count = parameters(architecture(config)).total
    assert count == pytest.approx(1_543_490_560, rel=1e-4)  # of AutoModelForSpeechSeq2Seq


def test_the_families_are_those_of_most_open_models() -> None:
    assert len(COUNTED) > 70
    assert len(FAMILIES) > 100


def kinds(config: dict[str, Any]) -> str:
    """A letter for each layer: what it keeps of a sequence."""
    letters = {"full": "F", "sliding": "S", "chunked": "C", "latent": "L", "cross": "X"}
    plan = architecture(config).plan
    return " ".join(
        "".join(letters[cache.kind] for cache in layer.caches) + ("m" if layer.state_bytes else "")
        or "-"
        for layer in plan
    )


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"model_type": "gemma3_text", "num_hidden_layers": 7}, "S S S S S F S"),
        ({"model_type": "gemma2", "num_hidden_layers": 4}, "S F S F"),
        ({"model_type": "cohere2", "num_hidden_layers": 5}, "S S S F S"),
        (
            {"model_type": "gemma3_text", "num_hidden_layers": 4, "sliding_window_pattern": 2},
            "S F S F",
        ),
        ({"model_type": "exaone4", "num_hidden_layers": 4, "sliding_window_pattern": "LG",
          "sliding_window": 4096, "max_position_embeddings": 32768}, "S F S F"),
        ({"model_type": "llama4_text", "num_hidden_layers": 5}, "C C C F C"),
        (
            {"model_type": "jamba", "num_hidden_layers": 9, "attn_layer_period": 4,
             "attn_layer_offset": 2},
            "m m F m m m F m m",
        ),
        ({"model_type": "qwen3_next", "num_hidden_layers": 5}, "m m m F m"),
        (
            {"model_type": "qwen3_next", "num_hidden_layers": 4, "full_attention_interval": 2},
            "m F m F",
        ),
        ({"model_type": "bamba", "num_hidden_layers": 4, "attn_layer_indices": [1]}, "m F m m"),
        (
            {"model_type": "granitemoehybrid", "num_hidden_layers": 3,
             "layer_types": ["mamba", "attention", "mamba"]},
            "m F m",
        ),
        (
            {"model_type": "nemotron_h", "num_hidden_layers": 6,
             "hybrid_override_pattern": "M-M*-E"},
            "m - m F - -",
        ),
        ({"model_type": "falcon_h1", "num_hidden_layers": 2}, "Fm Fm"),
        ({"model_type": "mamba", "num_hidden_layers": 2}, "m m"),
        ({"model_type": "lfm2", "num_hidden_layers": 3, "full_attn_idxs": [2]}, "m m F"),
        (
            {"model_type": "minimax_text_01", "num_hidden_layers": 3, "hidden_size": 64,
             "num_attention_heads": 4, "vocab_size": 10, "attn_type_list": [0, 0, 1]},
            "m m F",
        ),
        (
            {"model_type": "kimi_linear", "num_hidden_layers": 4,
             "linear_attn_config": {"full_attn_layers": [4], "kda_layers": [1, 2, 3],
                                    "num_heads": 4, "head_dim": 16,
                                    "short_conv_kernel_size": 4}},
            "m m m L",
        ),
        (
            {"model_type": "gemma3n_text", "num_hidden_layers": 10, "num_kv_shared_layers": 4,
             "intermediate_size": 64},
            "S S S S F S - - - -",
        ),
        ({"model_type": "deepseek_v2", "num_hidden_layers": 2}, "L L"),
        ({"model_type": "hunyuan_v1_dense", "num_hidden_layers": 5, "use_cla": True}, "F - F - F"),
        (
            {"model_type": "hunyuan_v1_dense", "num_hidden_layers": 5, "use_cla": True,
             "cla_share_factor": 3},
            "F - - F -",
        ),
        (
            {"model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 4096,
             "use_sliding_window": True, "max_window_layers": 2},
            "F F S S",
        ),
    ],
)  # fmt: skip
def test_what_the_layers_of_a_family_keep(config: dict[str, Any], layers: str) -> None:
    assert kinds(config) == layers


def inner(config: dict[str, Any]) -> str:
    """A letter for each layer: (d)ense, or of (e)xperts."""
    letters = {"mlp": "d", "experts": "e"}
    plan = architecture(config).plan
    return " ".join(
        next((letters[part.place] for part in layer.matrices[::-1] if part.place in letters), "-")
        for layer in plan
    )


DEEPSEEK = {"model_type": "deepseek_v2", "first_k_dense_replace": 1}
ERNIE = {"model_type": "ernie4_5_moe", "moe_num_shared_experts": 0}


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (DEEPSEEK, "d e e e e e"),
        (DEEPSEEK | {"moe_layer_freq": 2}, "d d e d e d"),
        (DEEPSEEK | {"moe_layer_freq": [1, 0, 1, 1]}, "e d e e d d"),
        (DEEPSEEK | {"n_routed_experts": 1}, "d d d d d d"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [0, 3]}, "d e e d e e"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 3}, "d d e d d e"),
        ({"model_type": "qwen3_moe", "moe_layers": [1, 5]}, "d e d d d e"),
        (
            {"model_type": "qwen3_moe", "mlp_layer_types": ["dense", "sparse", "moe"]},
            "d e e e e e",
        ),
        ({"model_type": "llama4_text", "interleave_moe_layer_step": 2}, "d e d e d e"),
        ({"model_type": "jamba", "expert_layer_period": 3, "expert_layer_offset": 2},
         "d d e d d e"),
        (ERNIE | {"moe_layer_interval": 2, "moe_layer_start_index": 1, "moe_layer_end_index": 4},
         "d e d e d d"),
        (ERNIE | {"moe_layer_start_index": [3, 2], "moe_layer_end_index": [5, 5]}, "d d e e e e"),
        (ERNIE | {"moe_layer_start_index": 0, "moe_layer_end_index": -1}, "e e e e e e"),
        (ERNIE | {"moe_layer_start_index": 0, "moe_layer_end_index": 0}, "e d d d d d"),
        ({"model_type": "afmoe", "num_dense_layers": 2}, "d d e e e e"),
        ({"model_type": "glm4_moe_lite", "mlp_layer_types": None}, "d e e e e e"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-E*E-M", "n_routed_experts": 4,
          "mamba_num_heads": 2}, "- d e - e d"),
        ({"model_type": "gemma4_text", "enable_moe_block": False, "num_experts": 4}, "d d d d d d"),
    ],
)  # fmt: skip
def test_the_layers_in_which_a_router_picks_experts(config: dict[str, Any], layers: str) -> None:
    assert inner({"num_hidden_layers": 6, **config}) == layers


def test_a_kind_of_layer_that_nobody_knows_is_refused() -> None:
    config = {"model_type": "llama", "num_hidden_layers": 2, "layer_types": ["folded"] * 2}
    with pytest.raises(SpecError, match="layers of a kind that is not known here \\('folded'\\)"):
        architecture(config)
    strange = {
        "model_type": "new",
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "num_attention_heads": 1,
        "vocab_size": 9,
        "layer_types": ["mamba"],
    }
    with pytest.raises(SpecError, match="'new' models keep a state in some layers"):
        architecture(strange)


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"model_type": "falcon"}, 1),
        ({"model_type": "falcon", "multi_query": False}, 71),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 8}, 8),
        ({"model_type": "gpt_bigcode"}, 1),
        ({"model_type": "gpt2"}, 12),
        ({"model_type": "qwen2", "num_attention_heads": 4, "num_key_value_heads": None}, 4),
    ],
)
def test_the_heads_of_keys_and_values(config: dict[str, Any], heads: int) -> None:
    assert architecture(config).kv_heads == heads


@pytest.mark.parametrize(
    ("kind", "mixed", "window"),
    [
        ("llama", False, None),
        ("deepseek_v2", False, None),
        ("whisper", False, None),  # what is kept of the encoder is no window
        ("gemma3_text", True, 4096),
        ("llama4_text", True, 8192),
        ("mamba2", True, None),
        ("recurrent_gemma", True, 2048),
    ],
)
def test_layers_that_keep_different_spans(kind: str, mixed: bool, window: int | None) -> None:
    model = architecture({"model_type": kind})
    assert (model.mixed, model.window) == (mixed, window)


@pytest.mark.parametrize(
    ("name", "mixed"),
    [
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", True),
        ("google/gemma-3-4b-it", True),
        ("ibm-granite/granite-4.0-h-small", True),
        ("google/gemma-7b", False),
        ("google/gemma-30b", False),
        ("MiniMaxAI/MiniMax-M2", False),
        ("meta-llama/Llama-3.1-8B", False),
    ],
)
def test_the_names_of_some_models_tell_such_layers(name: str, mixed: bool) -> None:
    assert is_named_mixed(name) is mixed


def test_a_state_does_not_grow_with_the_sequence() -> None:
    model = architecture({"model_type": "mamba2"})
    assert kv_bytes_per_token(model) == 0
    assert kv_bytes(model, 10) == kv_bytes(model, 100_000) > 0
    hybrid = architecture({"model_type": "jamba"})
    less, more = kv_bytes(hybrid, 1024), kv_bytes(hybrid, 2048)
    assert more - less == 1024 * kv_bytes_per_token(hybrid)
    assert less > 1024 * kv_bytes_per_token(hybrid)


# The inputs of the convolution that are still needed, in 16 bits, then the state itself: shapes of
# vLLM's MambaStateShapeCalculator.
@pytest.mark.parametrize(
    ("config", "state"),
    [
        (
            {"model_type": "mamba", "intermediate_size": 200, "conv_kernel": 5, "state_size": 24},
            200 * 4 * 2 + 200 * 24 * 2,
        ),
        (
            {"model_type": "jamba", "hidden_size": 96, "mamba_expand": 3, "mamba_d_conv": 3,
             "mamba_d_state": 8, "num_attention_heads": 4, "attn_layer_period": 2,
             "attn_layer_offset": 1},
            288 * 2 * 2 + 288 * 8 * 2,
        ),
        (
            {"model_type": "mamba2", "hidden_size": 128, "expand": 2, "head_dim": 64,
             "num_heads": 4, "state_size": 32, "n_groups": 2, "conv_kernel": 3},
            (256 + 2 * 2 * 32) * 2 * 2 + 4 * 64 * 32 * 2,
        ),
        (
            {"model_type": "nemotron_h", "num_hidden_layers": 2, "hybrid_override_pattern": "M*",
             "mamba_num_heads": 6, "mamba_head_dim": 16, "ssm_state_size": 32, "n_groups": 2,
             "conv_kernel": 4},
            (96 + 2 * 2 * 32) * 3 * 2 + 6 * 16 * 32 * 4,
        ),
        (
            {"model_type": "nemotron_h", "num_hidden_layers": 2, "hybrid_override_pattern": "M*",
             "mamba_num_heads": 6, "mamba_head_dim": 16, "ssm_state_size": 32, "n_groups": 2,
             "conv_kernel": 4, "mamba_ssm_cache_dtype": "bfloat16"},
            (96 + 2 * 2 * 32) * 3 * 2 + 6 * 16 * 32 * 2,
        ),
        (
            {"model_type": "qwen3_next", "linear_num_key_heads": 2, "linear_key_head_dim": 16,
             "linear_num_value_heads": 6, "linear_value_head_dim": 8,
             "linear_conv_kernel_dim": 5, "mamba_ssm_dtype": "float32"},
            (2 * 2 * 16 + 6 * 8) * 4 * 2 + 6 * 8 * 16 * 4,
        ),
        (
            {"model_type": "kimi_linear", "num_hidden_layers": 4,
             "linear_attn_config": {"full_attn_layers": [4], "kda_layers": [1, 2, 3],
                                    "num_heads": 4, "head_dim": 16,
                                    "short_conv_kernel_size": 5}},
            3 * 64 * 4 * 2 + 4 * 16 * 16 * 4,
        ),
        (
            {"model_type": "minimax", "hidden_size": 64, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 8},
            4 * 8 * 8 * 4,
        ),
        (
            {"model_type": "lfm2", "hidden_size": 96, "conv_L_cache": 4, "full_attn_idxs": [1],
             "num_hidden_layers": 2},
            96 * 3 * 2,
        ),
        (
            {"model_type": "recurrent_gemma", "hidden_size": 80, "lru_width": 120,
             "conv1d_width": 5},
            120 * 4 * 2 + 120 * 4,
        ),
    ],
)  # fmt: skip
def test_the_state_of_a_layer_is_as_large_as_the_engine_s(
    config: dict[str, Any], state: int
) -> None:
    assert architecture(config).states[1] == state


def test_sizes_that_are_no_sizes_are_refused_in_a_sentence() -> None:
    with pytest.raises(SpecError, match=r"a size in the config\.json of this llama model"):
        architecture({"model_type": "llama", "num_attention_heads": "32"})
    with pytest.raises(SpecError, match="this unnamed model lacks 'num_hidden_layers'"):
        architecture({})
