"""Other result files of vLLM: of `vllm bench throughput` and `vllm bench latency`, and of `vllm
bench serve` in the form of PyTorch's benchmarks. All give figures alone."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field

from journal.exchange.fields import Count, ForeignPart, Name, Number, Seconds
from journal.exchange.foreign import Foreign, singles, without_requests
from journal.exchange.from_vllm import TOOL, family_run, spreads

OFFLINE = {"throughput": "vllm bench throughput", "latency": "vllm bench latency"}
LOAD = ("request_rate", "max_concurrency", "burstiness", "num_prompts")


class _Offline(ForeignPart):
    elapsed_time: Seconds | None = None
    num_requests: Count | None = None
    requests_per_second: Number | None = None
    tokens_per_second: Number | None = None
    avg_latency: Seconds | None = None
    latencies: Annotated[list[Seconds], MinLen(1)] | None = None


class _Arguments(ForeignPart):
    args: dict[str, list[Any]] = Field(default_factory=dict)


class _Benchmark(ForeignPart):
    extra_info: _Arguments = _Arguments()


class _Named(ForeignPart):
    name: Name | None = None


class _Value(ForeignPart):
    name: Name
    benchmark_values: list[Any] = Field(default_factory=list)
    extra_info: dict[str, Any] = Field(default_factory=dict)


class _Record(ForeignPart):
    benchmark: _Benchmark
    model: _Named = _Named()
    metric: _Value


def is_offline(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a result of `vllm bench throughput` or `vllm bench latency`."""
    throughput = "requests_per_second" in data and "elapsed_time" in data
    return throughput or ("avg_latency" in data and "percentiles" in data)


def offline_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a benchmark without a server: its figures alone. Raises ValidationError."""
    result = _Offline.model_validate(data)
    kind = "latency" if result.latencies else "throughput"
    figures = singles(
        {
            "requests_per_s": result.requests_per_second,
            "total_tokens_per_s": result.tokens_per_second,
            "duration_s": result.elapsed_time,
        }
    )
    samples = {"e2e_s": result.latencies} if result.latencies else {}
    own = {} if result.avg_latency is None else {"e2e_s.mean": result.avg_latency}
    return (
        Foreign(
            tool=OFFLINE[kind],
            model=None,
            batch=None,
            rate=None,
            started_at=None,
            duration_s=result.elapsed_time,
            requests=len(result.latencies) if result.latencies else result.num_requests or 1,
            prompt_tokens=None,
            output_tokens=None,
            figures=figures | spreads(samples),
            samples=samples,
            own=own,
            notes=(without_requests("never"),),
        ),
    )


def pytorch_runs(records: Sequence[Any]) -> tuple[Foreign, ...]:
    """The one run of a result in the form of PyTorch's benchmarks, which has a record for each
    figure. Raises UsageError and ValidationError."""
    data: dict[str, Any] = {}
    for record in map(_Record.model_validate, records):
        arguments = record.benchmark.extra_info.args
        data |= {name: arguments[name][0] for name in LOAD if arguments.get(name)}
        data |= record.metric.extra_info
        data["model_id"] = record.model.name
        if record.metric.benchmark_values:
            data[record.metric.name] = record.metric.benchmark_values[0]
    return (family_run(data, TOOL, "--save-detailed"),)
