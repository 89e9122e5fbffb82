"""Reading a start of vLLM. The files are real ones of vLLM 0.32 on the CPU, shortened; lines that
only a GPU gives are written as vLLM's source formats them."""

from itertools import groupby
from pathlib import Path

import pytest

from journal.serve.engines.vllm.start_log import start_facts, start_log
from journal.serve.engines.vllm.vllm import VLLM

DATA = Path(__file__).parents[3] / "data" / "engine"
GIB = 2**30


def read(name: str) -> str:
    return (DATA / f"{name}.log").read_text()


def test_the_phases_of_a_start_in_their_order() -> None:
    phases = [phase for line in read("start").splitlines() if (phase := VLLM.phase(line))]
    assert [phase for phase, _ in groupby(phases)] == [
        "reading the model's config",
        "starting the engine core",
        "fetching the weights",
        "loading the weights",
        "profiling memory",
        "warming up",
        "starting the server",
        "waiting for the first answer",
    ]


def test_the_memory_of_a_cpu_engine_is_read() -> None:
    known = start_facts(read("start").splitlines())
    assert (known.kv_pool_bytes, known.kv_pool_tokens) == (2 * GIB, 93_184)
    assert known.weights_bytes is None
    assert known.graph_bytes is None


def test_the_memory_of_a_gpu_engine_is_read() -> None:
    lines = [
        "(Worker pid=7) INFO [gpu_model_runner.py:5150] Model loading took 13.5 GiB memory and "
        "42.123456 seconds",
        "(Worker pid=7) INFO [gpu_worker.py:760] Available KV cache memory: 56.25 GiB",
        "(EngineCore pid=5) INFO [kv_cache_utils.py:2327] GPU KV cache size: 460,800 tokens, "
        "Maximum concurrency for 8,192 tokens per request: 56.25x",
        "(Worker pid=7) INFO [gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took "
        "0.75 GiB",
    ]
    known = start_facts(lines)
    assert known.weights_bytes == round(13.5 * GIB)
    assert known.kv_pool_bytes == round(56.25 * GIB)
    assert known.kv_pool_tokens == 460_800
    assert known.graph_bytes == round(0.75 * GIB)


USED = (
    "(Worker pid=7) INFO [gpu_worker.py:1034] Free memory on device (79.1/79.25 GiB) on startup. "
    "Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is {}. Replace "
    "gpu_memory_utilization config with `--kv-cache-memory=1` (0.0 GiB) to fit into requested "
    "memory, or `--kv-cache-memory=2` (0.0 GiB) to fully utilize gpu memory. Current kv cache "
    "memory in use is 56.25 GiB."
)


@pytest.mark.parametrize(
    "used",
    [
        "14.0 GiB for consumed memory (weights + non-torch), 1.25 GiB for peak activation, and "
        "0.75 GiB for CUDAGraph memory",
        "13.5 GiB for weight, 1.25 GiB for peak activation, 0.5 GiB for non-torch memory, and 0.75 "
        "GiB for CUDAGraph memory",
    ],
    ids=["0.32", "0.11"],
)
def test_activations_and_the_driver_s_part_are_read_in_several_wordings(
    used: str,
) -> None:
    loaded = "INFO Model loading took 13.5 GiB memory and 42.1 seconds"
    known = start_facts([loaded, USED.format(used)])
    assert known.activation_bytes == round(1.25 * GIB)
    assert known.context_bytes == round(0.5 * GIB)


def test_the_types_of_an_engine_are_those_of_its_configuration() -> None:
    line = "INFO [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m', {}"
    said = "dtype=torch.float16, max_seq_len=4096, quantization=awq_marlin, kv_cache_dtype=fp8_e5m2"
    known = start_facts([line.format(said)])
    assert (known.dtype, known.quantisation) == ("float16", "awq_marlin")
    assert known.kv_cache_dtype == "fp8_e5m2"
    known = start_facts(read("start").splitlines())
    assert (known.dtype, known.quantisation, known.kv_cache_dtype) == (
        "bfloat16",
        None,
        None,
    )


def line(process: str, text: str) -> str:
    return f"({process} pid={abs(hash(process)) % 9000}) INFO 11-23 17:05:56 [x.py:1] {text}"


USAGE = (
    "Free memory on device (94.0/95.0 GiB) on startup. Desired GPU memory utilization is (0.9, "
    "85.5 GiB). Actual usage is {} GiB for consumed memory (weights + non-torch), {} GiB for peak "
    "activation, and 0.2 GiB for CUDAGraph memory."
)


