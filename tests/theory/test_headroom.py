import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.theory.architecture import architecture, parameters
from journal.theory.gpu_table import GPU_KINDS, find_gpu
from journal.theory.headroom import headroom
from journal.theory.model_table import MODELS, find_model
from journal.theory.overhead import DRIVER_BYTES, GIB

MISTRAL = find_model("Mistral-7B-Instruct-v0.2").architecture
LLAMA_13B = find_model("Llama-2-13b-hf").architecture


def test_a_7b_model_for_one_user_fits_in_24_gib_unpacked() -> None:
    plan = headroom(MISTRAL, find_gpu("4090"), context=8192, batch=1)
    best = plan.best
    assert best is not None
    assert best.precision == "fp16"
    assert plan.advice.startswith("Take the 16-bit checkpoint: 1 x 8,192 tokens fit")


def test_the_quantised_build_is_taken_under_40_gb() -> None:
    """The field's rule of thumb, out of the arithmetic: 16 users of 8,192 tokens each."""
    for name, unpacked in (("A100 80GB", True), ("A100 40GB", True), ("4090", False)):
        plan = headroom(MISTRAL, find_gpu(name), context=8192, batch=16)
        assert plan.choices[0].fits is unpacked
        assert plan.choices[0].needed_bytes == pytest.approx(34.2 * GIB, rel=0.01)
    small = headroom(LLAMA_13B, find_gpu("L4"), context=4096, batch=1)
    assert small.best is not None
    assert small.best.precision == "fp8"
    assert "The 16-bit checkpoint needs 31.7 GiB for them" in small.advice


def test_a_70b_model_on_one_and_on_several_gpus() -> None:
    model = find_model("Llama-3.1-70B-Instruct").architecture
    h100 = find_gpu("H100 SXM")
    alone = headroom(model, h100, context=8192, batch=4)
    assert [choice.fits for choice in alone.choices] == [False, False, True, True]
    four = headroom(model, h100, context=8192, batch=4, tensor_parallel=4)
    assert all(choice.fits for choice in four.choices)
    for sixteen, quarter in zip(alone.choices, four.choices, strict=True):
        assert quarter.weight_bytes == pytest.approx(sixteen.weight_bytes / 4, rel=0.005)
        assert quarter.kv_bytes == sixteen.kv_bytes / 4
    eight = headroom(model, h100, context=8192, batch=1, tensor_parallel=8, pipeline_parallel=2)
    assert eight.gpu_count == 16
    assert "needs" in headroom(model, 4 * GIB, context=8192, batch=1, tensor_parallel=8).advice
    assert (
        "of each GPU" in headroom(model, 4 * GIB, context=8192, batch=1, tensor_parallel=8).advice
    )


def test_gpus_that_outnumber_the_kv_heads_hold_copies_of_them() -> None:
    model = find_model("Llama-3.1-70B-Instruct").architecture
    eight, sixteen = (
        headroom(model, 80 * GIB, context=8192, batch=1, tensor_parallel=gpu_count).choices[0]
        for gpu_count in (8, 16)
    )
    assert eight.kv_bytes == sixteen.kv_bytes
    assert sixteen.weight_bytes < 0.51 * eight.weight_bytes


def test_the_fullest_stage_decides() -> None:
    """32 layers in 3 stages are 11, 11 and 10: the first stage holds the embeddings as well."""
    model = find_model("Meta-Llama-3-8B").architecture
    alone, plan = (
        headroom(model, 24 * GIB, context=8192, batch=2, pipeline_parallel=stages).choices[0]
        for stages in (1, 3)
    )
    count = parameters(model)
    weights = 2 * ((count.linear + count.other) * 11 / 32 + count.embedding)
    assert plan.weight_bytes == pytest.approx(weights, rel=0.001)
    assert plan.kv_bytes == alone.kv_bytes * 11 / 32


def test_a_precision_without_kernels_does_not_fit() -> None:
    plan = headroom(MISTRAL, find_gpu("T4"), context=2048, batch=1)
    assert [choice.fits for choice in plan.choices] == [False, False, True, True]
    assert plan.choices[1].pool_bytes > plan.choices[1].kv_bytes
    assert plan.advice.startswith("Take the AWQ build")


def test_what_to_change_when_nothing_fits() -> None:
    plan = headroom(LLAMA_13B, find_gpu("L4"), context=4096, batch=4)
    assert plan.best is None
    assert plan.advice == (
        "4 x 4,096 tokens may just fit with the AWQ build (4 bits): the room for the KV cache is"
        " 12.2 GiB to 13.2 GiB, and they need 12.5 GiB."
    )
    more = headroom(LLAMA_13B, find_gpu("L4"), context=4096, batch=5)
    assert "a batch of 5 may grow to 3,184 tokens each; of 4,096 tokens it holds 3." in more.advice


def test_a_gpu_that_is_too_small_at_all() -> None:
    model = find_model("Llama-3.1-70B-Instruct").architecture
    plan = headroom(model, 16 * GIB, context=2048, batch=1)
    assert plan.advice.startswith("It does not fit: even the AWQ build (4 bits) needs ")
    assert plan.advice.endswith("and there are 16 GiB.")
    assert "GPU" not in plan.advice  # there is one
    assert plan.choices[0].sequences == plan.choices[0].longest == 0
    assert plan.choices[0].pool_bytes < 0


def test_a_packed_checkpoint_keeps_its_own_precision() -> None:
    config = find_model("Mistral-7B-Instruct-v0.2").config
    packed = architecture({**config, "quantization_config": {"quant_method": "awq"}})
    assert [
        choice.precision for choice in headroom(packed, 24 * GIB, context=1, batch=1).choices
    ] == ["awq"]
    strange = architecture({**config, "quantization_config": {"quant_method": "new"}})
    assert len(headroom(strange, 24 * GIB, context=1, batch=1).choices) == 4


@given(
    model=st.sampled_from(MODELS).map(lambda model: model.architecture),
    gpu=st.sampled_from(GPU_KINDS),
    context=st.integers(1, 8192),
    batch=st.integers(1, 256),
    tensor=st.sampled_from((1, 2, 4, 8)),
    stages=st.integers(1, 4),
)
def test_the_numbers_of_a_choice_agree(  # type: ignore[no-untyped-def]
    model, gpu, context, batch, tensor, stages
) -> None:
    plan = headroom(
        model, gpu, context=context, batch=batch, tensor_parallel=tensor, pipeline_parallel=stages
    )
    usable = (gpu.memory_bytes - DRIVER_BYTES) * 0.92
    for choice in plan.choices:
        parts = choice.weight_bytes + choice.overhead.high + choice.pool_bytes
        assert parts == pytest.approx(usable, abs=2)
        most = choice.weight_bytes + choice.overhead.low + choice.pool_most_bytes
        assert most == pytest.approx(usable, abs=2)
        assert choice.may_fit >= choice.fits
        if choice.pool_bytes > 0:
            middle = (choice.pool_bytes + choice.pool_most_bytes) / 2
            assert choice.pool_most_bytes - choice.pool_bytes <= 0.15 * middle
        assert choice.runs == (choice.precision not in gpu.without)
        room = choice.kv_bytes <= choice.pool_bytes
        assert choice.fits == (room and choice.runs)
        assert room == (choice.needed_bytes <= gpu.memory_bytes) or parts == pytest.approx(
            (choice.needed_bytes - DRIVER_BYTES) * 0.92, rel=1e-6
        )
        if choice.sequences >= batch:
            assert room
    assert plan.advice.endswith(".")
    assert plan.advice.startswith("Take") == (plan.best is not None)
