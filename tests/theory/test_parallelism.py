"""A model on several GPUs, against counts by hand and the rules of vLLM."""

import pytest

from journal.errors import SpecError
from journal.theory.architecture import architecture, parameters
from journal.theory.memory import kv_bytes, weight_bytes
from journal.theory.model_table import find_model
from journal.theory.parallelism import check_sharing, layers_by_stage, piece_weight_bytes, pieces

# A layer: 4 x 64 x 64 of attention (of keys and values a quarter: 2 of 8 heads), 3 x 64 x 96 of
# the MLP, two norms of 64; the embedding and the head are 100 x 64 each, the last norm 64.
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 6,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 0,
}
SMALL = architecture(CONFIG)
LAYER = 2 * 64 * 64 + 2 * 64 * 16 + 3 * 64 * 96
TABLE = 100 * 64
OTHER = 6 * 2 * 64 + 64


@pytest.mark.parametrize(
    ("layers", "parts", "dealt"),
    [
        (32, 1, [32]),
        (32, 2, [16, 16]),
        (32, 3, [11, 11, 10]),
        (30, 4, [7, 8, 8, 7]),
        (5, 4, [1, 1, 2, 1]),
        (7, 4, [2, 2, 2, 1]),
    ],
)
def test_layers_that_are_left_over_go_to_the_last_stages_but_one(
    layers: int, parts: int, dealt: list[int]
) -> None:
    assert layers_by_stage(layers, parts) == dealt


def test_the_tables_are_at_the_ends_and_a_stage_between_holds_layers_alone() -> None:
    first, middle, last = (piece_weight_bytes(SMALL, piece) for piece in pieces(SMALL, 1, 3))
    layers = 2 * (2 * LAYER + OTHER / 3)
    assert middle == round(layers)
    assert first == last == round(layers + 2 * TABLE)
    assert sum((first, middle, last)) == pytest.approx(weight_bytes(SMALL), abs=3)


def test_a_head_that_is_the_embedding_is_held_at_both_ends() -> None:
    tied = architecture(CONFIG | {"tie_word_embeddings": True})
    first, middle, last = (piece_weight_bytes(tied, piece) for piece in pieces(tied, 1, 3))
    assert first == last == middle + 2 * TABLE
    (alone,) = pieces(tied, 1, 1)
    assert piece_weight_bytes(tied, alone) == weight_bytes(tied)


def test_matrices_and_tables_are_cut_and_norms_are_on_every_gpu() -> None:
    (half,) = pieces(SMALL, 2, 1)
    cut = 6 * LAYER + 2 * TABLE
    assert piece_weight_bytes(SMALL, half) == 2 * (cut // 2 + OTHER)
    assert piece_weight_bytes(SMALL, half, "fp32") == 4 * (cut // 2 + OTHER)
    packed = 6 * LAYER // 2 * 1 + 2 * (TABLE + OTHER)
    assert piece_weight_bytes(SMALL, half, "fp8") == packed


def test_gpus_that_outnumber_the_heads_of_keys_hold_copies_of_them() -> None:
    whole = kv_bytes(SMALL, 1000)
    parts = [kv_bytes(next(pieces(SMALL, n, 1)).cache, 1000) for n in (1, 2, 4, 8)]
    assert parts == [whole, whole // 2, whole // 2, whole // 2]


def test_a_stage_has_its_share_of_the_layers_with_a_window() -> None:
    gemma = find_model("gemma-2-9b").architecture  # 21 of 42 layers
    assert [piece.cache.windowed_layers for piece in pieces(gemma, 1, 3)] == [7, 7, 7]


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_heads_that_divide_are_shared_out(gpus: int) -> None:
    check_sharing("small", SMALL, gpus, 6)


@pytest.mark.parametrize("gpus", [3, 5, 6, 16])
def test_heads_that_do_not_divide_are_refused_with_those_that_would(gpus: int) -> None:
    with pytest.raises(SpecError, match=rf"tensor_parallel {gpus} cannot .*: take 1, 2, 4 or 8$"):
        check_sharing("small", SMALL, gpus, 1)


def test_columns_that_do_not_divide_are_refused() -> None:
    odd = architecture(CONFIG | {"intermediate_size": 98})
    check_sharing("odd", odd, 2, 1)
    with pytest.raises(SpecError, match="98 columns of odd: take 1 or 2"):
        check_sharing("odd", odd, 4, 1)


def test_one_way_only_is_no_list() -> None:
    lone = architecture(CONFIG | {"num_attention_heads": 1, "num_key_value_heads": 1})
    with pytest.raises(SpecError, match=r": take 1$"):
        check_sharing("lone", lone, 2, 1)


def test_heads_of_keys_have_to_divide_too_but_for_a_latent_vector() -> None:
    uneven = CONFIG | {"num_attention_heads": 12, "num_key_value_heads": 3, "hidden_size": 96}
    check_sharing("uneven", architecture(uneven), 3, 1)
    with pytest.raises(SpecError, match="12 attention heads"):
        check_sharing("uneven", architecture(uneven), 2, 1)
    latent = {"model_type": "deepseek_v2", "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    check_sharing("latent", architecture(uneven | latent), 2, 1)


def test_stages_are_at_most_as_many_as_layers() -> None:
    check_sharing("small", SMALL, 1, 6)
    with pytest.raises(SpecError, match="7 is more stages than small has layers"):
        check_sharing("small", SMALL, 1, 7)
    assert parameters(SMALL).other == OTHER


def test_a_model_without_attention_is_cut_by_its_columns() -> None:
    mamba = architecture({"model_type": "mamba"})
    check_sharing("mamba", mamba, 4, 1)
    (half,) = pieces(mamba, 2, 1)
    assert 2 * half.cache.states[1] == mamba.states[1] > 0
