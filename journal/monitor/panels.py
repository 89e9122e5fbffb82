"""Dashboards: every panel, its queries in PromQL, and the sentence that explains it."""

from dataclasses import dataclass
from typing import Literal

from journal.serve.engines.vllm.metric_names import (
    E2E,
    METRICS,
    NEWEST,
    PHASES,
    REQUESTS_ENDED,
)

RATE = "$__rate_interval"  # Grafana's own: at least four scrapes
OF = '{model_name=~"$model"}'  # the models chosen at the top of the board

Query = tuple[str, str]  # PromQL, and the legend


@dataclass(frozen=True, slots=True)
class DashboardPanel:
    """One panel of a dashboard. `unit` is one of Grafana's: s, bytes, percentunit, short, watt,
    celsius, joule. `about` says what to look for."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    about: str
    kind: Literal["timeseries", "heatmap", "stat", "table"] = "timeseries"
    width: int = 12  # of 24


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `by_model`: its queries are of the models chosen at its top."""

    uid: str
    title: str
    panels: tuple[DashboardPanel, ...]
    by_model: bool = False


def _quantiles(name: str) -> tuple[Query, ...]:
    return tuple(
        (
            f"histogram_quantile({quantile}, "
            f"sum by (le, model_name) (rate({name}_bucket{OF}[{RATE}])))",
            f"p{quantile * 100:g} {{{{model_name}}}}",
        )
        for quantile in (0.5, 0.95)
    )


def _mean(name: str) -> Query:
    sums = (f"sum by (model_name) (rate({name}_{part}{OF}[{RATE}]))" for part in ("sum", "count"))
    return " / ".join(sums), "mean {{model_name}}"


def _sum(name: str, legend: str) -> Query:
    return f"sum by (model_name) ({name}{OF})", f"{legend} {{{{model_name}}}}"


def _rate(name: str, legend: str, by: str = "model_name") -> Query:
    return f"sum by ({by}) (rate({name}{OF}[{RATE}]))", legend


SERVING = Board(
    "journal-serving",
    "vLLM: serving",
    by_model=True,
    panels=(
        DashboardPanel(
            "Requests",
            "short",
            (_sum(NEWEST["running"], "running"), _sum(NEWEST["waiting"], "waiting")),
            "Waiting above 0 for long: the server is at its limit.",
        ),
        DashboardPanel(
            "KV cache in use",
            "percentunit",
            ((f"max by (model_name) ({NEWEST['kv_cache_fraction']}{OF})", "{{model_name}}"),),
            "Near 100% running requests are preempted, and their tokens computed twice.",
        ),
        DashboardPanel(
            "Tokens per second",
            "short",
            (
                _rate(NEWEST["output_tokens_total"], "output {{model_name}}"),
                _rate(NEWEST["prompt_tokens_total"], "prompts {{model_name}}"),
            ),
            "Output is what users wait for; prompts are what prefill costs.",
        ),
        DashboardPanel(
            "Time to first token",
            "s",
            (*_quantiles(METRICS.ttft), _mean(METRICS.ttft)),
            "Queue and prefill together. Quantiles are no finer than vLLM's buckets, the mean is.",
        ),
        DashboardPanel(
            "Time between tokens",
            "s",
            (*_quantiles(METRICS.itl), _mean(METRICS.itl)),
            "Rises with the batch, and jumps when a long prompt is prefilled beside it.",
        ),
        DashboardPanel(
            "Whole latency",
            "s",
            _quantiles(E2E),
            "Depends on how many tokens are asked for.",
        ),
        DashboardPanel(
            "Where the time goes",
            "s",
            tuple(
                (_mean(name)[0], f"{phase} {{{{model_name}}}}") for phase, name in PHASES.items()
            ),
            "Queue grows: too much load. Prefill grows: long prompts. Decode: long answers.",
        ),
        DashboardPanel(
            "Finished requests per second",
            "short",
            (_rate(REQUESTS_ENDED, "{{finished_reason}}", "finished_reason"),),
            "Many with reason length: answers are cut at max_tokens. Abort: clients went away.",
        ),
        DashboardPanel(
            "Prefix-cache hits",
            "percentunit",
            (
                (
                    f"{_rate(NEWEST['prefix_hits_total'], '')[0]} / "
                    f"{_rate(NEWEST['prefix_queries_total'], '')[0]}",
                    "{{model_name}}",
                ),
            ),
            "The share of prompt tokens that need no prefill.",
        ),
        DashboardPanel(
            "Preemptions per second",
            "short",
            (_rate(NEWEST["preemptions_total"], "{{model_name}}"),),
            "Anything above 0 is work done twice.",
        ),
        DashboardPanel(
            "Time to first token, spread",
            "s",
            (
                (
                    f"sum by (le) (increase({METRICS.ttft}_bucket{OF}[{RATE}]))",
                    "{{le}}",
                ),
            ),
            "Two bands where there should be one: some requests wait.",
            kind="heatmap",
            width=24,
        ),
    ),
)