def test_stages_that_differ_give_the_figures_of_the_one_that_limits_the_pool() -> None:
    lines = [
        line("Worker_PP1_TP0", "Model loading took 58.0 GiB memory and 30.4 seconds"),
        line("Worker_PP0_TP0", "Model loading took 51.25 GiB memory and 30.1 seconds"),
        line("Worker_PP1_TP0", "Available KV cache memory: 22.5 GiB"),
        line("Worker_PP0_TP0", "Available KV cache memory: 30.5 GiB"),
        line("EngineCore", "GPU KV cache size: 530,240 tokens"),
        line("Worker_PP1_TP0", USAGE.format(60.5, 2.25)),
        line("Worker_PP0_TP0", USAGE.format(53.5, 1.25)),
    ]
    for order in (lines, [lines[place] for place in (1, 0, 3, 2, 4, 6, 5)]):
        known = start_facts(order)
        assert known.weights_bytes == 58 * GIB
        assert known.kv_pool_bytes == round(22.5 * GIB)
        assert known.context_bytes == round(2.5 * GIB)
        assert known.activation_bytes == round(2.25 * GIB)
        assert known.kv_pool_tokens == 530_240
    ranks = start_log(lines).ranks
    assert len(ranks) == 3, "each process keeps its own figures"


def test_a_stage_that_logged_no_weights_does_not_borrow_those_of_another() -> None:
    known = start_facts(
        [
            line("Worker_PP0_TP0", "Model loading took 51.25 GiB memory and 30.1 seconds"),
            line("Worker_PP0_TP0", "Available KV cache memory: 30.5 GiB"),
            line("Worker_PP1_TP0", "Available KV cache memory: 22.5 GiB"),
            line("Worker_PP1_TP0", USAGE.format(60.5, 2.25)),
        ]
    )
    assert known.kv_pool_bytes == round(22.5 * GIB)
    assert known.weights_bytes is None
    assert known.context_bytes is None


def test_ranks_that_share_a_layer_stand_for_each_other() -> None:
    known = start_facts(
        [
            line("Worker_TP0", "Model loading took 7.5 GiB memory and 30.1 seconds"),
            line("Worker_TP0", "Available KV cache memory: 30.5 GiB"),
            line("Worker_TP1", "Available KV cache memory: 30.25 GiB"),
        ]
    )
    assert (known.weights_bytes, known.kv_pool_bytes) == (7.5 * GIB, 30.25 * GIB)


def test_the_pools_of_data_parallel_engines_are_summed() -> None:
    lines = []
    for rank in (0, 1):
        core = f"EngineCore_DP{rank}"
        lines += [
            line(core, "Model loading took 13.5 GiB memory and 4.1 seconds"),
            line(core, f"Available KV cache memory: {20 + rank}.5 GiB"),
            line(core, "GPU KV cache size: 100,000 tokens"),
        ]
    known = start_facts(lines)
    assert known.weights_bytes == 13.5 * GIB
    assert known.kv_pool_bytes == 42 * GIB
    assert known.kv_pool_tokens == 200_000


def test_the_last_start_in_a_file_counts() -> None:
    first = [
        "(APIServer pid=1) INFO 11-23 [api_utils.py:286] non-default args: {'model': 'a'}",
        "(EngineCore pid=2) INFO Model loading took 13.5 GiB memory and 4.1 seconds",
        "(EngineCore pid=2) INFO Available KV cache memory: 20.5 GiB",
        "(EngineCore pid=2) INFO Graph capturing finished in 9 secs, took 0.5 GiB",
    ]
    second = [
        "(APIServer pid=8) INFO 11-23 [api_utils.py:286] non-default args: {'model': 'b'}",
        "(EngineCore pid=9) INFO Model loading took 7.5 GiB memory and 4.1 seconds",
    ]
    for lines in ([*first, *second], [*first[1:], *second[1:]]):
        known = start_facts(lines)
        assert known.weights_bytes == 7.5 * GIB
        assert (known.kv_pool_bytes, known.graph_bytes) == (None, None)


@pytest.mark.parametrize(
    "carrier",
    [
        "vllm-1  | ",
        "2026-11-23T17:05:56.123456789Z stdout F ",
        "Nov 23 17:05:56 gpu-box vllm[4242]: ",
        "\x1b[0;36m",
    ],
    ids=["compose", "kubernetes", "journald", "colour"],
)
def test_what_carries_a_log_does_not_hide_who_wrote_it(carrier: str) -> None:
    lines = [
        line("Worker_PP0_TP0", "Available KV cache memory: 30.5 GiB"),
        line("Worker_PP1_TP0", "Available KV cache memory: 22.5 GiB"),
    ]
    ranks = start_log(carrier + each for each in lines).ranks
    assert [process.partition(" ")[0] for process in ranks] == ["Worker_PP0_TP0", "Worker_PP1_TP0"]
    assert [rank.get("pool") for rank in ranks.values()] == [30.5 * GIB, 22.5 * GIB]


