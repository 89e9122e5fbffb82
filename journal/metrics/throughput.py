"""The throughput rows of the table: work per time, errors, concurrency and goodput."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from journal.metrics import inference
from journal.metrics.arrays import Array, Index, Mask, total_of
from journal.metrics.row import Family, Metric, Shown, in_span, number_only, total
from journal.metrics.statistics import figure
from journal.metrics.view import View
from journal.metrics.window import Span, busy_s, in_flight
from journal.records.experiment import Slo
from journal.records.figure import Figure

Of = Callable[[View], Array]  # an amount of each request of `view.done`


def _per_second(view: View, amounts: Array, inside: float | None = None) -> Figure:
    """sum(amounts), or as much as came `inside` the measured span, over the span; in closed loop
    with its interval, in open loop without one, since the schedule sets it."""
    amount, span = total_of(amounts), view.span
    if amount is None or span is None or span.length_s <= 0:
        return Figure(None, count=0)
    amount = amount if inside is None else inside
    value, count = amount / span.length_s, len(amounts)
    flight_s, reached = view.all_end_s - view.all_start_s, _mean_in_flight(view, span)
    if view.cell.shape.is_open or reached is None or np.any(flight_s[view.is_done] <= 0):
        return Figure(value, count=count)
    whole = np.zeros(len(flight_s))  # a request that failed took its time and gave nothing
    whole[view.is_done] = amounts
    figure = inference.throughput(whole, flight_s, view.units, value, reached)
    return replace(figure, count=count)


def _written_per_s(of: Of) -> Callable[[View], Figure]:
    return lambda view: _per_second(view, of(view), _written(view, of))


def _total_tokens_per_s(view: View) -> Figure:
    written, read = _written(view, _output_tokens), total_of(view.prompt_tokens)
    inside = None if written is None or read is None else written + read
    return _per_second(view, view.prompt_tokens + view.output_tokens, inside)


def _written(view: View, of: Of) -> float | None:
    """As much of the answers as came in the measured span; None without fillers, which make it
    another amount than that of the measured requests, or where it is not known."""
    if not view.beside or view.span is None:
        return None
    return total(_inside(part, of(part), view.span) for part in (view, view.fillers))


def _output_tokens(view: View) -> Array:
    return view.output_tokens


def _output_chars(view: View) -> Array:
    return view.output_chars


def _requests(view: View) -> Figure:
    return Figure(float(len(view.measured)))


def _errors(view: View) -> Figure:
    return Figure(float(_failed(view).sum()), count=len(view.measured))


def _failed(view: View) -> Mask:
    """Whether each measured request failed; one that was abandoned did not."""
    return np.array([trace.outcome == "error" for trace in view.measured], dtype=bool)


def _error_fraction(view: View) -> Figure:
    failed = _failed(view)
    rest = _share(view, ~failed)
    if rest.value is None or rest.low is None or rest.high is None:
        return Figure(float(failed.mean()) if len(failed) else None, count=rest.count)
    return figure(float(failed.mean()), 1 - rest.high, 1 - rest.low, len(failed))


def _share(view: View, chosen: Mask, among: Mask | None = None) -> Figure:
    """The share of `chosen`, which are not to be the bad ones (one element for each measured
    request), among those in `among`, or among all."""
    group, run = view.units.group, view.units
    if among is not None:
        chosen, group = chosen[among], group[among]
    owner: Index = np.arange(len(view.done))
    factor = inference.factor_of(view.e2e_s, owner, run) if len(owner) else run.widening
    return inference.share_of_requests(chosen, group, run, factor)


def _steady_tokens_per_s(view: View) -> float | None:
    """The tokens per second whose chunks arrive inside the steady state."""
    if view.steady is None or len(view.done) == 0:
        return None
    parts = (view, view.fillers)
    tokens = total(_inside(part, part.output_tokens, view.steady) for part in parts)
    return None if tokens is None else tokens / view.steady.length_s


def _inside(view: View, amounts: Array, span: Span) -> float | None:
    """The part of `amounts`, one for each of `view.done`, that came in `span`. Each is spread over
    the chunks of its answer by their tokens, evenly where these are not known; without chunks it
    came at the answer's end. None where an amount is not known."""
    if np.isnan(amounts).any():
        return None
    weights = np.where(np.isnan(view.chunk_tokens), 1.0, view.chunk_tokens)
    inside = (view.chunk_s > span.start_s) & (view.chunk_s <= span.end_s)
    whole, came = (
        np.bincount(view.chunk_owner, weights=part, minlength=len(amounts))
        for part in (weights, weights * inside)
    )
    at_end = (view.end_s > span.start_s) & (view.end_s <= span.end_s)
    shares = np.where(whole > 0, came / np.maximum(whole, 1.0), at_end)
    return float(amounts @ shares)


