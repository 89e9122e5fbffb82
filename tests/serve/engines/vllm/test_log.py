"""Reading an engine's log. The files are real ones of vLLM 0.32 on the CPU, shortened; lines that
only a GPU gives are written as vLLM's source formats them."""

from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import EngineError, EngineOutOfMemory
from journal.serve.engines.vllm import log
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


def test_what_the_cpu_engine_tells_of_its_memory() -> None:
    facts = log.facts(read("start").splitlines())
    assert (facts.kv_pool_bytes, facts.kv_pool_tokens) == (2 * GIB, 93_184)
    assert facts.weights_bytes is None
    assert facts.graph_bytes is None


def test_what_a_gpu_engine_tells_of_its_memory() -> None:
    lines = [
        "(Worker pid=7) INFO [gpu_model_runner.py:5150] Model loading took 13.5 GiB memory and "
        "42.123456 seconds",
        "(Worker pid=7) INFO [gpu_worker.py:760] Available KV cache memory: 56.25 GiB",
        "(EngineCore pid=5) INFO [kv_cache_utils.py:2327] GPU KV cache size: 460,800 tokens, "
        "Maximum concurrency for 8,192 tokens per request: 56.25x",
        "(Worker pid=7) INFO [gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took "
        "0.75 GiB",
    ]
    facts = log.facts(lines)
    assert facts.weights_bytes == round(13.5 * GIB)
    assert facts.kv_pool_bytes == round(56.25 * GIB)
    assert facts.kv_pool_tokens == 460_800
    assert facts.graph_bytes == round(0.75 * GIB)


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
def test_activations_and_the_driver_s_part_in_the_words_of_several_versions(used: str) -> None:
    loaded = "INFO Model loading took 13.5 GiB memory and 42.1 seconds"
    facts = log.facts([loaded, USED.format(used)])
    assert facts.activation_bytes == round(1.25 * GIB)
    assert facts.context_bytes == round(0.5 * GIB)


def test_the_types_that_an_engine_says_it_serves_in() -> None:
    line = "INFO [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m', {}"
    said = "dtype=torch.float16, max_seq_len=4096, quantization=awq_marlin, kv_cache_dtype=fp8_e5m2"
    facts = log.facts([line.format(said)])
    assert (facts.dtype, facts.quantisation) == ("float16", "awq_marlin")
    assert facts.kv_cache_dtype == "fp8_e5m2"
    facts = log.facts(read("start").splitlines())
    assert (facts.dtype, facts.quantisation, facts.kv_cache_dtype) == ("bfloat16", None, None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("context", "max_model_len 100000 is longer than the model's context of 8192: lower it"),
        ("not_quantised", "the model's weights are not quantised as awq"),
        ("unknown_quantisation", "knows no quantisation named nope"),
        ("unknown_flag", "knows no flag --nonsense-flag"),
        ("unknown_architecture", "do not know the model type wonder"),
        ("uneven_split", "attention heads (9) must be divisible by tensor parallel size (2)"),
        ("port_taken", "its port was taken by another process"),
        ("not_in_cache", "the Hugging Face hub could not be reached"),
        ("no_network", "the Hugging Face hub could not be reached"),
        ("core_killed", "one of its processes vanished"),
        ("worker_killed", "one of its processes vanished"),
    ],
)
def test_the_cause_of_a_failure_is_one_sentence(name: str, told: str) -> None:
    error = log.failure("vLLM died", read(name), Path("engine.log"))
    assert type(error) is EngineError
    assert str(error).startswith("vLLM died: ")
    assert told in str(error)
    assert "\n" not in str(error)
    assert error.log_tail
    assert "nanobind" not in error.log_tail


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (read("kv_cache_too_large"), "only 7.3/9.46 GiB of the host's memory is free"),
        (
            "ValueError: Free memory on device cuda:0 (3.1/23.5 GiB) on startup is less than "
            "desired GPU memory utilization (0.92, 21.6 GiB). Decrease GPU memory utilization",
            "only 3.1/23.5 GiB of the card's memory is free, and gpu_memory_utilization 0.92 asks "
            "for 21.6 GiB",
        ),
        (
            "ValueError: To serve at least one request with the model's max seq len (131072), "
            "(16.0 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(4.2 GiB). Based on the available memory, the estimated maximum model length is 34",
            "one request of 131072 tokens needs 16.0 GiB of KV cache, and 4.2 GiB are there",
        ),
        (
            "ValueError: No available memory for the cache blocks. Try increasing",
            "the model's weights leave no memory for a KV cache",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a "
            "total capacity of 23.5 GiB of which 101.44 MiB is free. Process 7 has 23.4 GiB",
            "224.00 MiB were asked for and 101.44 MiB were free",
        ),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory", "out of memory on the host"),
    ],
)
def test_want_of_memory_is_told_with_its_sizes(text: str, told: str) -> None:
    error = log.failure("vLLM died", text, Path("engine.log"))
    assert isinstance(error, EngineOutOfMemory)
    assert told in str(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("OSError: You are trying to access a gated repo.", "accept its licence"),
        ("huggingface_hub.errors.RepositoryNotFoundError: 404", "knows no such model"),
        ("ModuleNotFoundError: No module named 'bitsandbytes'", "lacks bitsandbytes"),
        ("RuntimeError: Failed to infer device type", "built for a GPU and finds none"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ValueError: what no one has met before\nRuntimeError: cancelled", "no one has met"),
        ("nothing that tells", "its log gives no reason"),
    ],
)
def test_causes_that_this_machine_cannot_show(text: str, told: str) -> None:
    assert told in str(log.failure("vLLM died", text, Path("engine.log")))


@given(st.text())
def test_no_text_confuses_it_or_reaches_a_terminal_raw(text: str) -> None:
    error = log.failure("vLLM died", text, Path("engine.log"))
    shown = str(error) + error.log_tail
    assert not [c for c in shown if c != "\n" and c != "\t" and (c < " " or "\x7f" <= c <= "\x9f")]


def test_the_tail_is_bounded_and_clean() -> None:
    text = "\n".join(f"\x1b[31mline {n}\x1b[0m\r" for n in range(100))
    assert log.tail(text).splitlines() == [f"line {n}" for n in range(70, 100)]


def test_what_an_engine_said_before_it_failed_is_kept() -> None:
    text = (
        "(Worker pid=7) INFO 11-23 17:05:56 [gpu_model_runner.py:5150] Model loading took 13.5 GiB "
        "memory and 42.1 seconds\n"
        "(EngineCore pid=5) ERROR 11-23 17:06:01 [core.py:402] ValueError: No available memory for "
        "the cache blocks. Try increasing `gpu_memory_utilization`.\x1b[0m\n"
        "(EngineCore pid=5) INFO 11-23 17:06:02 [core.py:7] bye\n"
    )
    error = log.failure("vLLM died", text, Path("engine.log"))
    assert error.facts is not None
    assert error.facts.weights_bytes == round(13.5 * GIB)
    assert error.facts.last_words == (
        "ValueError: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization`."
    )
    unknown = log.failure("vLLM died", "RuntimeError: who knows", Path("engine.log"))
    assert unknown.facts is not None
    assert unknown.facts.last_words is None, "the sentence itself has them"
