"""Result files of `vllm bench serve`: with every request (--save-detailed), or with their figures
alone, as JSON, as appended lines, or as a list of a sweep."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AllowInfNan

from journal.errors import UsageError
from journal.exchange.fields import (
    AGAIN,
    Clock,
    Count,
    ForeignPart,
    Name,
    Natural,
    Number,
    Seconds,
    Tokens,
    checked_number,
    local_time,
    shown,
)
from journal.exchange.foreign import (
    Foreign,
    answered,
    failed,
    from_send,
    given,
    known,
    singles,
    spread_of,
    stamps,
    typical,
    without_requests,
)
from journal.records.figure import Figure
from journal.records.request import Trace

TOOL = "vllm bench serve"
LATENCIES = {"ttft": "ttft_s", "tpot": "tpot_s", "itl": "icl_s", "e2el": "e2e_s"}
STATISTICS = {"mean": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}
DETAILS = ("input_lens", "output_lens", "ttfts", "itls")


class Summary(ForeignPart):
    """The part of a result that every file of the family has: the load, counts and rates."""

    date: Annotated[str, MaxLen(40)] | None = None
    model_id: Name | None = None
    request_rate: Annotated[float, AllowInfNan(True)] | str | None = None
    burstiness: Annotated[float, Ge(0), Le(1e6)] = 1.0
    max_concurrency: Count | None = None
    ramp_up_strategy: Name | None = None
    run_number: int | None = None
    num_prompts: Natural | None = None
    duration: Seconds | None = None
    completed: Natural | None = None
    failed: Natural | None = None
    total_input_tokens: Number | None = None
    total_output_tokens: Number | None = None
    request_throughput: Number | None = None
    output_throughput: Number | None = None
    total_token_throughput: Number | None = None
    total_throughput: Number | None = None


class _Result(Summary):
    input_lens: Annotated[list[Tokens], MinLen(1)]
    output_lens: list[Tokens | None]
    ttfts: list[Seconds | None]
    itls: list[list[Seconds] | None]
    start_times: list[Clock] | None = None
    errors: list[str | None] | None = None
    latencies: list[Seconds] | None = None
    generated_texts: list[str] | None = None
    cached_tokens: list[Tokens | None] | None = None


def is_from_vllm(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a result of `vllm bench serve`, or of a program with its form."""
    return "request_throughput" in data and ("model_id" in data or "duration" in data)


