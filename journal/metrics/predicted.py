"""The rows of the table that set theory beside measurement: sizes of memory as measured, each
prediction, and the ratio of the two.

A prediction needs the model's config.json, and a floor under a latency also the kind of GPU:
without them it is absent.
"""

from collections.abc import Callable

from journal.metrics.latency import LATENCY
from journal.metrics.row import Metric, Shown, number_only
from journal.metrics.view import View
from journal.records.figure import Figure
from journal.records.load_shape import Closed
from journal.serve.engines.vllm.metric_names import NEWEST
from journal.theory.predictions import ServedModel


def _predicted(of: Callable[[ServedModel, View], float | None]) -> Callable[[View], float | None]:
    return lambda view: None if view.served is None else of(view.served, view)


def weights_bytes(view: View) -> float | None:
    """Bytes of the weights on all GPUs together, by the engine's log; else those of the
    checkpoint."""
    facts = view.samples.facts
    if facts.weights_bytes is None:
        return facts.checkpoint_bytes
    return facts.weights_bytes * view.gpu_count


def kv_pool_bytes(view: View) -> float | None:
    """Bytes of the KV pool on all GPUs together."""
    pool = view.samples.facts.kv_pool_bytes
    return None if pool is None else pool * view.gpu_count


def kv_in_use(view: View) -> Figure:
    """Bytes of the KV pool in use at the highest reading, on all GPUs together."""
    span, pool = view.span, kv_pool_bytes(view)
    if span is None or span.length_s <= 0 or pool is None:
        return Figure(None)
    share = view.server("kv_cache_fraction").peak(span)
    return Figure(None if share is None else share * pool)


def kv_pool_tokens(view: View) -> float | None:
    """Tokens for which the KV pool has room."""
    return view.samples.facts.kv_pool_tokens


def pool_bytes_per_token(view: View) -> float | None:
    """Bytes of the KV pool for each token that it has room for, on all GPUs together; None where
    layers keep different spans, so that the engine's count of tokens is no rate."""
    if view.served is not None and view.served.model.mixed:
        return None
    pool, tokens = kv_pool_bytes(view), kv_pool_tokens(view)
    return None if pool is None or not tokens else pool / tokens


def slope_figure(view: View) -> Figure:
    """Bytes of KV cache for each token in flight on all GPUs together, with the interval of the
    slope."""
    slope, gpu_count = view.kv_slope, view.gpu_count
    if slope is None:
        return Figure(None)
    low, high = slope.low * gpu_count, slope.high * gpu_count
    return Figure(slope.bytes_per_token * gpu_count, low, high, slope.points)


def _ttft_floor(model: ServedModel, view: View) -> float | None:
    workload, turn, prompt = view.cell.workload, view.cell.prompt_tokens, view.median_prompt_tokens
    if prompt is None or turn is None:
        return None
    left = prompt - workload.shared_prefix
    if workload.is_conversation and not workload.is_own:
        left = min(left, turn)  # what a turn adds
    return model.ttft_floor_s(left)  # a cache may spare the rest


def _tpot_floor(model: ServedModel, view: View) -> float | None:
    """The floor under TPOT at the lengths with which decoding begins; in open loop that of one
    sequence alone, since more need not be in flight at once."""
    shape, prompt = view.cell.shape, view.cell.prompt_tokens
    batch = min(shape.batch, view.cell.load.requests) if isinstance(shape, Closed) else 1
    return None if prompt is None else model.tpot_floor_s(batch, prompt)


def _ratio(
    measured: Callable[[View], Figure], predicted: Callable[[View], float | None]
) -> Callable[[View], Figure]:
    """The ratio measured / predicted, with the interval of the measured figure divided by the
    prediction."""

    def figure(view: View) -> Figure:
        whole, expected = measured(view), predicted(view)
        if whole.value is None or not expected:
            return Figure(None)
        low, high = (None if end is None else end / expected for end in (whole.low, whole.high))
        return Figure(whole.value / expected, low, high, whole.count)

    return figure


def _kv_ratio(measured: Callable[[View], Figure]) -> Callable[[View], Figure]:
    """The ratio of measured to predicted bytes of a token; absent where layers keep different
    spans, so that a long sequence keeps less than the formula says."""
    ratio = _ratio(measured, _predicted(lambda model, _: model.kv_bytes_per_token))

    def figure(view: View) -> Figure:
        mixed = view.served is not None and view.served.model.mixed
        return Figure(None) if mixed else ratio(view)

    return figure


_LATENCY = {metric.name: metric.figure for metric in LATENCY}

