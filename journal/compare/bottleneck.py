"""The bottleneck of a cell: what limits it, by rules with thresholds and sources.

A run gives its figures and doubts; other cells of its experiment give what one run cannot: how a
step grows with the batch, and what more GPUs gain. The first rule that sees its cause counts, and
the order is that in which one cause hides another: a client that is slow hides all of the server, a
queue hides the work behind it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from journal.compare.limit_evidence import (
    NEAR_FLOOR,
    Among,
    Subject,
    but_for_gpus,
    growth_over_batch,
    kv_beside_weights,
    near_floor,
    others_alike,
    prefill_share,
    weights_rate,
)
from journal.records.doubt import Values
from journal.records.load_shape import Closed
from journal.records.run import Record
from journal.units import percent

Cause = Literal[
    "client",
    "kv_pool",
    "queue",
    "network",
    "host",
    "cold_cache",
    "communication",
    "prefill",
    "bandwidth",
    "compute",
]
Would = Literal["metrics", "batches", "shares", "rates", "sizes", "longer"]

WAITS = 0.1  # of the time of a request
FULL = 0.9  # of the KV pool
LEVEL = 0.8  # the mean of the requests that run, of their peak, where a limit holds them
PROMPTS_BUSY = 0.7  # as the doubt queue_unseen
ON_THE_WAY = 0.2  # of the time of a request
OUTSIDE = 0.05  # of the batch
GPU_BUSY = 0.6  # of the time
NOT_SHARED = 0.5  # of a step's time, by Karp and Flatt
WAVES = 3  # of requests, with fewer of which a cold start may be all there is
IN_TURN = 2.0  # times the time of a run of few waves: more was waited for together
MOST, LEAST = 0.5, 0.4  # of the time of a request, for prefill and against it
FLAT, PROPORTIONAL = 0.2, 0.8  # exponents of a step's time over the batch
SLOWEST_MEMORY = 5e9  # bytes/s: one channel of DDR4 gives four times that
KV_LIGHT = 0.25  # of the bytes of the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The bottleneck of a cell. `cause` is None where it cannot be told; `would` are then the
    measurements that would tell it. `variant` names the evidence, and `values` are its numbers in
    SI units."""

    cause: Cause | None
    variant: str
    values: Values
    would: tuple[Would, ...] = ()


