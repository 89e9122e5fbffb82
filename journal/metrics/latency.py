"""The latency rows of the table: times of requests, of chunks and of tokens."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.between_streams import lasting_half
from journal.metrics.row import UNSHOWN, Family, Metric, Shown
from journal.metrics.statistics import STATISTICS
from journal.metrics.view import Sample, Source, View, column, per_request
from journal.records.figure import Figure
from journal.records.load_shape import Users


def _latency(
    name: str,
    source: Source,
    formula: str,
    meaning: str,
    label: str = "",
    shown: Mapping[str, Shown] | None = None,
) -> tuple[Metric, ...]:
    """The rows of one latency, one for each of STATISTICS. `source` takes its sample from a view;
    `shown` has the views of a statistic by its name."""
    places = shown or {}

    def figure(statistic: str) -> Callable[[View], Figure]:
        return lambda view: view.described(source)[statistic]

    return tuple(
        Metric(
            *(f"{name}.{statistic}", "latency", "s", formula, meaning, figure(statistic)),
            better="lower",
            label=label,
            shown=places.get(statistic, UNSHOWN),
        )
        for statistic in STATISTICS
    )


def _ttft(view: View) -> Sample:
    return _first(view, view.ttft_s)


def _ttfo(view: View) -> Sample:
    return _waits(view.ttfo_s)


def _ttft_from_send(view: View) -> Sample:
    return _first(view, view.first_s - view.start_s)


def _first(view: View, values: Array) -> Sample:
    """Times to first tokens. Each of those meets one step of a closed loop's server, or shares it
    with others, and may by chance have met none of the long ones that the gaps between chunks show:
    their mean is at least as uncertain as that of so many steps."""
    gaps_s = view.icl.values
    sample = _waits(values)
    if view.cell.shape.is_open or len(gaps_s) == 0:
        return sample
    apart_s = np.diff(np.sort(view.first_s[~np.isnan(view.first_s)]))
    steps = 1 + int((apart_s > np.median(gaps_s) / 2).sum())
    return sample._replace(least_error=float(gaps_s.std()) / math.sqrt(steps))


def _icl(view: View) -> Sample:
    return view.icl


def _itl(view: View) -> Sample:
    return view.itl


def _tpot(view: View) -> Sample:
    """Times per token. They are as uncertain as waits where streams differ for good in their first
    tokens more than in when they end, so that what is late at first is fast later; and with users,
    whose turns drift past each other."""
    sample = per_request(view.tpot_s)
    by_users = isinstance(view.cell.shape, Users)
    apart = _lasting(view, view.ttft_s) > _lasting(view, view.e2e_s)
    return sample._replace(waits=by_users or apart)


def _lasting(view: View, values: Array) -> float:
    """Half of the interval of the mean of the known `values` in s that stems from streams of a
    closed loop that differ for good."""
    sample, run = per_request(values), view.units
    if run.is_open or not len(sample.values):
        return 0.0
    return lasting_half(sample.values, sample.owner, run.stream[view.is_done])


def _e2e(view: View) -> Sample:
    known = bool(np.all(view.output_tokens > 0))
    return per_request(view.e2e_s)._replace(lengths=view.output_tokens if known else None)


def _queue(view: View) -> Sample:
    return _waits(column(trace.server_queue_s for trace in view.done))


def _prefill(view: View) -> Sample:
    return _waits(column(trace.server_prefill_s for trace in view.done))


def _decode(view: View) -> Sample:
    return per_request(column(trace.server_decode_s for trace in view.done))


def _send_delay(view: View) -> Sample:
    late = view.start_s - view.scheduled_s
    return per_request(late if view.cell.shape.is_open else np.full_like(late, np.nan))


def _waits(values: Array) -> Sample:
    return per_request(values)._replace(waits=True)


def _steady_median(
    values: Callable[[View], Array], sample: Callable[[Array], Sample] = per_request
) -> Callable[[View], Figure]:
    def source(view: View) -> Sample:
        return sample(np.where(view.in_steady, values(view), np.nan))

    return lambda view: view.described(source)["p50"]


LATENCY = (
    *_latency(
        "ttft_s",
        _ttft,
        "first chunk with content - scheduled",
        "Time to first token. In open loop it counts from the time at which the request was due, "
        "so that a stalled server cannot hide its queue; in closed loop from that at which it was "
        "sent.",
        "TTFT",
        {
            "mean": Shown(instead_of="ttft_s.p50"),
            "p50": Shown(
                headline=True,
                over_repeats=True,
                curve="TTFT",
                bar="least",
                column=10,
                precise=True,
                tail=True,
                family=Family("journal_run_ttft_seconds", "Time to first token, p50."),
            ),
        },
    ),
    *_latency(
        "ttft_from_send_s",
        _ttft_from_send,
        "first chunk with content - sent",
        "Time to first token without the time that the client was late to send.",
        "TTFT from send",
    ),
    *_latency(
        "ttfo_s",
        _ttfo,
        "first chunk of the answer - scheduled",
        "Time to first output token: TTFT without thoughts. A model that does not think has the "
        "same for both; absent in runs that were recorded before it was kept.",
    ),
    *_latency(
        "itl_s",
        _itl,
        "(chunk - the chunk before it) / tokens in the chunk, once for each token",
        "Inter-token latency: the gap per token, only of requests whose tokens per chunk are "
        "known. Tokens that come together share their gap evenly, since they were made one "
        "after the other; counting one long gap and then zeros would say that most tokens cost "
        "nothing. The tokens of a first chunk have no gap: their time is in TTFT.",
        "ITL",
    ),
    *_latency(
        "icl_s",
        _icl,
        "chunk - the chunk before it, in the same request",
        "Inter-chunk latency: the time that a reader waits between pieces of text.",
        "gap between chunks (ICL)",
    ),
    *_latency(
        "tpot_s",
        _tpot,
        "(last chunk - end of the first read) / output tokens after the first read, of a request",
        "Time per output token after those of the first read, which are in TTFT: after the first "
        "one where each comes by itself. One value for each request of which it is known: not "
        "where the server does not tell how many tokens came with the first chunk or before it "
        "and bounds are apart, where half came in the first read, or where answers were held "
        "back. Thoughts that the server counts and does not stream are not among its tokens.",
        "TPOT",
        {
            "mean": Shown(
                instead_of="tpot_s.p50",
                family=Family(
                    "journal_run_tpot_seconds", "Time per output token after the first, mean."
                ),
            ),
            "p50": Shown(
                headline=True,
                over_repeats=True,
                curve="TPOT",
                bar="least",
                column=20,
                precise=True,
            ),
        },
    ),
    *_latency(
        "e2e_s",
        _e2e,
        "end of the answer - scheduled",
        "End-to-end latency of a whole request.",
        "E2E",
        {
            "mean": Shown(instead_of="e2e_s.p50"),
            "p50": Shown(
                headline=True,
                over_repeats=True,
                curve="E2E",
                column=30,
                precise=True,
                family=Family("journal_run_e2e_seconds", "Whole latency, p50."),
            ),
        },
    ),
    *_latency(
        "queue_s",
        _queue,
        "as the server tells it, for each request",
        "Time in the server's waiting queue.",
    ),
    *_latency(
        "prefill_s",
        _prefill,
        "as the server tells it, for each request",
        "Time from being scheduled in the server to its first token.",
    ),
    *_latency(
        "decode_s",
        _decode,
        "as the server tells it, for each request",
        "Time from the server's first token to its last.",
    ),
    *_latency(
        "send_delay_s",
        _send_delay,
        "sent - scheduled",
        "The delay with which the client sent, in open loop only: a closed loop has no schedule.",
    ),
    Metric(
        "steady_ttft_s.p50",
        "latency",
        "s",
        "p50 of ttft_s over requests inside the steady state",
        "Median time to first token without ramp-up and drain.",
        _steady_median(lambda view: view.ttft_s, _waits),
        better="lower",
    ),
    Metric(
        "steady_tpot_s.p50",
        "latency",
        "s",
        "p50 of tpot_s over requests inside the steady state",
        "Median time per output token without ramp-up and drain.",
        _steady_median(lambda view: view.tpot_s),
        better="lower",
    ),
    Metric(
        "steady_e2e_s.p50",
        "latency",
        "s",
        "p50 of e2e_s over requests inside the steady state",
        "Median end-to-end latency without ramp-up and drain.",
        _steady_median(lambda view: view.e2e_s),
        better="lower",
    ),
)
