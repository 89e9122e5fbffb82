import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.theory.architecture import Architecture, architecture
from journal.theory.memory import (
    BYTES_PER_WEIGHT,
    bytes_per_weight,
    kv_bytes,
    kv_bytes_per_token,
    longest_that_fits,
    sequences_that_fit,
    tokens_that_fit,
    weight_bytes,
)
from journal.theory.model_table import MODELS, find_model

GIB = 2**30


def sized(name: str) -> Architecture:
    return find_model(name).architecture


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Mistral-7B-Instruct-v0.2", 131_072),
        ("Meta-Llama-3-8B", 131_072),
        ("Llama-2-7b-hf", 524_288),
        ("SmolLM2-135M", 23_040),
        ("Llama-3.1-70B", 327_680),
        ("Qwen2.5-7B", 57_344),
    ],
)
def test_kv_bytes_of_a_token(name: str, size: int) -> None:
    assert kv_bytes_per_token(sized(name)) == size
    assert kv_bytes_per_token(sized(name), 1) == size / 2


def test_the_pool_that_vllm_fills_agrees_with_the_formula() -> None:
    """vLLM 0.32 on the CPU, SmolLM2-135M, 2 GiB: it says 93,184 tokens, in blocks of 16."""
    assert tokens_that_fit(sized("SmolLM2-135M"), 2 * GIB) // 128 * 128 == 93_184


def test_mla_keeps_a_latent_vector() -> None:
    deepseek_v2 = {
        "model_type": "deepseek_v2",
        "num_hidden_layers": 60,
        "hidden_size": 5120,
        "num_attention_heads": 128,
        "vocab_size": 102400,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
    }
    assert kv_bytes_per_token(architecture(deepseek_v2)) == 60 * (512 + 64) * 2


def test_a_window_bounds_the_cache() -> None:
    model = sized("Mistral-7B-v0.1")
    assert kv_bytes(model, 1000) == 1000 * 131_072
    assert kv_bytes(model, 4096) == kv_bytes(model, 32768) == 4096 * 131_072


def test_a_window_in_every_second_layer_bounds_half_of_it() -> None:
    model = sized("gemma-2-9b")
    layer = 2 * 8 * 256 * 2
    assert kv_bytes(model, 8192) == layer * (21 * 8192 + 21 * 4096)


@pytest.mark.parametrize(
    ("name", "precision", "size"),
    [
        (
            "Mistral-7B-Instruct-v0.2",
            "fp16",
            14_483_464_192,
        ),  # as its index says
        ("Mistral-7B-Instruct-v0.2", "awq", 4.15e9),  # TheBloke's AWQ build, as its page says
        ("Meta-Llama-3-8B", "fp16", 16_060_522_496),
        ("Mixtral-8x7B-v0.1", "fp16", 93.4e9),
    ],
)
def test_weights(name: str, precision: str, size: float) -> None:
    assert weight_bytes(sized(name), precision) == pytest.approx(size, rel=0.002)


def test_packing_leaves_embedding_and_head_alone() -> None:
    model = sized("Llama-3.2-1B")  # a fifth of it is one table
    assert weight_bytes(model, "awq") > 0.35 * weight_bytes(model)
    sizes = [weight_bytes(model, precision) for precision in BYTES_PER_WEIGHT]
    assert sizes[:4] == sorted(sizes[:4], reverse=True)


def test_single_precision_takes_four_bytes_for_every_weight() -> None:
    model = sized("Mistral-7B-Instruct-v0.2")
    assert weight_bytes(model, "fp32") == 4 * 7_241_732_096
    assert weight_bytes(model, "fp16") == 2 * 7_241_732_096


def test_nothing_fits_in_nothing() -> None:
    model = sized("SmolLM2-135M")
    for pool in (0, -5 * GIB):
        assert tokens_that_fit(model, pool) == 0
        assert sequences_that_fit(model, pool, 100) == 0
        assert longest_that_fits(model, pool, 1) == 0


models = st.sampled_from(MODELS).map(lambda model: model.architecture)


@given(models, st.integers(0, 80 * GIB), st.integers(1, 300))
def test_the_longest_that_fits_does_fit_and_a_block_more_does_not(
    model: Architecture, pool: int, sequences: int
) -> None:
    longest = longest_that_fits(model, pool, sequences)
    assert sequences * kv_bytes(model, longest) <= pool
    limit = model.context or 0
    if longest + 16 <= limit:
        more = sequences * kv_bytes(model, longest + 16)
        assert more > pool or model.window is not None
        if model.window is None or longest + 16 < model.window:
            assert more > pool
    if longest:
        assert sequences_that_fit(model, pool, longest) >= sequences


@given(models, st.integers(1, 200_000), st.integers(1, 200_000))
def test_more_tokens_never_take_less(model: Architecture, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert kv_bytes(model, fewer) <= kv_bytes(model, more)
    assert kv_bytes(model, more) <= more * kv_bytes_per_token(model)


def packed(**packing: object) -> Architecture:
    config = find_model("Mistral-7B-Instruct-v0.2").config
    return architecture({**config, "quantization_config": packing})


def test_a_checkpoint_of_its_own_bits_and_groups() -> None:
    usual = weight_bytes(packed(quant_method="gptq", bits=4, group_size=128), "gptq")
    assert usual == weight_bytes(sized("Mistral-7B-Instruct-v0.2"), "gptq")
    finer = weight_bytes(packed(quant_method="gptq", bits=4, group_size=32), "gptq")
    coarse = weight_bytes(packed(quant_method="gptq", bits=8, group_size=-1), "gptq")
    assert usual < finer < coarse
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert coarse - weight_bytes(sized("Mistral-7B-Instruct-v0.2"), "fp16") == -linear
    assert bytes_per_weight(packed(quant_method="bitsandbytes"), "bitsandbytes") == 0.5625


def test_a_precision_that_nobody_knows() -> None:
    with pytest.raises(SpecError, match="'modelopt_fp4' is not known"):
        weight_bytes(packed(quant_method="modelopt_fp4"), "modelopt_fp4")