def _steady_length(view: View) -> float | None:
    return None if view.steady is None else view.steady.length_s


def _mean_in_flight(view: View, span: Span | None) -> float | None:
    if span is None or span.length_s <= 0:
        return None
    return busy_s(view.loop_start_s, view.loop_end_s, span) / span.length_s


def _peak_in_flight(view: View, span: Span) -> float | None:
    return in_flight(view.loop_start_s, view.loop_end_s).peak(span)


def _achieved_rate(view: View) -> float | None:
    sent_s = view.all_start_s
    if not view.cell.shape.is_open or len(sent_s) < 2 or np.ptp(sent_s) <= 0:
        return None
    return (len(sent_s) - 1) / float(np.ptp(sent_s))


def _good(view: View) -> Mask | None:
    """Whether each request of `view.done` held every limit of the SLO; None without an SLO."""
    slo = view.cell.slo
    return None if slo is None else within(slo, view.ttft_s, view.tpot_of_slo_s, view.e2e_s)


def within(slo: Slo, ttft_s: Array, tpot_s: Array, e2e_s: Array) -> Mask:
    """Whether each request held every limit of `slo`, by its times in s. A time that is not known
    (NaN) holds no limit, and a request without an E2E, which failed, is not good."""
    limits = ((slo.ttft_ms, ttft_s), (slo.tpot_ms, tpot_s), (slo.e2e_ms, e2e_s))
    held = ~np.isnan(e2e_s)
    for limit_ms, times_s in limits:
        if limit_ms is not None:
            held &= times_s * 1e3 <= limit_ms
    return held


def _goodput(view: View, span: Span) -> float | None:
    good = _good(view)
    return None if good is None else int(good.sum()) / span.length_s


def good_of_measured(view: View) -> Mask | None:
    """Whether each measured request held every limit of the SLO, as `_good`; one that failed did
    not. None without an SLO."""
    good = _good(view)
    if good is None:
        return None
    whole = np.zeros(len(view.measured), dtype=bool)
    whole[view.is_done] = good
    return whole


def _good_fraction(view: View) -> Figure:
    good = good_of_measured(view)
    return Figure(None) if good is None else _share(view, good)


def _steady_good_fraction(view: View) -> Figure:
    good, steady = good_of_measured(view), view.steady
    if good is None or steady is None:
        return Figure(None)
    return _share(view, good, view.all_start_s > steady.start_s)


