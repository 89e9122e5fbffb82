"""Why an engine of vLLM ended, by its log. The files are real ones of vLLM 0.32 on the CPU,
shortened; other lines are written as vLLM, PyTorch and Python format them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import EngineError, EngineOutOfMemory
from journal.serve.engines.vllm.failure import failure, why

DATA = Path(__file__).parents[3] / "data" / "engine"
GIB = 2**30


def read(name: str) -> str:
    return (DATA / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "cause"),
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
def test_the_cause_of_a_failure_is_one_sentence(name: str, cause: str) -> None:
    error = failure("vLLM died", read(name), Path("engine.log"))
    assert type(error) is EngineError
    assert str(error).startswith("vLLM died: ")
    assert cause in str(error)
    assert "\n" not in str(error)
    assert error.log_tail
    assert "nanobind" not in error.log_tail


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (read("kv_cache_too_large"), "only 7.3/9.46 GiB of the host's memory is free"),
        (
            "ValueError: Free memory on device cuda:0 (3.1/23.5 GiB) on startup is less than "
            "desired GPU memory utilization (0.92, 21.6 GiB). Decrease GPU memory utilization",
            "only 3.1/23.5 GiB of the GPU's memory is free, and gpu_memory_utilization 0.92 asks "
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
def test_want_of_memory_is_reported_with_its_sizes(text: str, cause: str) -> None:
    error = failure("vLLM died", text, Path("engine.log"))
    assert isinstance(error, EngineOutOfMemory)
    assert cause in str(error)


@pytest.mark.parametrize(
    ("text", "cause"),
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
def test_causes_that_this_machine_cannot_show(text: str, cause: str) -> None:
    assert cause in str(failure("vLLM died", text, Path("engine.log")))


@given(st.text())
def test_no_text_confuses_it_or_reaches_a_terminal_raw(text: str) -> None:
    error = failure("vLLM died", text, Path("engine.log"))
    shown = str(error) + error.log_tail
    assert not [c for c in shown if c != "\n" and c != "\t" and (c < " " or "\x7f" <= c <= "\x9f")]


def test_what_an_engine_said_before_it_failed_is_kept() -> None:
    text = (
        "(Worker pid=7) INFO 11-23 17:05:56 [gpu_model_runner.py:5150] Model loading took 13.5 GiB "
        "memory and 42.1 seconds\n"
        "(EngineCore pid=5) ERROR 11-23 17:06:01 [core.py:402] ValueError: No available memory for "
        "the cache blocks. Try increasing `gpu_memory_utilization`.\x1b[0m\n"
        "(EngineCore pid=5) INFO 11-23 17:06:02 [core.py:7] bye\n"
    )
    error = failure("vLLM died", text, Path("engine.log"))
    assert error.facts is not None
    assert error.facts.weights_bytes == round(13.5 * GIB)
    assert error.facts.last_words == (
        "ValueError: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization`."
    )
    unknown = failure("vLLM died", "RuntimeError: who knows", Path("engine.log"))
    assert unknown.facts is not None
    assert unknown.facts.last_words is None, "the sentence itself has them"


# ---- the exception comes first -----------------------------------------------------------------

CORE = "(EngineCore pid=5) ERROR 11-23 17:06:01 [core.py:708] "
RANK = "(Worker_TP{} pid=7{}) ERROR 11-23 17:06:01 [multiproc_executor.py:694] "
ENDED = (
    "(APIServer pid=4) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {}"
)


def cause(*lines: str) -> str:
    return why(lines).sentence


@pytest.mark.parametrize(
    "phrase",
    [
        "(EngineCore pid=5) INFO [core.py:96] config: model='m', trust_remote_code=True",
        "(EngineCore pid=5) WARNING [x.py:20] deep_gemm import failed: No module named 'deep_gemm'",
        "(EngineCore pid=5) WARNING [x.py:20] ImportError: cannot import name 'a' from 'b'",
        "(EngineCore pid=5) INFO [x.py:1] Expandable segments avoid CUDA out of memory",
        "INFO [x.py:1] see the docs for 'OSError: [Errno 28] No space left on device'",
    ],
)
def test_a_phrase_elsewhere_in_the_log_is_no_cause(phrase: str) -> None:
    raised = CORE + "RuntimeError: CUDA error: an illegal memory access was encountered"
    for lines in ([phrase, raised, ENDED], [raised, phrase, ENDED]):
        assert "the GPU failed (an illegal memory access was encountered)" in cause(*lines)


def test_an_exception_that_the_process_outlived_is_no_cause() -> None:
    assert "weights leave no memory" in cause(
        "(EngineCore pid=5) ERROR 11-23 17:06:00 [x.py:5] ModuleNotFoundError: No module named 'q'",
        "(EngineCore pid=5) INFO 11-23 17:06:01 [core.py:9] Starting to load model m...",
        CORE + "ValueError: No available memory for the cache blocks. Try increasing",
        ENDED,
    )


def test_the_rank_that_failed_first_gives_the_cause() -> None:
    lines = [
        RANK.format(1, 1) + "KeyError: 'layers.0.mlp.gate_up_proj.weight_scale'",
        RANK.format(0, 0) + "torch.distributed.DistBackendError: NCCL error in x.cpp:3: the remote "
        "process exited or there was a network error",
        CORE + "RuntimeError: Worker failed with error 'layers.0', please check the stack trace",
        ENDED,
    ]
    assert "layers.0.mlp.gate_up_proj.weight_scale" in cause(*lines)
    assert "layers.0.mlp.gate_up_proj.weight_scale" in cause(lines[1], lines[0], *lines[2:])


def test_ranks_that_only_lost_another_say_that_it_vanished() -> None:
    assert "vanished" in cause(
        RANK.format(0, 0) + "RuntimeError: [pair.cc:534] Connection closed by peer [10.0.0.2]:5",
        "(EngineCore pid=5) ERROR 11-23 [multiproc_executor.py:250] Worker proc VllmWorker-1 died "
        "unexpectedly, shutting down executor.",
        ENDED,
    )


def test_the_last_exception_of_a_chain_is_asked_first_and_the_first_after_it() -> None:
    link = "The above exception was the direct cause of the following exception:"
    memory = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.74 GiB. GPU 1 has a "
    memory += "total capacity of 23.57 GiB of which 605.88 MiB is free."
    sampler = "RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy "
    sampler += "requests. Please try lowering `max_num_seqs`"
    known = why([CORE + memory, CORE + link, CORE + sampler, ENDED])
    assert known.out_of_memory
    assert known.remedy is not None and known.remedy.startswith("lower max_num_seqs")
    behind = cause(CORE + memory, CORE + link, CORE + "RuntimeError: it could not be done", ENDED)
    assert "1.74 GiB were asked for and 605.88 MiB were free" in behind
    unknown = cause("KeyError: 'a'", link, "RuntimeError: it could not be done")
    assert unknown == "RuntimeError: it could not be done, from KeyError: 'a'"


def test_a_worker_that_is_quoted_alone_gives_the_cause() -> None:
    assert "CUDA compiler (nvcc)" in cause(
        CORE + "RuntimeError: Worker failed with error 'Could not find nvcc', please check the "
        "stack trace above for the root cause",
        ENDED,
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["/usr/bin/ld: cannot find -lcuda", "RuntimeError: Ninja build failed. Ninja output:"],
            "-lcuda is missing",
        ),
        (
            [
                "main.c:5:10: fatal error: cuda.h: No such file or directory",
                "subprocess.CalledProcessError: Command '['gcc']' returned non-zero exit status 1.",
            ],
            "cuda.h is missing",
        ),
        (
            [
                "/bin/sh: 1: nvcc: not found",
                "RuntimeError: Error building extension 'x': [1/2] nvcc -c x.cu",
            ],
            "finds no CUDA compiler (nvcc)",
        ),
    ],
    ids=["library", "header", "compiler"],
)
def test_a_build_that_failed_keeps_the_line_that_says_why(lines: list[str], words: str) -> None:
    assert words in cause(*lines, ENDED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1a2b3c'", "/dev/shm"),
        ("OSError: [Errno 28] No space left on device: '/models/x.safetensors'", "disk is full"),
    ],
)
def test_a_full_shared_memory_is_no_full_disk(text: str, words: str) -> None:
    assert words in cause(CORE + text, ENDED)


def test_a_bare_exception_is_named_with_its_line() -> None:
    assert cause(
        CORE + "Traceback (most recent call last):",
        CORE + '  File "x.py", line 3, in load',
        CORE + "    assert param.size() == loaded.size()",
        CORE + "AssertionError",
        ENDED,
    ).startswith("AssertionError at assert param.size() == loaded.size()")


def test_an_exception_behind_an_unknown_prefix_is_found() -> None:
    assert "weights leave no memory" in cause(
        "2026-11-23 17:06:01,123 - core - ValueError: No available memory for the cache blocks."
    )


def test_the_kernel_s_kill_counts_only_where_nothing_was_raised() -> None:
    assert "the kernel killed it" in cause("Loading safetensors checkpoint shards: 50%", "Killed")
    assert "disk is full" in cause("OSError: [Errno 28] No space left on device", "Killed")


@pytest.mark.parametrize(
    ("estimate", "remedy"),
    [
        (
            " Based on the available memory, the estimated maximum model length is 79104.",
            "to 79104",
        ),
        ("", "lower max_model_len to about 77136, or raise"),
    ],
)
def test_the_context_that_would_fit_is_named_where_vllm_names_it(
    estimate: str, remedy: str
) -> None:
    text = (
        "ValueError: To serve at least one request with the models's max seq len (131072), (2.76 "
        "GiB KV cache is needed, which is larger than the available KV cache memory (1.71 GiB)."
    )
    assert remedy in (why([CORE + text + estimate]).remedy or "")
