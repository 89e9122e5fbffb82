"""Kinds of servers by the names in their /metrics: those that are read, and those that are only
recognised.

Sources: SGLang's python/sglang/srt/metrics/collector.py, llama.cpp's tools/server, TGI's
router/src/server.rs, LMDeploy's lmdeploy/metrics.
"""

import re
from dataclasses import dataclass

from journal.records.engine import MetricNames
from journal.serve.engines.vllm.metric_names import METRICS


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A kind of server whose samples at /metrics all begin with `prefix`. `names` are those that a
    ServerReading takes; None: none of them."""

    name: str
    prefix: str
    names: MetricNames | None = None


SGLANG = MetricNames(
    prefix="sglang",
    readings={
        "running": (
            *("sglang:num_running_reqs", "sglang_num_running_reqs"),
            "sglang:num_requests_running",
        ),
        "waiting": (
            *("sglang:num_queue_reqs", "sglang_num_queue_reqs"),
            "sglang:num_requests_waiting",
        ),
        "kv_cache_fraction": ("sglang:token_usage", "sglang_token_usage"),
        "prompt_tokens_total": ("sglang:prompt_tokens_total", "sglang_prompt_tokens_total"),
        "output_tokens_total": ("sglang:generation_tokens_total", "sglang_generation_tokens_total"),
    },
    pool="sglang:cache_config_info",
    ttft="sglang:time_to_first_token_seconds",
    itl="sglang:inter_token_latency_seconds",
    ranks=("tp_rank", "pp_rank"),
)
LLAMA_CPP = MetricNames(
    prefix="llamacpp:",
    readings={
        "running": ("llamacpp:requests_processing",),
        "waiting": ("llamacpp:requests_deferred",),
        "kv_cache_fraction": ("llamacpp:kv_cache_usage_ratio",),  # not in its newest versions
        "prompt_tokens_total": ("llamacpp:prompt_tokens_total",),
        "output_tokens_total": ("llamacpp:tokens_predicted_total",),
    },
    pool="",
    ttft="",
    itl="",
)
SERVERS = (
    ServerKind("vLLM", METRICS.prefix, METRICS),
    ServerKind("SGLang", SGLANG.prefix, SGLANG),
    ServerKind("llama.cpp", LLAMA_CPP.prefix, LLAMA_CPP),
    ServerKind("TGI", "tgi_"),
    ServerKind("LMDeploy", "lmdeploy:"),
    ServerKind("TensorRT-LLM", "trtllm"),
    ServerKind("Triton Inference Server", "nv_inference"),
)
# Variants of the doubt "absent" that say that a server's /metrics is there and is not read.
UNREAD = ("metrics_of", "metrics_of_unknown")
_COMMENT = re.compile(rb"# (?:HELP|TYPE) ")


def kind_at(page: bytes) -> ServerKind | None:
    """The kind of the server that gave `page` at /metrics: the first of SERVERS with a sample in
    it. None where it has none, although it may be a page of another server."""
    lines = page.split(b"\n")
    for kind in SERVERS:
        start = kind.prefix.encode()
        if any(_COMMENT.sub(b"", line, count=1).startswith(start) for line in lines):
            return kind
    return None


def is_prometheus(page: bytes) -> bool:
    """Whether `page` looks like a page of metrics, whoever gave it."""
    return any(_COMMENT.match(line) for line in page.split(b"\n"))
