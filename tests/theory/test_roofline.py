import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.theory.gpu_table import GPU_KINDS, find_gpu
from journal.theory.model_table import MODELS, find_model
from journal.theory.roofline import decode_floor, prefill_floor

MISTRAL = find_model("Mistral-7B-Instruct-v0.2").architecture
MIXTRAL = find_model("Mixtral-8x7B-v0.1").architecture
A100 = find_gpu("A100 80GB")


def test_decode_of_one_sequence_reads_every_weight_once() -> None:
    floor = decode_floor(MISTRAL, A100, batch=1, context=1000)
    table = 32000 * 4096
    read = 2 * (7_241_732_096 - table) + 1000 * 131_072
    assert floor.memory_s == pytest.approx(read / 2039e9)
    assert floor.bound == "memory"
    assert floor.seconds == floor.memory_s
    assert 0.0069 < floor.seconds < 0.0072  # about 140 tokens/s at most


def test_decode_of_many_reads_the_weights_once_and_each_cache() -> None:
    one = decode_floor(MISTRAL, A100, batch=1, context=2048)
    many = decode_floor(MISTRAL, A100, batch=64, context=2048)
    assert many.memory_s - one.memory_s == pytest.approx(63 * 2048 * 131_072 / 2039e9)
    assert many.compute_s == pytest.approx(64 * one.compute_s)


def test_a_long_prompt_is_bound_by_arithmetic() -> None:
    floor = prefill_floor(MISTRAL, A100, prompt_tokens=2048)
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    attention = 4 * 32 * 4096 * 2048**2 / 2
    flops = 2 * 2048 * linear + attention + 2 * 32000 * 4096
    assert floor.compute_s == pytest.approx(flops / 312e12)
    assert floor.bound == "compute"
    assert prefill_floor(MISTRAL, A100, prompt_tokens=1).bound == "memory"


def test_packed_weights_are_read_faster_but_not_multiplied_faster() -> None:
    plain = decode_floor(MISTRAL, A100, batch=1, context=1)
    packed = decode_floor(MISTRAL, A100, batch=1, context=1, precision="awq")
    assert 3.3 < plain.memory_s / packed.memory_s < 3.9
    assert plain.compute_s == packed.compute_s


def test_fp8_is_multiplied_faster_where_the_gpu_can() -> None:
    for gpu, ratio in ((find_gpu("H100 SXM"), 2.0), (A100, 1.0)):
        plain = prefill_floor(MISTRAL, gpu, prompt_tokens=512)
        packed = prefill_floor(MISTRAL, gpu, prompt_tokens=512, precision="fp8")
        assert plain.compute_s / packed.compute_s == pytest.approx(ratio, rel=0.01)


def test_a_router_reads_two_experts_of_eight_for_one_token_and_all_for_many() -> None:
    one = decode_floor(MIXTRAL, A100, batch=1, context=1).memory_s * 2039e9 / 2
    all_of_them = decode_floor(MIXTRAL, A100, batch=1000, context=0).memory_s * 2039e9 / 2
    assert one == pytest.approx(12.88e9 - 32000 * 4096, rel=0.005)
    assert all_of_them == pytest.approx(46.70e9 - 32000 * 4096, rel=0.005)


def test_a_prompt_reads_the_experts_that_its_tokens_are_routed_to() -> None:
    """Mixtral has 32 layers of 8 experts of 3 x 4096 x 14336 weights, and 2 of them for each
    token: of 8 experts, n tokens are expected to pick 8 * (1 - (3/4)^n)."""
    expert = 32 * 3 * 4096 * 14336
    others = 46_702_792_704 - 8 * expert - 32000 * 4096
    for tokens, picked in ((1, 2.0), (2, 3.5), (3, 4.625), (64, 8.0)):
        floor = prefill_floor(MIXTRAL, A100, prompt_tokens=tokens)
        assert floor.memory_s * 2039e9 == pytest.approx(2 * (others + picked * expert), rel=1e-6)
    halves = prefill_floor(MIXTRAL, A100, prompt_tokens=1, batch=2)
    assert halves.memory_s == prefill_floor(MIXTRAL, A100, prompt_tokens=2).memory_s
    h100 = find_gpu("H100 SXM")
    assert prefill_floor(MIXTRAL, h100, prompt_tokens=1).seconds == pytest.approx(7.6e-3, rel=0.01)
    assert prefill_floor(MIXTRAL, h100, prompt_tokens=64).memory_s == pytest.approx(27.8e-3, 0.01)


