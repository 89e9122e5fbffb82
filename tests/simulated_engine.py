"""The simulator as a kind of engine of its own: it shares neither flags nor variables, neither the
words of its log nor the names of its metrics with vLLM. Run as a program it is that engine."""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from journal.errors import EngineError
from journal.records.engine import EngineFacts, MetricNames
from journal.records.experiment import Engine
from journal.records.explanation import Explanation
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.log_lines import tail
from journal.simulator.http import Script, serve

BLOCK_TOKENS, BLOCKS = 32, 4096
THINKS_S = 1.5  # so long that its phase is seen


def device(_: Mapping[str, str | None]) -> Literal["cpu", "cuda", "other"]:
    return "cpu"


def command(
    engine: Engine,
    *,
    python: str,
    model: str,
    name: str,
    host: str,
    port: int,
    version: str,
    on_cpu: bool,
    longest: int | None,
) -> list[str]:
    assert version and on_cpu and longest
    argv = [python, __file__, "--called", name, "--at", f"{host}:{port}", "--of", model]
    return [*argv, "--longest", str(longest), *engine.flags]


def context_tokens(_: Engine, longest: int | None, *, on_cpu: bool) -> int | None:
    return longest if on_cpu else None


def no_weights(_: Engine) -> tuple[str, ...]:
    return ()


def nothing(_: Engine) -> frozenset[str]:
    return frozenset()


def facts(lines: Iterable[str]) -> EngineFacts:
    found = re.search(r"the pool has (\d+) tokens in (\d+) bytes", "\n".join(lines))
    if found is None:
        return EngineFacts()
    return EngineFacts(kv_pool_tokens=int(found[1]), kv_pool_bytes=int(found[2]))


def failure(event: str, text: str, log_path: Path) -> EngineError:
    found = re.search(r"I cannot go on, for (.*)", text)
    return EngineError(f"{event}: {found[1] if found else log_path}", log_tail=tail(text))


SIMULATOR = EngineKind(
    name="the simulator",
    packages=("serving-journal",),
    oldest=(0,),
    install="install the journal there",
    device=device,
    command=command,
    context_tokens=context_tokens,
    reserved_flags=frozenset({"--called", "--at"}),
    secret_flags=frozenset({"--password"}),
    field_flags={},
    weight_files=no_weights,
    fixed_variables={"SIMULATED": "yes"},
    key_variable="SIMULATED_KEY",
    long_context_variable=None,
    other_hub_variable=None,
    overriding_variables=nothing,
    phases=((re.compile("I think of"), "thinking"), (re.compile("the pool has"), "filling")),
    fetching=None,
    loading=None,
    facts=facts,
    failure=failure,
    explanation=lambda lines: Explanation(kv_pool_tokens=facts(lines).kv_pool_tokens),
    metric_names=MetricNames(
        prefix="sim:",
        readings={
            "running": ("sim:num_requests_running",),
            "waiting": ("sim:num_requests_waiting",),
            "kv_cache_fraction": ("sim:kv_cache_usage_perc",),
            "preemptions_total": ("sim:num_preemptions_total",),
            "prompt_tokens_total": ("sim:prompt_tokens_total",),
            "output_tokens_total": ("sim:generation_tokens_total",),
        },
        pool="sim:cache_config_info",
        ttft="sim:time_to_first_token_seconds",
        itl="sim:inter_token_latency_seconds",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--called", "--at", "--of", "--longest", "--sulk"):
        parser.add_argument(flag)
    asked = parser.parse_args()
    assert os.environ["SIMULATED"] == "yes"
    print(f"I think of {asked.of}", flush=True)
    time.sleep(THINKS_S)
    if asked.sulk:
        sys.exit(f"I cannot go on, for {asked.sulk}")
    print(f"the pool has {BLOCK_TOKENS * BLOCKS} tokens in {2**30} bytes", flush=True)
    host, _, port = asked.at.rpartition(":")
    script = Script(
        model=asked.called,
        ttft_s=0.02,
        itl_s=0.002,
        max_model_len=int(asked.longest),
        block_size=BLOCK_TOKENS,
        kv_blocks=BLOCKS,
        api_key=os.environ.get("SIMULATED_KEY"),
        metric_prefix="sim:",
    )
    serve(script, host, int(port))


if __name__ == "__main__":
    main()
