"""The command line that vLLM is given."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from journal.records.experiment import Engine
from journal.serve.engines.vllm.command import command

MODEL = "mistralai/Mistral-7B-Instruct-v0.2"
READ = """
import json
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:  # before 0.32
    from vllm.entrypoints.openai.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
read = make_arg_parser(FlexibleArgumentParser()).parse_args()
print(json.dumps([
    read.model, read.tensor_parallel_size, read.pipeline_parallel_size,
    read.distributed_executor_backend, read.kv_cache_memory_bytes, read.enable_prefix_caching,
]))
"""


def built(on_cpu: bool = False, version: str = "0.32.0", **fields: Any) -> list[str]:
    engine = Engine(model=MODEL, **fields)
    return command(
        engine,
        python="/venv/bin/python",
        model=MODEL,
        name="journal-1",
        host="127.0.0.1",
        port=8123,
        version=version,
        on_cpu=on_cpu,
    )


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_it_binds_loopback_under_a_name_of_its_own_without_prefix_cache() -> None:
    argv = built()
    assert argv[:3] == ["/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert value(argv, "--host") == "127.0.0.1"
    assert value(argv, "--port") == "8123"
    assert value(argv, "--model") == MODEL
    assert value(argv, "--served-model-name") == "journal-1"
    assert "--no-enable-prefix-caching" in argv
    assert "--trust-remote-code" not in argv
    assert "--enforce-eager" not in argv


def test_every_field_that_is_given_is_passed_and_no_other() -> None:
    argv = built(
        revision="main",
        quantisation="awq",
        dtype="float16",
        tensor_parallel=2,
        max_model_len=8192,
        gpu_memory_utilization=0.5,
        kv_cache_memory_bytes=10**9,
        prefix_caching=True,
        trust_remote_code=True,
    )
    assert value(argv, "--revision") == "main"
    assert value(argv, "--quantization") == "awq"
    assert value(argv, "--dtype") == "float16"
    assert value(argv, "--tensor-parallel-size") == "2"
    assert value(argv, "--max-model-len") == "8192"
    assert value(argv, "--gpu-memory-utilization") == "0.5"
    assert value(argv, "--kv-cache-memory-bytes") == "1000000000"
    assert "--enable-prefix-caching" in argv
    assert "--trust-remote-code" in argv
    plain = built()
    for flag in ("--revision", "--quantization", "--dtype", "--tensor-parallel-size"):
        assert flag not in plain


def test_no_page_of_another_site_may_read_an_answer_unless_it_is_named() -> None:
    argv = built()
    assert argv[argv.index("--allowed-origins") + 1] == "[]"
    named = '--allowed-origins=["https://ours.example"]'
    assert [flag for flag in built(flags=(named,)) if "origins" in flag] == [named]


def test_an_engine_over_several_hosts_to_the_word() -> None:
    argv = built(tensor_parallel=4, pipeline_parallel=2, executor="ray")
    assert argv == [
        *("/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", MODEL, "--served-model-name", "journal-1"),
        *("--host", "127.0.0.1", "--port", "8123"),
        *("--disable-uvicorn-access-log", "--enable-prompt-tokens-details"),
        *("--allowed-origins", "[]"),
        *("--enable-per-request-metrics", "--no-enable-prefix-caching"),
        *("--tensor-parallel-size", "4", "--pipeline-parallel-size", "2"),
        *("--distributed-executor-backend", "ray"),
    ]
    plain = built()
    assert "--pipeline-parallel-size" not in plain
    assert "--distributed-executor-backend" not in plain


@pytest.mark.slow
@pytest.mark.timeout(900)  # vLLM is imported, beside other tests
def test_the_installed_vllm_reads_the_command_as_it_is_meant() -> None:
    """By its own parser; nothing is started."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    argv = built(
        tensor_parallel=4, pipeline_parallel=2, executor="ray", kv_cache_memory_bytes=10**9
    )
    done = subprocess.run(
        [sys.executable, "-c", READ, *argv[3:]],
        env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [MODEL, 4, 2, "ray", 10**9, False]


def test_the_users_flags_come_last_as_they_are() -> None:
    flags = ("--max-num-seqs", "64", "--seed=7")
    assert built(flags=flags)[-3:] == list(flags)
    assert built(on_cpu=True, flags=flags)[-3:] == list(flags)


@pytest.mark.parametrize(("version", "there"), [("0.26.0", False), ("0.27.1", True), ("1.0", True)])
def test_metrics_of_requests_are_asked_for_where_the_version_has_them(
    version: str, there: bool
) -> None:
    assert ("--enable-per-request-metrics" in built(version=version)) is there


def test_metrics_of_requests_need_statistics() -> None:
    assert "--enable-per-request-metrics" not in built(flags=("--disable-log-stats",))


def test_what_is_left_open_is_kept_small_on_the_cpu() -> None:
    argv = built(on_cpu=True)
    assert "--enforce-eager" in argv
    assert value(argv, "--max-model-len") == "4096"
    assert value(argv, "--kv-cache-memory-bytes") == str(2 * 2**30)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_model_len": 512, "kv_cache_memory_bytes": 10**9, "flags": ("--no-enforce-eager",)},
        {
            "gpu_memory_utilization": 0.2,
            "flags": ("--max_model_len=512", "--compilation-config={}"),
        },
    ],
)
def test_what_the_user_said_holds_on_the_cpu(fields: dict[str, Any]) -> None:
    argv = built(on_cpu=True, **fields)
    said = " ".join(argv)
    assert "--enforce-eager" not in argv
    assert said.count("max-model-len") + said.count("max_model_len") == 1
    assert str(2 * 2**30) not in argv