models = st.sampled_from(MODELS).map(lambda model: model.architecture)
gpus = st.sampled_from(GPU_KINDS)
sizes = st.integers(1, 512)


@given(models, gpus, sizes, sizes, st.integers(1, 8192))
def test_more_work_never_takes_less(model, gpu, one, other, context) -> None:  # type: ignore[no-untyped-def]
    fewer, more = sorted((one, other))
    low = decode_floor(model, gpu, batch=fewer, context=context)
    high = decode_floor(model, gpu, batch=more, context=context)
    assert low.seconds <= high.seconds * (1 + 1e-9)
    short = prefill_floor(model, gpu, prompt_tokens=fewer)
    long = prefill_floor(model, gpu, prompt_tokens=more)
    assert 0 < short.seconds <= long.seconds


# ---- GPUs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gpu", GPU_KINDS, ids=lambda gpu: gpu.name)
def test_a_gpu_is_found_by_its_own_name_and_is_sane(gpu) -> None:  # type: ignore[no-untyped-def]
    assert find_gpu(gpu.name) is gpu
    assert find_gpu(f"nvidia {gpu.name.lower()}") is gpu
    assert 2**33 < gpu.memory_bytes < 2**39
    assert 30 < gpu.fp16_flops / gpu.bandwidth < 500  # FLOP for each byte
    assert gpu.fp8_flops is None or 1.9 < gpu.fp8_flops / gpu.fp16_flops < 2.1
    assert gpu.source


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("Tesla T4", "T4"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("a100 80 gb", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("h200", "H200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H20", "H20"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX 3090 Ti"),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA A40", "A40"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA GB10", "GB10"),
    ],
)
def test_gpus_as_people_and_drivers_write_them(written: str, name: str) -> None:
    assert find_gpu(written).name == name


@pytest.mark.parametrize("name", ["A100", "H100", "RTX 6000"])
def test_a_name_that_may_be_several_asks_which(name: str) -> None:
    with pytest.raises(SpecError, match=r" or .*: say which"):
        find_gpu(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "RTX", "RX 7900", "NVIDIA GeForce RTX 4090 Laptop GPU", "GTX 1080"),
        *("NVIDIA GeForce RTX 4090 D", "NVIDIA H20-3e", "NVIDIA GH200 144G HBM3e"),
        *("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "Quadro RTX 6000"),
    ],
)
def test_an_unknown_gpu_names_the_known_ones(name: str) -> None:
    with pytest.raises(SpecError, match=r"H200.*give its memory instead"):
        find_gpu(name)


@pytest.mark.parametrize(
    "name",
    ["GRID A100-20C", "NVIDIA A40-48Q", "NVIDIA A100-4-20C", "GRID T4-16Q", "NVIDIA L40S-8A"],
)
def test_a_share_that_a_hypervisor_lends_is_not_taken_for_the_gpu(name: str) -> None:
    with pytest.raises(SpecError, match="a share of a GPU that a hypervisor lends"):
        find_gpu(name)


def test_layers_with_a_window_look_back_no_further_than_that() -> None:
    gemma = find_model("gemma-2-9b").architecture  # 21 of 42 layers, 4,096 tokens
    short, long = (
        decode_floor(gemma, A100, batch=1, context=context).compute_s for context in (4096, 8192)
    )
    assert (long - short) * 312e12 == pytest.approx(4 * 16 * 256 * 21 * 4096)


def test_a_tied_table_is_read_as_the_head_and_no_other_table_is() -> None:
    tied = find_model("Llama-3.2-1B").architecture
    floor = decode_floor(tied, A100, batch=1, context=0)
    assert floor.memory_s * 2039e9 == pytest.approx(2 * 1_235_814_400, abs=0.5)
    prompt = prefill_floor(tied, A100, prompt_tokens=1)
    assert prompt.memory_s * 2039e9 == pytest.approx(2 * 1_235_814_400, abs=0.5)
