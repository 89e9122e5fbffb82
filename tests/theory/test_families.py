"""Parameters of every family against the number that the transformers library counts in the model
that its own default config describes."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.errors import SpecError
from journal.theory.architecture import architecture, parameters
from journal.theory.families import FAMILIES
from journal.theory.memory import kv_bytes, kv_bytes_per_token

HERE = Path(__file__).parent
# transformers 5.19.0: AutoModelForCausalLM.from_config of the type's default config on the device
# "meta", tied parameters once.
COUNTED: dict[str, int] = json.loads((HERE / "counted_by_transformers.json").read_text())


@pytest.mark.parametrize("kind", COUNTED)
def test_a_family_counts_as_its_library_does(kind: str) -> None:
    count = parameters(architecture({"model_type": kind})).total
    assert count == pytest.approx(COUNTED[kind], rel=1e-5)  # a router's bias is a buffer to some


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
        (
            {"model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 4096,
             "use_sliding_window": True, "max_window_layers": 2},
            "F F S S",
        ),
    ],
)  # fmt: skip
def test_what_the_layers_of_a_family_keep(config: dict[str, Any], layers: str) -> None:
    assert kinds(config) == layers


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


def test_a_state_does_not_grow_with_the_sequence() -> None:
    model = architecture({"model_type": "mamba2"})
    assert kv_bytes_per_token(model) == 0
    assert kv_bytes(model, 10) == kv_bytes(model, 100_000) > 0
    hybrid = architecture({"model_type": "jamba"})
    less, more = kv_bytes(hybrid, 1024), kv_bytes(hybrid, 2048)
    assert more - less == 1024 * kv_bytes_per_token(hybrid)
    assert less > 1024 * kv_bytes_per_token(hybrid)


def test_sizes_that_are_no_sizes_are_refused_in_a_sentence() -> None:
    with pytest.raises(SpecError, match=r"a size in the config\.json of this llama model"):
        architecture({"model_type": "llama", "num_attention_heads": "32"})
    with pytest.raises(SpecError, match="this unnamed model lacks 'num_hidden_layers'"):
        architecture({})
