"""The names in vLLM's /metrics. They changed between vLLM 0.6 and 0.33."""

from collections.abc import Mapping

from journal.records.engine import MetricNames

PREFIX = "vllm:"
ACCEPTED_AT = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
MOST_POSITIONS = 8  # of a draft that are read one by one
# Of an engine that drafts tokens and accepts some of them.
SPECULATION: Mapping[str, tuple[str, ...]] = {
    "drafts_total": ("vllm:spec_decode_num_drafts_total",),
    "draft_tokens_total": ("vllm:spec_decode_num_draft_tokens_total",),
    "accepted_tokens_total": ("vllm:spec_decode_num_accepted_tokens_total",),
    **{
        f"accepted_at_{place + 1}_total": (f'{ACCEPTED_AT}{{position="{place}"}}',)
        for place in range(MOST_POSITIONS)
    },
}
METRICS = MetricNames(
    prefix=PREFIX,
    readings={
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "kv_cache_fraction": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        "preemptions_total": ("vllm:num_preemptions_total", "vllm:num_preemptions"),
        "prefix_queries_total": (
            "vllm:prefix_cache_queries_total",
            "vllm:gpu_prefix_cache_queries_total",
            "vllm:gpu_prefix_cache_queries",
        ),
        "prefix_hits_total": (
            "vllm:prefix_cache_hits_total",
            "vllm:gpu_prefix_cache_hits_total",
            "vllm:gpu_prefix_cache_hits",
        ),
        "prompt_tokens_total": ("vllm:prompt_tokens_total",),
        "output_tokens_total": ("vllm:generation_tokens_total",),
        **SPECULATION,
    },
    pool="vllm:cache_config_info",
    ttft="vllm:time_to_first_token_seconds",
    itl="vllm:inter_token_latency_seconds",
    sometimes=frozenset(SPECULATION),
)
NEWEST: Mapping[str, str] = {field: names[0] for field, names in METRICS.readings.items()}
# Read by the dashboards alone.
REQUESTS_ENDED = "vllm:request_success_total"
PHASES: Mapping[str, str] = {
    phase: f"vllm:request_{phase}_time_seconds" for phase in ("queue", "prefill", "decode")
}
E2E = "vllm:e2e_request_latency_seconds"