THROUGHPUT = (
    Metric(
        "requests",
        "throughput",
        "requests",
        "count of measured requests",
        "Requests that were measured, failed ones too; warm-up is not among them.",
        _requests,
    ),
    Metric(
        "errors",
        "throughput",
        "requests",
        "count of measured requests that failed",
        "Requests that did not end as a success; they count in no latency and add no tokens.",
        _errors,
        better="lower",
    ),
    Metric(
        "error_fraction",
        "throughput",
        "fraction",
        "errors / requests",
        "The share of requests that failed.",
        _error_fraction,
        better="lower",
        shown=Shown(family=Family("journal_run_error_ratio", "Requests that failed, 0 to 1.")),
    ),
    Metric(
        "prompt_tokens",
        "throughput",
        "tokens",
        "sum of prompt tokens, by the server's usage",
        "Tokens that the server read; absent where one request's usage is missing.",
        number_only(lambda view: total_of(view.prompt_tokens)),
    ),
    Metric(
        "output_tokens",
        "throughput",
        "tokens",
        "sum of output tokens, by the server's usage",
        "Tokens that the server wrote; absent where one request's count is not known.",
        number_only(lambda view: total_of(view.output_tokens)),
    ),
    Metric(
        "duration_s",
        "throughput",
        "s",
        "first measured request's start until as many were sent as are measured and one more goes; "
        "where none goes, until the last one's end",
        "The measured span, failed requests included. Where fillers keep the streams of a closed "
        "loop busy it is the time of so many requests, without ramp-up and drain.",
        number_only(lambda view: None if view.span is None else view.span.length_s),
    ),
    Metric(
        "output_tokens_per_s",
        "throughput",
        "tok/s",
        "output tokens that come in the measured span / duration_s",
        "Tokens written per second over the measured span, by fillers too: with ramp-up and drain "
        "in open loop and in a convoy, without them where streams are spread.",
        _written_per_s(_output_tokens),
        better="higher",
        label="output throughput",
        shown=Shown(
            headline=True,
            over_repeats=True,
            curve="tokens",
            bar="most",
            column=40,
            precise=True,
            family=Family("journal_run_output_tokens_per_second", "Output tokens per second."),
        ),
    ),
    Metric(
        "total_tokens_per_s",
        "throughput",
        "tok/s",
        "(prompt_tokens + output tokens that come in the measured span) / duration_s",
        "Tokens read and written per second.",
        _total_tokens_per_s,
        better="higher",
    ),
    Metric(
        "characters_per_s",
        "throughput",
        "chars/s",
        "output characters that come in the measured span / duration_s",
        "Text written per second: the figure to compare where tokenizers differ.",
        _written_per_s(_output_chars),
        better="higher",
        label="characters of output",
        shown=Shown(headline=True, of_text=True, curve="characters", bar="most", precise=True),
    ),
    Metric(
        "requests_per_s",
        "throughput",
        "req/s",
        "(requests - errors) / duration_s",
        "Requests answered per second.",
        lambda view: _per_second(view, np.ones(len(view.done))),
        better="higher",
        label="requests per second",
        shown=Shown(
            over_repeats=True,
            curve="requests",
            family=Family("journal_run_requests_per_second", "Requests per second."),
        ),
    ),
    Metric(
        "steady_s",
        "throughput",
        "s",
        "end of the steady state - its start",
        "Closed loop: from the moment all streams are up until the first one drains. Open loop: "
        "from the first answer to the last request sent.",
        number_only(_steady_length),
    ),
    Metric(
        "steady_output_tokens_per_s",
        "throughput",
        "tok/s",
        "output tokens that arrive inside the steady state / steady_s",
        "Tokens written per second without ramp-up and drain: the rate that a long run tends to.",
        number_only(_steady_tokens_per_s),
        better="higher",
    ),
    Metric(
        "concurrency_mean",
        "throughput",
        "requests",
        "time in flight inside the measured span / duration_s",
        "Requests in flight, as the client sees them, on average over time; fillers count.",
        number_only(lambda view: _mean_in_flight(view, view.span)),
    ),
    Metric(
        "concurrency_peak",
        "throughput",
        "requests",
        "most requests in flight at once inside the measured span",
        "The batch that the client reached, at most the requested one.",
        in_span(_peak_in_flight),
    ),
    Metric(
        "steady_concurrency",
        "throughput",
        "requests",
        "time in flight inside the steady state / steady_s",
        "Requests in flight on average over the steady state.",
        number_only(lambda view: _mean_in_flight(view, view.steady)),
    ),
    Metric(
        "offered_rate_per_s",
        "throughput",
        "req/s",
        "the rate of the cell",
        "The offered rate of an open loop; absent in closed loop.",
        number_only(lambda view: view.cell.shape.rate),
    ),
    Metric(
        "achieved_rate_per_s",
        "throughput",
        "req/s",
        "(requests - 1) / (last sent - first sent)",
        "The rate at which the client did send; absent in closed loop.",
        number_only(_achieved_rate),
        label="sent",
        shown=Shown(column=5),
    ),
    Metric(
        "goodput_per_s",
        "throughput",
        "req/s",
        "requests that hold every limit of the SLO / duration_s",
        "Requests per second that were good enough; absent without an SLO.",
        in_span(_goodput),
        better="higher",
        label="goodput",
        shown=Shown(headline=True, over_repeats=True, column=100),
    ),
    Metric(
        "good_fraction",
        "throughput",
        "fraction",
        "requests that hold every limit of the SLO / requests",
        "The share of requests that were good enough, failed ones counted as not, with Wilson's "
        "interval; absent without an SLO.",
        _good_fraction,
        better="higher",
    ),
    Metric(
        "steady_good_fraction",
        "throughput",
        "fraction",
        "requests sent after the steady state began that hold every limit of the SLO / all such",
        "The share of good requests without ramp-up, where all streams of a closed loop begin at "
        "once and an open loop meets an idle server: a search for capacity judges a load by it.",
        _steady_good_fraction,
        better="higher",
    ),
)
