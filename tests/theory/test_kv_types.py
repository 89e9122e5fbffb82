"""Bytes of a token in every type of KV cache that is known, and none for others."""

import pytest

from journal.errors import SpecError, UsageError
from journal.host.fit import fit
from journal.theory.architecture import architecture
from journal.theory.kv_types import KV_TYPES, kv_type
from journal.theory.memory import held_state_bytes, kv_bytes, kv_bytes_per_token, tokens_that_fit

LLAMA = architecture({"model_type": "llama", "num_hidden_layers": 2})  # 32 heads of 128
DEEPSEEK = architecture({"model_type": "deepseek_v3", "num_hidden_layers": 2})  # 512 + 64 values
GIB = 2**30


@pytest.mark.parametrize(
    ("name", "of_a_head"),
    [
        ("auto", 2 * 128 * 2),
        ("bfloat16", 2 * 128 * 2),
        ("float32", 2 * 128 * 4),
        ("fp8", 2 * 128),
        ("fp8_e5m2", 2 * 128),
        ("nvfp4", 2 * (64 + 8)),
        ("int4_per_token_head", 2 * (64 + 4)),
        ("int8_per_token_head", 2 * (128 + 4)),
        ("fp8_per_token_head", 2 * (128 + 4)),
    ],
)
def test_a_token_of_one_head(name: str, of_a_head: int) -> None:
    kind = kv_type(name)
    assert kind is not None
    assert kv_bytes_per_token(LLAMA, kind) == 2 * 32 * of_a_head


@pytest.mark.parametrize(
    ("name", "of_a_layer"), [("auto", 1152), ("fp8", 576), ("fp8_ds_mla", 656)]
)
def test_a_latent_vector(name: str, of_a_layer: int) -> None:
    kind = kv_type(name)
    assert kind is not None
    assert kv_bytes_per_token(DEEPSEEK, kind) == 2 * of_a_layer


def test_a_type_that_is_not_known_is_not_taken_for_another() -> None:
    assert kv_type("fp6") is None
    assert kv_type("turboquant_4bit_nc") is None
    assert "fp8" in KV_TYPES
    with pytest.raises(SpecError, match="a KV cache in fp8_ds_mla is not known for layers"):
        kv_bytes_per_token(LLAMA, KV_TYPES["fp8_ds_mla"])
    with pytest.raises(SpecError, match="a KV cache in 'fp6' is not known here: it is auto, "):
        fit("Llama-3.1-8B-Instruct", gpu="L40S", kv_cache_dtype="fp6")


def test_windows_keep_what_a_step_reads_beside_them() -> None:
    gemma = architecture({"model_type": "gemma3_text"})  # 22 of 26 layers look back 4,096 tokens
    still, reading = (kv_bytes(gemma, 32_768, batched_tokens=extra) for extra in (0, 2048))
    layer = 2 * 4 * 256 * 2
    assert reading - still == 24 * layer * 2048  # padded to groups of 4: 24 layers
    assert kv_bytes(gemma, 1024) == 28 * layer * 1024 == 1024 * kv_bytes_per_token(gemma)


def test_tokens_of_a_mixed_model_are_those_of_its_longest_sequences() -> None:
    gemma = architecture({"model_type": "gemma3_text"})
    by_blocks, by_sequences = (
        tokens_that_fit(gemma, 10 * GIB, context=context) for context in (None, 131_072)
    )
    assert by_blocks is not None and by_sequences is not None
    assert by_sequences > 4 * by_blocks
    assert tokens_that_fit(architecture({"model_type": "mamba2"}), GIB) is None


def test_a_state_takes_whole_blocks() -> None:
    hybrid = architecture({"model_type": "qwen3_next"})
    block = 16 * 2 * 2 * 256 * 2
    assert held_state_bytes(hybrid) % (36 * block) == 0
    assert held_state_bytes(LLAMA) == 0


HYBRID = {"model_type": "bamba", "num_hidden_layers": 5, "mamba_n_heads": 8, "mamba_d_head": 16}


def test_groups_of_layers_are_padded_to_the_smallest_kind() -> None:
    """Of 3 and 2 layers an engine makes groups of 2, and pads the 3 to 4."""
    layer = 2 * 8 * 128 * 2
    attends = architecture({**HYBRID, "attn_layer_indices": [0, 1, 2]})
    assert kv_bytes_per_token(attends) == 4 * layer
    keeps = architecture({**HYBRID, "attn_layer_indices": [0, 1]})
    assert kv_bytes_per_token(keeps) == 2 * layer
    page = 16 * layer
    assert keeps.states[1] < 16 * page
    whole = -(-keeps.states[1] // page) * page
    assert (held_state_bytes(attends), held_state_bytes(keeps)) == (2 * whole, 4 * whole)


def test_a_state_that_has_no_blocks_to_share_takes_its_own_bytes() -> None:
    mamba = architecture({"model_type": "mamba", "num_hidden_layers": 3, "intermediate_size": 201})
    assert kv_bytes(mamba, 1000) == 3 * (201 * 3 * 2 + 201 * 16 * 2)


def test_the_engine_s_limits_move_the_room() -> None:
    plain, small, shared, half = (
        fit("Llama-3.1-8B-Instruct", gpu="H100-SXM", **options).places[0].fit.choices[0]  # type: ignore[arg-type]
        for options in ({}, {"max_num_seqs": 16}, {"share": 0.5}, {"kv_cache_dtype": "fp8"})
    )
    assert small.pool_bytes > plain.pool_bytes > shared.pool_bytes
    assert half.kv_bytes * 2 == plain.kv_bytes
    assert half.tokens == pytest.approx(2 * (plain.tokens or 0), abs=2)
    with pytest.raises(UsageError, match="--share 92 is no part of the memory"):
        fit("Llama-3.1-8B-Instruct", gpu="T4", share=92)


def test_users_that_fit_are_told_for_each_context() -> None:
    rooms = fit("Llama-3.1-8B-Instruct", gpu="L40S", batch=8).rooms
    assert [room.context for room in rooms][:2] == [2048, 4096]
    for fewer, more in zip(rooms[1:], rooms, strict=False):
        assert fewer.users <= more.users
        assert fewer.users <= fewer.users_most