MEASURED = (
    Metric(
        "weights_bytes",
        "memory",
        "bytes",
        "a GPU's by the engine's log x GPUs; else the checkpoint's tensors as they are served",
        "Memory of the model's weights, on all GPUs together.",
        number_only(weights_bytes),
        better="lower",
        label="weights",
        shown=Shown(amount=True, of_engine=True),
        exact=True,
    ),
    Metric(
        "kv_pool_bytes",
        "memory",
        "bytes",
        "a GPU's by the engine's log or /metrics x GPUs",
        "Memory that the engine reserved for the KV cache when it started, on all GPUs together.",
        number_only(kv_pool_bytes),
        label="KV pool",
        shown=Shown(amount=True, of_engine=True),
        exact=True,
    ),
    Metric(
        "kv_pool_tokens",
        "memory",
        "tok",
        "by the engine's log or /metrics",
        "Tokens that the KV-cache pool has room for, all requests together.",
        number_only(kv_pool_tokens),
        label="KV pool, tokens",
        shown=Shown(amount=True, of_engine=True),
        exact=True,
    ),
    Metric(
        "kv_cache_peak_bytes",
        "memory",
        "bytes",
        "kv_cache_peak_fraction x kv_pool_bytes",
        "Memory of the KV-cache pool in use at most, on all GPUs together.",
        kv_in_use,
        better="lower",
        label="KV in use, peak",
        shown=Shown(amount=True, column=60),
    ),
    Metric(
        "kv_bytes_per_token",
        "memory",
        "bytes/tok",
        "kv_pool_bytes / kv_pool_tokens",
        "Memory of a token in the KV cache, by the engine's own count. The pool is cut into "
        "blocks, of which vLLM keeps one for itself: in a pool of few blocks that shows. Absent "
        "for models some of whose layers keep a window or a state only: there the engine counts "
        "the tokens of the longest sequences that fit, which is no rate.",
        number_only(pool_bytes_per_token),
        better="lower",
        exact=True,
    ),
    Metric(
        "kv_bytes_per_token_slope",
        "memory",
        "bytes/tok",
        f"slope of kv_pool_bytes x {NEWEST['kv_cache_fraction']} over the tokens in flight, by "
        "least squares through the origin, over the readings at which every request was decoding",
        "Memory of a token in the KV cache, measured under load. Tokens count in whole blocks.",
        slope_figure,
        better="lower",
    ),
)

THEORY = (
    Metric(
        "weights_bytes_predicted",
        "theory",
        "bytes",
        "parameters counted from config.json x bytes of each, by dtype and quantisation",
        "Memory of the weights by theory.",
        number_only(_predicted(lambda model, _: model.weights_bytes)),
        exact=True,
    ),
    Metric(
        "weights_bytes_ratio",
        "theory",
        "1",
        "weights_bytes / weights_bytes_predicted",
        "Measured memory of the weights over that by theory: 1 is full agreement.",
        _ratio(
            number_only(weights_bytes),
            _predicted(lambda model, _: model.weights_bytes),
        ),
        exact=True,
    ),
    Metric(
        "kv_bytes_per_token_predicted",
        "theory",
        "bytes/tok",
        "2 x layers x KV heads x head_dim x bytes of an element; with MLA layers x (latent + rope) "
        "x bytes",
        "Memory of a token in the KV cache by theory, while every layer keeps it.",
        number_only(_predicted(lambda model, _: model.kv_bytes_per_token)),
        exact=True,
    ),
    Metric(
        "kv_bytes_per_token_ratio",
        "theory",
        "1",
        "kv_bytes_per_token / kv_bytes_per_token_predicted",
        "The engine's own count over the formula: 1 is full agreement. Absent for models some of "
        "whose layers keep a window or a state only.",
        _kv_ratio(number_only(pool_bytes_per_token)),
        exact=True,
    ),
    Metric(
        "kv_bytes_per_token_slope_ratio",
        "theory",
        "1",
        "kv_bytes_per_token_slope / kv_bytes_per_token_predicted",
        "The slope under load over the formula: 1 is full agreement.",
        _kv_ratio(slope_figure),
    ),
    Metric(
        "ttft_floor_s",
        "theory",
        "s",
        "max(FLOP of reading the prompt / the GPUs' FLOP/s, bytes of the weights / their "
        "bandwidth)",
        "No first token can come sooner on these GPUs, even for a prompt read alone.",
        number_only(_predicted(_ttft_floor)),
        exact=True,
    ),
    Metric(
        "ttft_floor_ratio",
        "theory",
        "1",
        "ttft_s.p50 / ttft_floor_s",
        "How many times the floor the median TTFT was.",
        _ratio(_LATENCY["ttft_s.p50"], _predicted(_ttft_floor)),
        better="lower",
    ),
    Metric(
        "tpot_floor_s",
        "theory",
        "s",
        "max(bytes of the weights and of the batch's KV cache / the GPUs' bandwidth, FLOP of one "
        "step / their FLOP/s)",
        "No token can follow another sooner on these GPUs at this batch.",
        number_only(_predicted(_tpot_floor)),
        exact=True,
    ),
    Metric(
        "tpot_floor_ratio",
        "theory",
        "1",
        "tpot_s.p50 / tpot_floor_s",
        "How many times the floor the median TPOT was.",
        _ratio(_LATENCY["tpot_s.p50"], _predicted(_tpot_floor)),
        better="lower",
    ),
)

# The names of figures that stand side by side: the measured one, the predicted one (or the floor),
# and their ratio.