def test_a_figure_below_zero_is_absent() -> None:
    known = start_facts(
        [
            "INFO Model loading took 65.5 GiB and 12.8 seconds",
            "INFO Available KV cache memory: -2.14 GiB",
            "INFO Actual usage is 65.5 GiB for weight, 1.5 GiB for peak activation, -3.58 GiB for "
            "non-torch memory, and -0.25 GiB for CUDAGraph memory. Current kv cache memory in use "
            "is 4.0 GiB.",
        ]
    )
    assert known.weights_bytes == 65.5 * GIB
    assert known.activation_bytes == 1.5 * GIB
    assert (known.kv_pool_bytes, known.context_bytes, known.graph_bytes) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (
            "Initial free memory 23.08 GiB, reserved 4.00 GiB memory for KV Cache as specified by "
            "kv_cache_memory_bytes config and skipped memory profiling.",
            4 * GIB,
        ),
        ("CUDAGraph memory. Current kv cache memory in use is 9232221491 bytes.", 9_232_221_491),
        ("CUDAGraph memory. Current kv cache memory in use is 56.25 GiB.", 56.25 * GIB),
        (
            "model weights take 14.99GiB; non_torch_memory takes 0.09GiB; PyTorch activation peak "
            "memory takes 1.20GiB; the rest of the memory reserved for KV Cache is 26.5GiB.",
            26.5 * GIB,
        ),
    ],
    ids=["pinned", "in bytes", "in use", "0.7"],
)
def test_the_pool_is_read_in_every_wording(text: str, size: float) -> None:
    assert (
        start_facts([f"(EngineCore pid=41) INFO 01-02 03:04:05 [w.py:4] {text}"]).kv_pool_bytes
        == size
    )


def test_blocks_of_an_old_version_are_counted_in_tokens() -> None:
    blocks = "INFO 12-02 10:00:05 gpu_executor.py:113] # GPU blocks: 1952, # CPU blocks: 2048"
    assert start_facts([blocks]).kv_pool_tokens == 1952 * 16
    asked = "INFO 12-02 10:00:00 api_server.py:5] non-default args: {'block_size': 32}"
    assert start_facts([asked, blocks]).kv_pool_tokens == 1952 * 32


ESTIMATED = [
    "INFO [core.py:112] Initializing a V1 LLM engine (v{}) with config: model='m', dtype=float16",
    "INFO [model_runner.py:900] Estimated MRV2 CUDA graph memory: 0.75 GiB total (0.31 GiB "
    "retained in the reusable pool)",
    "INFO [gpu_worker.py:742] CUDA graph pool memory: 0.25 GiB (actual), 0.75 GiB (estimated), "
    "difference: 0.5 GiB (200.0%).",
]
CONSUMED = USAGE.format(20, 1.5)


def test_the_estimate_of_the_graphs_is_kept_apart_from_the_activations_since_0_21() -> None:
    lines = [*ESTIMATED, CONSUMED]
    known = start_facts(each.format("0.32.0") for each in lines)
    assert (known.activation_bytes, known.graph_estimate_bytes) == (1.5 * GIB, 0.75 * GIB)
    assert start_facts(each.format("0.20.1") for each in lines).graph_estimate_bytes is None
    older = "Actual usage is 18 GiB for weight, 1.5 GiB for peak activation, 2 GiB for non-torch"
    assert start_facts([*ESTIMATED[1:], older]).graph_estimate_bytes is None


def test_a_second_model_runner_fetches_before_it_has_loaded() -> None:
    assert VLLM.phase("INFO [model_runner.py:300] Loading model from scratch...") == VLLM.fetching


def test_old_engines_are_read_as_far_as_they_go() -> None:
    lines = [
        "INFO 02-18 04:51:36 model_runner.py:1116] Loading model weights took 4.6100 GB",
        "INFO 02-18 04:51:37 model_runner.py:1116] Loading model weights took 1.4123 GB",
        "INFO 02-18 04:51:48 worker.py:266] the current vLLM instance can use total_gpu_memory "
        "(23.55GiB) x gpu_memory_utilization (0.96) = 22.61GiB",
        "INFO 02-18 04:51:48 worker.py:266] model weights take 6.02GiB; non_torch_memory takes "
        "0.10GiB; PyTorch activation peak memory takes 1.96GiB; the rest of the memory reserved "
        "for KV Cache is 14.54GiB.",
        "INFO 02-18 04:51:49 executor_base.py:111] # cuda blocks: 7191, # CPU blocks: 512",
    ]
    known = start_facts(lines)
    sizes = (known.weights_bytes, known.activation_bytes, known.kv_pool_bytes, known.context_bytes)
    assert sizes == tuple(round(size * GIB) for size in (6.02, 1.96, 14.54, 0.10))
    assert known.kv_pool_tokens == 7191 * 16


def test_the_version_is_read_from_the_banner_and_words_in_quotes() -> None:
    banner = "(APIServer pid=1) INFO 02-01 [utils.py:325]    █ █ █▄ ▄█   version 0.15.1"
    config = "INFO Initializing a V1 LLM engine with config: model='m', dtype=torch.float16, "
    known = start_facts([banner, config + "quantization='awq', kv_cache_dtype='fp8'"])
    assert (known.version, known.quantisation, known.kv_cache_dtype) == ("0.15.1", "awq", "fp8")


def test_the_longest_request_is_the_one_that_vllm_settled_for() -> None:
    given = "(APIServer pid=1) INFO [x.py:1] non-default args: {'max_model_len': 262144}"
    fitted = "(EngineCore pid=2) INFO [x.py:1] Auto-fit max_model_len: reduced from 262144 to 30400"
    assert start_log([given, fitted]).settings["max_model_len"] == 30400
