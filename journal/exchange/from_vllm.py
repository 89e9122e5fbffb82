"""Result files of `vllm bench serve --save-result --save-detailed`."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen

from journal.errors import UsageError
from journal.exchange.foreign import (
    Clock,
    Count,
    Foreign,
    ForeignPart,
    Name,
    Seconds,
    Tokens,
    answered,
    failed,
    local_time,
    stamps,
    typical,
)
from journal.records.request import Trace

TOOL = "vllm bench serve"
DETAILS = ("start_times", "ttfts", "itls", "errors")


class _Result(ForeignPart):
    date: Annotated[str, MaxLen(40)]
    model_id: Name
    request_rate: float | str
    burstiness: Annotated[float, Ge(0), Le(1e6)] = 1.0
    max_concurrency: Count | None = None
    duration: Seconds
    input_lens: Annotated[list[Tokens], MinLen(1)]
    output_lens: list[Tokens]
    ttfts: list[Seconds]
    itls: list[list[Seconds]]
    start_times: list[Clock]
    errors: list[str]
    latencies: list[Seconds] | None = None
    generated_texts: list[str] | None = None


def is_from_vllm(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a result file of `vllm bench serve`."""
    return "model_id" in data and "request_throughput" in data


def vllm_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a file. Raises UsageError for a file without a value for each request, and
    pydantic's ValidationError for values that are not valid."""
    missing = [name for name in DETAILS if name not in data]
    if missing:
        raise UsageError(
            f"this file of {TOOL} has no {missing[0]} for each request: measure again with "
            "--save-detailed, by vLLM 0.13 or later"
        )
    result = _Result.model_validate(data)
    count = len(result.input_lens)
    for name in ("output_lens", "latencies", "generated_texts", *DETAILS):
        if getattr(result, name) is not None and len(getattr(result, name)) != count:
            raise UsageError(f"{name} of this file needs {count} values, as input_lens has")
    rate = _rate(result.request_rate)
    open_loop = math.isfinite(rate) and rate > 0
    traces = tuple(_trace(result, index) for index in range(count))
    return (
        Foreign(
            tool=TOOL,
            version=None,
            model=result.model_id,
            batch=None if open_loop else result.max_concurrency or count,
            rate=rate if open_loop else None,
            burstiness=result.burstiness,
            started_at=local_time(result.date, "%Y%m%d-%H%M%S")
            - timedelta(seconds=result.duration),
            duration_s=result.duration,
            requests=count,
            prompt_tokens=typical([trace.prompt_tokens for trace in traces]),
            output_tokens=typical([trace.output_tokens for trace in traces]),
            traces=traces,
            notes=(({"variant": "imported_from_send"},) if open_loop else ()),
        ),
    )


def _trace(result: _Result, index: int) -> Trace:
    start_s = result.start_times[index] - min(result.start_times)
    ttft_s, gaps_s = result.ttfts[index], result.itls[index]
    latency_s = result.latencies[index] if result.latencies else ttft_s + math.fsum(gaps_s)
    if result.errors[index] or ttft_s == 0:
        return failed(index, start_s, start_s + latency_s, result.errors[index])
    texts = result.generated_texts
    return answered(
        index,
        start_s,
        stamps(start_s, ttft_s, gaps_s),
        start_s + latency_s,
        prompt_tokens=result.input_lens[index],
        output_tokens=result.output_lens[index],
        output_chars=len(texts[index]) if texts else None,
    )


def _rate(written: float | str) -> float:
    try:
        return float(written)
    except ValueError as error:
        raise UsageError(f"request_rate {written!r} of this file is not a number") from error