def _by_gpu(name: str) -> tuple[Query, ...]:
    return ((name, "GPU {{gpu}}"),)


HOST = Board(
    "journal-host",
    "Host: GPUs and memory",
    (
        DashboardPanel(
            "GPUs", "short", (("journal_gpus", "GPUs"),), "GPUs that NVML reads.", "stat", 4
        ),
        DashboardPanel(
            "VRAM",
            "bytes",
            (
                ("journal_gpu_memory_used_bytes", "used, GPU {{gpu}}"),
                ("journal_gpu_memory_total_bytes", "total, GPU {{gpu}}"),
            ),
            "Flat while it serves: vLLM reserves its KV cache at the start.",
            width=20,
        ),
        DashboardPanel(
            "Utilisation",
            "percentunit",
            _by_gpu("journal_gpu_utilisation_ratio"),
            "The share of time in which anything ran, not how much of the GPU.",
        ),
        DashboardPanel("Power", "watt", _by_gpu("journal_gpu_power_watts"), "Watts now."),
        DashboardPanel(
            "Temperature",
            "celsius",
            _by_gpu("journal_gpu_temperature_celsius"),
            "Above about 85 °C GPUs slow down.",
        ),
        DashboardPanel(
            "Energy per output token",
            "joule",
            (
                (
                    f"sum(rate(journal_gpu_energy_joules_total[{RATE}])) / "
                    f"sum(rate({NEWEST['output_tokens_total']}[{RATE}]))",
                    "J per token",
                ),
            ),
            "Of all GPUs here, whatever else runs on them.",
        ),
        DashboardPanel(
            "Resident memory of servers",
            "bytes",
            (("journal_server_resident_bytes", "{{model}}"),),
            "On the CPU engine this is where weights and KV cache are.",
        ),
        DashboardPanel(
            "CPU of servers",
            "short",
            ((f"rate(journal_server_cpu_seconds_total[{RATE}])", "{{model}}"),),
            "In cores.",
        ),
    ),
)


def _run(name: str) -> tuple[Query, ...]:
    legend = "{{model}} {{quantisation}}, batch {{batch}}{{rate}}, {{prompt_tokens}} tokens"
    return ((name, legend),)


RUNS = Board(
    "journal-runs",
    "Journal: the last run of each cell",
    tuple(
        DashboardPanel(title, unit, _run(f"journal_run_{name}"), about, "table", 12)
        for title, unit, name, about in (
            ("TTFT p50", "s", "ttft_seconds", "At the client, not at the server."),
            ("TPOT", "s", "tpot_seconds", "Mean time per output token after the first."),
            ("E2E p50", "s", "e2e_seconds", "Whole latency at the client."),
            ("Output tokens/s", "short", "output_tokens_per_second", "Of all requests together."),
            ("KV cache, peak", "percentunit", "kv_cache_peak_ratio", "Of the pool."),
            ("VRAM, peak", "bytes", "vram_peak_bytes", "Of all the server's GPUs."),
            ("Memory, peak", "bytes", "memory_peak_bytes", "Resident, of the server's processes."),
            ("Errors", "percentunit", "error_ratio", "A run with errors is not to be compared."),
        )
    ),
)

BOARDS = (SERVING, HOST, RUNS)
