from dataclasses import replace

import pytest

from journal.records.engine import EngineFacts, GpuRates
from journal.records.experiment import Engine
from journal.theory.gpu_table import find_gpu
from journal.theory.memory import weight_bytes
from journal.theory.model_table import find_model
from journal.theory.predictions import served_model
from journal.theory.roofline import decode_floor, prefill_floor

MISTRAL = find_model("Mistral-7B-Instruct-v0.2")
FACTS = EngineFacts(config=MISTRAL.config, card="NVIDIA L40S")
ENGINE = Engine(model="mistral")


def test_a_plain_model_on_a_known_gpu() -> None:
    prediction = served_model(FACTS, ENGINE)
    assert prediction is not None
    assert prediction.kv_bytes_per_token == 131_072
    assert prediction.weights_bytes == 2 * MISTRAL.published
    gpu, model = find_gpu("L40S"), MISTRAL.architecture
    assert prediction.ttft_floor_s(512) == prefill_floor(model, gpu, prompt_tokens=512).seconds
    step = decode_floor(model, gpu, batch=8, context=512)
    assert prediction.tpot_floor_s(8, 512) == step.seconds


@pytest.mark.parametrize(
    ("facts", "engine", "kv_bytes"),
    [
        ({"dtype": "bfloat16"}, {}, 131_072),
        ({"dtype": "float32"}, {}, 262_144),
        ({}, {"dtype": "float32"}, 262_144),
        (
            {"dtype": "bfloat16"},
            {"dtype": "float32"},
            131_072,
        ),  # as logged, not as configured
        ({"kv_cache_dtype": "auto"}, {}, 131_072),
        ({"kv_cache_dtype": "fp8_e4m3"}, {}, 65_536),
        ({"kv_cache_dtype": "bfloat16", "dtype": "float32"}, {}, 131_072),
    ],
)
def test_the_element_of_the_kv_cache(
    facts: dict[str, str], engine: dict[str, str], kv_bytes: int
) -> None:
    prediction = served_model(replace(FACTS, **facts), replace(ENGINE, **engine))
    assert prediction is not None
    assert prediction.kv_bytes_per_token == kv_bytes


@pytest.mark.parametrize(
    ("packing", "facts", "configured", "precision"),
    [
        ({}, {}, None, "fp16"),
        ({}, {"dtype": "float32"}, None, "fp32"),
        ({}, {}, "fp8", "fp8"),  # packed while it is loaded
        ({}, {"quantisation": "bitsandbytes"}, None, "bitsandbytes"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, {}, "awq_marlin", "awq"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, {}, None, "gptq"),
    ],
)
def test_the_dtype_in_which_weights_are_held_is_known(
    packing: dict[str, object], facts: dict[str, str], configured: str | None, precision: str
) -> None:
    config = {**MISTRAL.config, "quantization_config": packing}
    packed = replace(FACTS, config=config, **facts)
    prediction = served_model(packed, replace(ENGINE, quantisation=configured))
    assert prediction is not None
    assert prediction.precision == precision
    assert prediction.weights_bytes == weight_bytes(MISTRAL.architecture, precision)


def test_gpus_share_the_work_and_copy_heads_they_cannot_split() -> None:
    one, four, many = (
        served_model(FACTS, replace(ENGINE, tensor_parallel=gpu_count), gpu_count)
        for gpu_count in (1, 4, 16)
    )
    assert one is not None and four is not None and many is not None
    assert one.kv_bytes_per_token == four.kv_bytes_per_token
    assert many.kv_bytes_per_token == 2 * one.kv_bytes_per_token  # 8 heads on 16 GPUs
    assert many.kv_bytes_per_token_of_a_gpu == one.kv_bytes_per_token / 8
    assert four.ttft_floor_s(512) == (one.ttft_floor_s(512) or 0) / 4
    assert four.tpot_floor_s(1, 1) == pytest.approx((one.tpot_floor_s(1, 1) or 0) / 4)
    latent = {**MISTRAL.config, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    mla = served_model(replace(FACTS, config=latent), replace(ENGINE, tensor_parallel=2), 2)
    assert mla is not None
    assert mla.kv_bytes_per_token == 2 * 32 * 576 * 2


def test_a_token_passes_the_stages_of_a_pipeline_one_after_the_other() -> None:
    one, staged = (
        served_model(FACTS, ENGINE),
        served_model(FACTS, replace(ENGINE, pipeline_parallel=4), 4),
    )
    assert one is not None and staged is not None
    assert staged.kv_bytes_per_token == one.kv_bytes_per_token
    assert staged.kv_bytes_per_token_of_a_gpu == one.kv_bytes_per_token / 4
    uneven = served_model(FACTS, replace(ENGINE, pipeline_parallel=3), 3)  # 11 layers of 32 at most
    assert uneven is not None
    assert uneven.kv_bytes_per_token_of_a_gpu == one.kv_bytes_per_token * 11 / 32
    assert staged.tpot_floor_s(1, 64) == one.tpot_floor_s(1, 64)
    assert staged.tpot_floor_s(8, 64) == one.tpot_floor_s(2, 64)


def test_a_gpu_that_is_not_known_here_may_be_described() -> None:
    l40s = find_gpu("L40S")
    rates = GpuRates(bandwidth_gb_per_s=l40s.bandwidth / 1e9, fp16_tflops=l40s.fp16_flops / 1e12)
    known, given = (
        served_model(facts, ENGINE)
        for facts in (FACTS, replace(FACTS, card="Unheard Of 9000", card_rates=rates))
    )
    assert known is not None and given is not None
    assert given.ttft_floor_s(512) == known.ttft_floor_s(512)
    assert given.tpot_floor_s(8, 512) == known.tpot_floor_s(8, 512)


def test_what_is_not_known_is_absent() -> None:
    assert served_model(EngineFacts(), ENGINE) is None
    assert served_model(EngineFacts(config={"model_type": "bert"}), None) is None
    for facts in (replace(FACTS, card=None), replace(FACTS, card="Unheard Of 9000")):
        prediction = served_model(facts, ENGINE)
        assert prediction is not None
        assert prediction.ttft_floor_s(1) is prediction.tpot_floor_s(1, 1) is None
    others = served_model(FACTS, None)  # how someone else's server holds its weights is not known
    assert others is not None
    assert others.kv_bytes_per_token == 131_072
    assert others.weights_bytes is others.ttft_floor_s(1) is None
    strange = served_model(
        replace(FACTS, config={**MISTRAL.config, "model_type": "mamba9"}), ENGINE
    )
    assert strange is not None
    assert strange.kv_bytes_per_token == 131_072
    assert strange.weights_bytes is strange.ttft_floor_s(1) is None