Seen = tuple[str, Values]  # the variant of the evidence, and its values


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A cause, its threshold and the reason or the source of that; `check` returns the evidence for
    it, or None."""

    cause: Cause
    threshold: str
    reason: str
    check: Callable[[Subject], Seen | None]


def _client(case: Subject) -> Seen | None:
    if not case.flagged("client_saturated") or case.flagged("busy_host", "stolen_time"):
        return None
    return "client", {}


def _kv_pool(case: Subject) -> Seen | None:
    peak, waits = case.value("kv_cache_peak_fraction"), case.waits
    preempted = case.value("preemptions") or 0
    if not _is_full(case) or not (preempted or (waits is not None and waits >= WAITS)):
        return None
    return "kv_pool", {"peak": peak, "waits": waits, "preemptions": preempted}


def _is_full(case: Subject) -> bool | None:
    """Whether FULL of the KV pool was in use, or where no limit held those that ran, too much for
    one more request of their size; None where its use is not known."""
    peak, most = case.value("kv_cache_peak_fraction"), case.value("server_running_peak")
    if peak is None or peak >= FULL or not most:
        return None if peak is None else peak >= FULL
    return (case.limit is None or most < case.limit) and peak * (most + 1) > most


def _queue(case: Subject) -> Seen | None:
    waits, most = case.waits, case.value("server_running_peak")
    mean = case.value("server_running_mean")
    if waits is None or waits < WAITS or _is_full(case) is not False or not most or mean is None:
        return None
    if case.limit is None:
        read_s, per_s = case.value("ttft_alone_s"), case.value("requests_per_s")
        reading = read_s * per_s if read_s is not None and per_s is not None else 0.0
        if mean < LEVEL * most or reading > PROMPTS_BUSY * most:
            return None
    elif most < case.limit:
        return None
    return "queue", {"running": most, "waits": waits, "limit": case.limit}


def _network(case: Subject) -> Seen | None:
    held = case.flagged("held_back", "connections")
    if held:
        return held, {}
    waiting, shape = case.value("server_waiting_mean"), case.record.cell.shape
    most = case.value("server_running_peak")
    if case.flagged("server_batch") and waiting is not None and isinstance(shape, Closed):
        if waiting < OUTSIDE * shape.batch:
            return "proxy", {"running": most, "batch": shape.batch}
        return None
    parts = [case.share(f"{name}_s.mean") for name in ("queue", "prefill", "decode")]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or 1 - sum(known) < ON_THE_WAY:
        return None
    return "way", {"share": 1 - sum(known)}


def _host(case: Subject) -> Seen | None:
    flag = case.flagged("busy_host", "stolen_time", "swapping")
    if flag:
        return flag, {}
    used = case.value("gpu_utilisation_mean_fraction")
    closed = isinstance(case.record.cell.shape, Closed)
    if used is None or used >= GPU_BUSY or not closed:
        return None
    return "gpu_waits", {"used": used}


def _cold(case: Subject) -> Seen | None:
    if case.flagged("cold_start"):
        return "cold_start", {}
    share = prefill_share(case)
    if case.flagged("prefix_hits_off") and share is not None and share >= MOST:
        hits = case.value("prefix_cache_hit_fraction")
        return "prefix_cold", {"hits": hits, "asked": case.value("prefix_hit_asked_fraction")}
    return None


def _communication(case: Subject) -> Seen | None:
    own = case.record.cell
    if own.engine is None or own.engine.gpu_count < 2:
        return None
    for other in others_alike(case, but_for_gpus):
        fewer = 0 if other.cell.engine is None else other.cell.engine.gpu_count
        if not 0 < fewer < own.engine.gpu_count:
            continue
        before_s, after_s = Subject(other).step_s, case.step_s
        if before_s and after_s:
            more, gain = own.engine.gpu_count / fewer, before_s / after_s
            serial = (1 / gain - 1 / more) / (1 - 1 / more)
            if serial >= NOT_SHARED:
                gpus = {"gpus": own.engine.gpu_count, "fewer": fewer}
                return "communication", {**gpus, "gain": gain, "serial": serial}
    return None


def _prefill(case: Subject) -> Seen | None:
    share = prefill_share(case)
    if share is None or share < MOST or _few_waves(case):
        return None
    return "prefill", {"share": share}


def _few_waves(case: Subject) -> bool:
    """Whether too few requests follow the first ones to tell a slow start from slow prompts. They
    are told apart where prompts that take as long as in the warm-up, read one after another, fill
    the time of the run: a start is waited for by all at once."""
    shape, requests = case.record.cell.shape, case.value("requests")
    if not isinstance(shape, Closed) or (requests is not None and requests >= WAVES * shape.batch):
        return False
    read_s, per_s = case.value("ttft_alone_s"), case.value("requests_per_s")
    return read_s is None or per_s is None or not MOST <= read_s * per_s <= IN_TURN


def _is_decode(case: Subject) -> bool:
    share = prefill_share(case)
    return share is not None and share <= LEAST and isinstance(case.record.cell.shape, Closed)


def _bandwidth(case: Subject) -> Seen | None:
    if not _is_decode(case):
        return None
    near = near_floor(case)
    if near is not None:
        bound, ratio = near
        return ("roofline_bandwidth", {"ratio": ratio}) if bound == "memory" else None
    grown, weights_per_s = growth_over_batch(case), weights_rate(case)
    if grown is None or grown.exponent > FLAT or not _floor_unknown(case):
        return None
    if weights_per_s is None or weights_per_s < SLOWEST_MEMORY:
        return None
    return "flat", {**grown.values, "weights_per_s": weights_per_s}


def _floor_unknown(case: Subject) -> bool:
    return case.value("tpot_floor_s") is None


def _fixed(case: Subject) -> Seen | None:
    """A step that costs the same for any batch, and far more than reading the weights explains."""
    grown, weights_per_s = growth_over_batch(case), weights_rate(case)
    if not _is_decode(case) or grown is None or grown.exponent > FLAT or weights_per_s is None:
        return None
    if near_floor(case) is not None or (_floor_unknown(case) and weights_per_s >= SLOWEST_MEMORY):
        return None
    return "fixed", {**grown.values, "weights_per_s": weights_per_s}


def _compute(case: Subject) -> Seen | None:
    if not _is_decode(case):
        return None
    near = near_floor(case)
    if near is not None:
        bound, ratio = near
        return ("roofline_compute", {"ratio": ratio}) if bound == "compute" else None
    grown, kv = growth_over_batch(case), kv_beside_weights(case)
    if grown is None or grown.exponent < PROPORTIONAL or kv is None or kv > KV_LIGHT:
        return None
    return "proportional", {**grown.values, "kv": kv}


RULES: tuple[LimitRule, ...] = (
    LimitRule(
        "client",
        "the doubt `client_saturated`, unless others have the host's processors",
        "A client that is late itself gives its own times, not those of the server.",
        _client,
    ),
    LimitRule(
        "kv_pool",
        f"{percent(FULL)} of the KV pool in use at the peak, or so much that one more request does "
        f"not fit, and a preemption or {percent(WAITS)} of a request's time in the server's queue",
        "vLLM admits a request when its blocks fit, and preempts one when the blocks of the "
        "running ones do not.",
        _kv_pool,
    ),
    LimitRule(
        "queue",
        f"{percent(WAITS)} of a request's time in the server's queue beside a pool with room, "
        "while the running requests reach the limit of the command line, or else stay within "
        f"{percent(LEVEL)} of their peak",
        "A scheduler with room in its pool keeps requests waiting for its limit on running ones "
        "alone, or for the reading of prompts, which must not explain it.",
        _queue,
    ),
    LimitRule(
        "network",
        "the doubts `held_back` or `connections`; or `server_batch` at a server whose queue holds "
        f"less than {percent(OUTSIDE)} of the batch; or {percent(ON_THE_WAY)} of a request's time "
        "outside of what the server tells",
        "The server's own clock tells its queue, prefill and decode: the rest passes on the way.",
        _network,
    ),
    LimitRule(
        "host",
        f"the doubts `busy_host`, `stolen_time` or `swapping`; or a GPU that works for less than "
        f"{percent(GPU_BUSY)} of the time of a closed loop",
        "NVML counts the time in which any kernel runs: a GPU without one, while requests are in "
        "flight, waits for its host.",
        _host,
    ),
    LimitRule(
        "cold_cache",
        f"the doubt `cold_start`; or `prefix_hits_off` while prompts take {percent(MOST)} of a "
        "request's time",
        "First requests compile, capture and fill caches; later ones find them.",
        _cold,
    ),
    LimitRule(
        "communication",
        f"{percent(NOT_SHARED)} of a step that more GPUs do not divide, beside the same cell on "
        "fewer",
        "Karp and Flatt 1990, Measuring parallel processor performance: the serial part that a "
        "speed-up shows.",
        _communication,
    ),
    LimitRule(
        "prefill",
        f"{percent(MOST)} of a request's time until its first token, or held up by the prompts of "
        f"others, in {WAVES} times as many requests as are in flight, or where prompts that are "
        f"read in turn, as fast as in the warm-up, take {percent(MOST)} of the run's time or more",
        "More than half is what a change must shorten first (Amdahl 1967).",
        _prefill,
    ),
    LimitRule(
        "bandwidth",
        f"prompts take {percent(LEAST)} of the time or less; a step within {NEAR_FLOOR:g} times "
        "the floor of a roofline whose memory side is the higher; or, on a GPU that is not known, "
        f"a step that grows with the power {FLAT:g} of the batch or less, in which the weights are "
        f"read at {SLOWEST_MEMORY / 1e9:g} GB/s or more",
        "Williams et al. 2009, Roofline: reading the weights takes as long for one request as for "
        "many.",
        _bandwidth,
    ),
    LimitRule(
        "compute",
        f"the same on the arithmetic side; or a step that grows with the power {PROPORTIONAL:g} of "
        f"the batch or more, while its KV cache is less than {percent(KV_LIGHT)} of the weights",
        "Arithmetic grows with the batch; so does the KV cache that is read, which must be small "
        "beside the weights to be excluded.",
        _compute,
    ),
    LimitRule(
        "host",
        f"a step that grows with the power {FLAT:g} of the batch or less, and takes more than "
        f"{NEAR_FLOOR:g} times the floor of its roofline, or reads the weights at less than "
        f"{SLOWEST_MEMORY / 1e9:g} GB/s on a GPU that is not known",
        "Memory is faster than that on any host: a cost of each step that neither bytes nor "
        "arithmetic explain is that of scheduling and launching it.",
        _fixed,
    ),
)


def bottleneck(record: Record, among: Among | Sequence[Record] = ()) -> Bottleneck | None:
    """The bottleneck of a run, with the runs of its experiment `among` which it is compared; None
    of a run whose figures do not count, and of a score, which has no times."""
    if not record.good or record.value("task_score") is not None:
        return None
    case = Subject(record, among if isinstance(among, Among) else Among(among))
    for rule in RULES:
        seen = rule.check(case)
        if seen is not None:
            return Bottleneck(cause=rule.cause, variant=seen[0], values=seen[1])
    return _untold(case)


class Bottlenecks:
    """The bottleneck of each of many runs, among those of its experiment: found once, when it is
    first asked for."""

    def __init__(self, records: Iterable[Record]) -> None:
        own: dict[str, list[Record]] = {}
        for record in records:
            own.setdefault(record.experiment_id, []).append(record)
        self._among = {id_: Among(runs) for id_, runs in own.items()}
        self._found: dict[str, Bottleneck | None] = {}

    def of(self, record: Record) -> Bottleneck | None:
        """The bottleneck of one of the runs, as `bottleneck` gives it."""
        if record.id not in self._found:
            self._found[record.id] = bottleneck(record, self._among[record.experiment_id])
        return self._found[record.id]


def _untold(case: Subject) -> Bottleneck:
    """Why the bottleneck cannot be told, and what would tell it."""
    share = prefill_share(case)
    if case.flagged("queue_unseen"):
        return _none("unseen", {}, "metrics")
    if share is None:
        return _none("no_times", {}, "longer")
    if share >= MOST:
        return _none("few_waves", {"share": share}, "longer")
    if share > LEAST:
        return _none("even", {"share": share}, "shares")
    if not isinstance(case.record.cell.shape, Closed):
        return _none("open", {"share": share}, "batches")
    grown = growth_over_batch(case)
    if grown is None:
        return _none("alone", {"share": share}, "batches", "rates")
    if grown.exponent <= FLAT:
        return _none("flat_alone", grown.values, "sizes")
    if grown.exponent >= PROPORTIONAL:
        return _none("kv_or_compute", grown.values, "rates")
    return _none("between", grown.values, "rates")


def _none(variant: str, values: Values, *would: Would) -> Bottleneck:
    return Bottleneck(cause=None, variant=variant, values=values, would=would)
