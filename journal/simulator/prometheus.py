"""The counts of the simulated engine, under vLLM's metric names in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from journal.simulator.engine_model import Job, SimulatedEngine

# The bounds of vLLM's own histograms (0.32), in s.
TTFT: tuple[float, ...] = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
)
TTFT += (10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
ITL: tuple[float, ...] = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
)
ITL += (10.0, 20.0, 40.0, 80.0)
LATENCY: tuple[float, ...] = (
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
)
LATENCY += (120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
HELP = "Simulated by the journal's fake server."


class BucketCounts:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Timings:
    """The durations of requests in s, by the engine's own clock, as histograms."""

    def __init__(self) -> None:
        self.histograms = {
            "time_to_first_token_seconds": BucketCounts(TTFT),
            "inter_token_latency_seconds": BucketCounts(ITL),
            "e2e_request_latency_seconds": BucketCounts(LATENCY),
            "request_queue_time_seconds": BucketCounts(LATENCY),
            "request_prefill_time_seconds": BucketCounts(LATENCY),
            "request_decode_time_seconds": BucketCounts(LATENCY),
        }
        self.finished: Counter[str] = Counter({"stop": 0, "length": 0, "abort": 0})
        self._between_tokens = self.histograms["inter_token_latency_seconds"].observe

    def tokens(self, job: "Job", before: float, count: int) -> None:
        """Count `count` tokens of `job` that came at `job.last_at`; the token before them came at
        `before`."""
        if job.made == count:
            first_token = self.histograms["time_to_first_token_seconds"]
            first_token.observe(job.first_at - job.queued_at)
            count -= 1
            before = job.last_at
        if count:
            self._between_tokens((job.last_at - before) / count, count)

    def finish(self, job: "Job", reason: str) -> None:
        self.finished[reason] += 1
        took = {
            "e2e_request_latency_seconds": job.last_at - job.queued_at,
            "request_queue_time_seconds": job.scheduled_at - job.queued_at,
            "request_prefill_time_seconds": job.first_at - job.scheduled_at,
            "request_decode_time_seconds": job.last_at - job.first_at,
        }
        for name, value in took.items():
            self.histograms[name].observe(value)


def prometheus(engine: "SimulatedEngine") -> str:
    """The engine's state as text for /metrics, as vLLM gives its own."""
    script = engine.script
    labels = f'engine="0",model_name="{script.model}"'
    used = min(1.0, engine.blocks_used / script.kv_blocks)
    prefix = script.metric_prefix
    lines = []
    for kind, name, suffix, value in (
        ("gauge", "num_requests_running", "", len(engine.running)),
        ("gauge", "num_requests_waiting", "", len(engine.waiting)),
        ("gauge", "kv_cache_usage_perc", "", used),
        ("counter", "num_preemptions", "_total", engine.preemptions),
        ("counter", "prefix_cache_queries", "_total", engine.prefix_queries),
        ("counter", "prefix_cache_hits", "_total", engine.prefix_hits),
        ("counter", "prompt_tokens", "_total", engine.prompt_tokens),
        ("counter", "generation_tokens", "_total", engine.output_tokens),
    ):
        lines += _family(prefix + name, kind)
        lines.append(f"{prefix}{name}{suffix}{{{labels}}} {float(value)}")
    lines += _family(f"{prefix}request_success", "counter")
    for reason, count in engine.timings.finished.items():
        sample = f'{prefix}request_success_total{{{labels},finished_reason="{reason}"}}'
        lines.append(f"{sample} {float(count)}")
    for name, histogram in engine.timings.histograms.items():
        lines += _family(prefix + name, "histogram")
        lines += _histogram(prefix + name, labels, histogram)
    tokens = script.kv_blocks * script.block_size
    lines += [
        *_family(f"{prefix}cache_config_info", "gauge"),
        f'{prefix}cache_config_info{{block_size="{script.block_size}",engine="0",'
        f'enable_prefix_caching="{script.prefix_caching}",kv_cache_size_tokens="{tokens}",'
        f'num_gpu_blocks="{script.kv_blocks}"}} 1.0',
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str) -> list[str]:
    return [f"# HELP {name} {HELP}", f"# TYPE {name} {kind}"]


def _histogram(name: str, labels: str, histogram: BucketCounts) -> list[str]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    counts = list(accumulate(histogram.counts))
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {float(count)}'
        for bound, count in zip(bounds, counts, strict=True)
    ]
    return [
        *lines,
        f"{name}_count{{{labels}}} {float(counts[-1])}",
        f"{name}_sum{{{labels}}} {histogram.sum}",
    ]