def vllm_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a result. Raises UsageError and pydantic's ValidationError for values that
    are not valid."""
    return (family_run(data, TOOL, "--save-detailed"),)


def family_run(
    data: Mapping[str, Any], tool: str, option: str, model: str | None = None
) -> Foreign:
    """The run of one result in the form that `vllm bench serve` and its family write; `option` is
    the option by which `tool` writes every request, and `model` the model where the result does not
    name it. Raises UsageError and ValidationError."""
    if any(data.get(name) is None for name in DETAILS):
        return _of_figures(data, Summary.model_validate(data), tool, option, model)
    result = _Result.model_validate(data)
    count = len(result.input_lens)
    lists = (*DETAILS, "start_times", "errors", "latencies", "generated_texts", "cached_tokens")
    for name in lists:
        values = getattr(result, name)
        if name not in DETAILS and values == []:
            setattr(result, name, None)  # nothing to tell of any request
        elif values is not None and len(values) != count:
            raise UsageError(
                f"{name} has {len(values)} values and needs {count}, as input_lens has: {AGAIN}"
            )
    own = _own(data, result)
    if result.start_times is None:
        return _of_lists(data, result, own, tool, model)
    traces = tuple(_trace(result, index) for index in range(count))
    run = _about(result, tool, count, model)
    return Foreign(
        **run,
        prompt_tokens=typical([trace.prompt_tokens for trace in traces]),
        output_tokens=typical([trace.output_tokens for trace in traces]),
        traces=traces,
        own=own,
        notes=from_send(run["rate"]),
    )


def _about(result: Summary, tool: str, count: int, model: str | None) -> dict[str, Any]:
    """What a result says of its load and its time, as fields of Foreign."""
    rate = None if result.ramp_up_strategy else _rate(result.request_rate)
    open_loop = rate is not None and math.isfinite(rate) and rate > 0
    at_once = result.max_concurrency or (None if rate is None else count)
    duration_s = result.duration
    return {
        "tool": tool,
        "model": result.model_id or model,
        "batch": None if open_loop else at_once,
        "rate": rate if open_loop else None,
        "burstiness": result.burstiness,
        "started_at": _started(result.date, duration_s),
        "duration_s": duration_s,
        "requests": count,
        "repeat": max(0, result.run_number or 0),
    }


def _started(date: str | None, duration_s: float | None) -> datetime | None:
    """When a run began whose file was written at `date`, just after its end."""
    if date is None:
        return None
    ended = local_time(date, "%Y%m%d-%H%M%S")
    return ended - timedelta(seconds=0.0 if duration_s is None else duration_s)


def _rate(written: float | str | None) -> float | None:
    """The rate in requests/s; infinite where all requests are sent at once, None where they
    follow a trace, or where the file does not say."""
    if written is None or written == "trace":
        return None
    try:
        return float(written)
    except ValueError as error:
        raise UsageError(
            f"request_rate is {shown(written)}, which is no number: {AGAIN}"
        ) from error


# ---- with requests ---------------------------------------------------------------------------


def _trace(result: _Result, index: int) -> Trace:
    starts = result.start_times or [0.0]
    start_s = starts[index] - min(starts)
    ttft_s, gaps_s = result.ttfts[index] or 0.0, result.itls[index] or []
    latency_s = result.latencies[index] if result.latencies else ttft_s + math.fsum(gaps_s)
    if _has_failed(result, index):
        error = (result.errors[index] if result.errors else None) or ""
        return failed(index, start_s, start_s + latency_s, error)
    texts, cached = result.generated_texts, result.cached_tokens
    return answered(
        index,
        start_s,
        stamps(start_s, ttft_s, gaps_s),
        start_s + latency_s,
        prompt_tokens=result.input_lens[index],
        output_tokens=result.output_lens[index],
        cached_tokens=cached[index] if cached else None,
        output_chars=len(texts[index]) if texts else None,
    )


def _has_failed(result: _Result, index: int) -> bool:
    """Whether a request failed: with an error, or without a first token."""
    return bool(result.errors and result.errors[index]) or not result.ttfts[index]


def _of_lists(
    data: Mapping[str, Any], result: _Result, own: Mapping[str, float], tool: str, model: str | None
) -> Foreign:
    """A run whose requests are known by their latencies, but not when each was sent."""
    count = len(result.input_lens)
    good = [index for index in range(count) if not _has_failed(result, index)]
    samples = _samples(result, good)
    written = _figures(data, result, count)
    lengths: dict[str, list[int | None]] = {
        "prompt_tokens": [result.input_lens[index] for index in good],
        "output_tokens": [result.output_lens[index] for index in good],
    }
    counted = singles(
        {
            name: None if None in values else sum(filter(None, values))
            for name, values in lengths.items()
        }
    )
    counted |= singles({"requests": count, "errors": count - len(good)})
    return Foreign(
        **_about(result, tool, count, model),
        prompt_tokens=typical(lengths["prompt_tokens"]),
        output_tokens=typical(lengths["output_tokens"]),
        figures=written | counted | spreads(samples),
        samples=samples,
        own=own,
        notes=(without_requests("no_starts"),),
    )


def _samples(result: _Result, good: Sequence[int]) -> dict[str, list[float]]:
    """The latencies of the requests `good`, by the families of metrics."""
    gaps_s = {index: result.itls[index] or [] for index in good}
    ttft_s = {index: result.ttfts[index] or 0.0 for index in good}
    tokens = {index: result.output_lens[index] or 0 for index in good}
    lasting_s = {index: math.fsum(gaps_s[index]) for index in good}
    several = [index for index in good if tokens[index] > 1 and gaps_s[index]]
    samples = {
        "ttft_s": [ttft_s[index] for index in good],
        "icl_s": [gap for index in good for gap in gaps_s[index]],
        "tpot_s": [lasting_s[index] / (tokens[index] - 1) for index in several],
        "e2e_s": [
            result.latencies[index] if result.latencies else ttft_s[index] + lasting_s[index]
            for index in good
        ],
    }
    return {name: values for name, values in samples.items() if values}


def spreads(samples: Mapping[str, Sequence[float]]) -> dict[str, Figure]:
    """The statistics of values by the families of metrics."""
    return {
        f"{family}.{name}": figure
        for family, values in samples.items()
        for name, figure in spread_of(values).items()
    }


def _own(data: Mapping[str, Any], result: Summary) -> dict[str, float]:
    """The figures that the file gives itself, by the names of metrics."""
    own = {
        f"{family}.{name}": value
        for theirs, family in LATENCIES.items()
        for name, value in _written(data, theirs).items()
    }
    own |= {
        "errors": None if result.failed is None else float(result.failed),
        "requests": _counted(result),
        "prompt_tokens": result.total_input_tokens,
        "output_tokens": result.total_output_tokens,
        "requests_per_s": result.request_throughput,
        "output_tokens_per_s": result.output_throughput,
    }
    return {name: value for name, value in own.items() if value is not None}


def _failures(result: Summary) -> float | None:
    """The requests that failed, which are those that the file counts, or that it does not count as
    completed."""
    if result.num_prompts is None or result.completed is None:
        return None if result.failed is None else float(result.failed)
    left = max(0, result.num_prompts - result.completed)
    return float(max(left, result.failed or 0))


def _counted(result: Summary) -> float | None:
    """The requests that the file counts as completed or failed; None where it does not."""
    failures = _failures(result)
    return None if failures is None or result.completed is None else result.completed + failures


# ---- figures alone ---------------------------------------------------------------------------


def _written(data: Mapping[str, Any], theirs: str) -> dict[str, float | None]:
    """The statistics of the latency `theirs` in s, as the file gives them in ms: mean, median and
    percentiles; SGLang says e2e_latency for e2el. Where all are 0, the tool had no value."""
    names = (f"{theirs}_ms", "e2e_latency_ms") if theirs == "e2el" else (f"{theirs}_ms",)
    written = {}
    for ours, statistic in STATISTICS.items():
        name = next((f"{statistic}_{n}" for n in names if f"{statistic}_{n}" in data), None)
        if name is not None:
            value = checked_number(data[name], name)
            written[ours] = None if value is None else value / 1e3
    return written if any(written.values()) else {}


def _figures(data: Mapping[str, Any], result: Summary, count: int) -> dict[str, Figure]:
    """The figures of the file, by the names of metrics."""
    failures = _failures(result)
    done = count if failures is None else count - int(failures)
    figures: dict[str, Figure] = {}
    for theirs, family in LATENCIES.items():
        figures |= given(family, _written(data, theirs), done)
    total = result.total_token_throughput
    written = {
        "requests": float(count),
        "errors": failures,
        "duration_s": result.duration,
        "prompt_tokens": result.total_input_tokens,
        "output_tokens": result.total_output_tokens,
        "requests_per_s": result.request_throughput,
        "output_tokens_per_s": result.output_throughput,
        "total_tokens_per_s": result.total_throughput if total is None else total,
    }
    return known(figures) | singles(written)


def _of_figures(
    data: Mapping[str, Any], result: Summary, tool: str, option: str, model: str | None
) -> Foreign:
    """A run without requests: the file's own figures."""
    asked = result.num_prompts
    done = result.completed
    if asked is None and done is None:
        raise UsageError(f"it has neither completed nor num_prompts: {AGAIN}")
    known = [number for number in (done, result.failed) if number is not None]
    count = sum(known) if asked is None else asked
    answers = 0 if done is None else done
    return Foreign(
        **_about(result, tool, count, model),
        prompt_tokens=_mean(result.total_input_tokens, answers),
        output_tokens=_mean(result.total_output_tokens, answers),
        figures=_figures(data, result, count),
        notes=(without_requests("no_details", option),),
    )


def _mean(total: float | None, answers: int) -> int | None:
    return None if not total or not answers else round(total / answers)
