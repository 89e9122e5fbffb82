"""The rows of the table from readings beside the load: server, memory, energy, cost; and those on
the client.

Gauges count where they were read inside the measured span; counters rise from the last reading
before it to the first one after it.
"""

import math
from collections.abc import Callable

from journal.metrics.arrays import total_of
from journal.metrics.row import Family, Metric, Shown, in_span, number_only, total
from journal.metrics.view import View
from journal.metrics.window import Series, Span
from journal.serve.engines.vllm.metric_names import NEWEST


def _server(name: str, of: Callable[[Series, Span], float | None]) -> Callable[..., float | None]:
    return lambda view, span: of(view.server(name), span)


def _gpus(name: str, of: Callable[[Series, Span], float | None]) -> Callable[..., float | None]:
    """The sum of `of` over the GPUs; None where a GPU has no value."""
    return lambda view, span: total(of(series, span) for series in view.gpus(name))


def _held_by_server(view: View, span: Span) -> float | None:
    """Bytes of the server's processes by NVML's list; where NVML hides them, the change of the GPUs
    over their memory in use before the server started."""
    listed = _gpus("process_bytes", Series.peak)(view, span)
    baseline = view.samples.facts.vram_baseline_bytes
    if listed is not None or baseline is None:
        return listed
    used = _gpus("used_bytes", Series.peak)(view, span)
    return None if used is None else max(0.0, used - baseline)


def _in_use(view: View, span: Span) -> float | None:
    """Bytes in use by each GPU's own count; where a GPU has none (memory shared with the host),
    those of the server's processes by NVML's list."""
    pairs = zip(view.gpus("used_bytes"), view.gpus("process_bytes"), strict=True)
    peaks = ((used.peak(span), listed.peak(span)) for used, listed in pairs)
    return total(listed if used is None else used for used, listed in peaks)


def _hit_fraction(view: View, span: Span) -> float | None:
    """The share of cached prompt tokens by the usage of each request, else by the server's
    counters. Where prompts share beginnings these count from the start of the run on: the warm-up
    hits nothing, and no reading need fall between it and the load."""
    cached = [trace.cached_tokens for trace in view.done]
    hits, queries = total(cached), total(trace.prompt_tokens for trace in view.done)
    if (hits is None or queries is None) and view.cell.workload.shared_prefix:
        hits, queries = _hits_of_shared(view), total(_sent_with_prefix(view))
    elif hits is None or queries is None:
        hits = view.server("prefix_hits_total").increase(span)
        queries = view.server("prefix_queries_total").increase(span)
    return hits / queries if hits is not None and queries else None


def _hits_of_shared(view: View) -> float | None:
    """The rise of hits over the whole run."""
    return view.server("prefix_hits_total").increase(Span(-math.inf, math.inf))


def _sent_with_prefix(view: View) -> list[float | None]:
    """The prompt tokens of each request that begins with a shared prefix and went after these were
    sent: the fillers too."""
    workload, load = view.cell.workload, view.cell.load
    before = load.warmup + workload.prefixes
    return [t.prompt_tokens for t in view.samples.traces if t.index >= before]


def hit_asked_fraction(view: View) -> float | None:
    """The share of prompt tokens in shared prefixes that were sent before the load; None where no
    prefix is shared."""
    shared = view.cell.workload.shared_prefix
    asked = sum(trace.prompt_tokens_asked for trace in view.done)
    return shared * len(view.done) / asked if shared and asked else None


def _utilisation(view: View, span: Span) -> float | None:
    gpus = view.gpus("utilisation_fraction")
    summed = total(series.mean(span) for series in gpus)
    return None if summed is None else summed / len(gpus)


def _power(view: View, span: Span) -> float | None:
    energy_j = energy_from_power(view, span)
    return None if energy_j is None else energy_j / span.length_s


def energy_from_counter(view: View, span: Span) -> float | None:
    """The energy of all GPUs in J by their own counters; None where a GPU has none."""
    return total(series.rise(span) for series in view.gpus("energy_j"))


def energy_from_power(view: View, span: Span) -> float | None:
    """The energy of all GPUs in J as the integral of power; None where the power of a GPU was not
    read."""
    return total(series.integral(span) for series in view.gpus("power_w"))


def _energy(view: View, span: Span) -> float | None:
    counted = energy_from_counter(view, span)
    return counted if counted is not None else energy_from_power(view, span)


def _energy_per_token(view: View, span: Span) -> float | None:
    energy_j, tokens = _energy(view, span), total_of(view.output_tokens)
    return energy_j / tokens if energy_j is not None and tokens else None


def _tokens_per_j(view: View, span: Span) -> float | None:
    energy_j, tokens = _energy(view, span), total_of(view.output_tokens)
    return tokens / energy_j if energy_j and tokens is not None else None


def _usd_per_million_tokens(view: View, span: Span) -> float | None:
    return _price_of_tokens(view.samples.facts.usd_per_hour, view, span)


def _per_million_tokens(view: View, span: Span) -> float | None:
    price = view.samples.facts.price_per_hour
    return _price_of_tokens(price.amount if price else None, view, span)


def _price_of_tokens(per_hour: float | None, view: View, span: Span) -> float | None:
    tokens = total_of(view.output_tokens)
    if per_hour is None or not tokens:
        return None
    return per_hour * span.length_s / 3600 / tokens * 1e6


def _client(name: str, field: str, unit: str, formula: str, meaning: str) -> Metric:
    def figure(view: View) -> float | None:
        value: float | None = getattr(view.samples.client, field)
        return value

    return Metric(name, "client", unit, formula, meaning, number_only(figure), better="lower")


SERVER = (
    Metric(
        "server_running_mean",
        "server",
        "requests",
        f"mean of the readings of {NEWEST['running']}",
        "Requests that the server was working on, by its own count.",
        in_span(_server("running", Series.mean)),
    ),
    Metric(
        "server_running_peak",
        "server",
        "requests",
        f"largest reading of {NEWEST['running']}",
        "The largest batch that the server ran at a reading.",
        in_span(_server("running", Series.peak)),
    ),
    Metric(
        "server_waiting_peak",
        "server",
        "requests",
        f"largest reading of {NEWEST['waiting']}",
        "The longest queue inside the server at a reading.",
        in_span(_server("waiting", Series.peak)),
        better="lower",
    ),
    Metric(
        "preemptions",
        "server",
        "1",
        f"rise of {NEWEST['preemptions_total']}",
        "How often a request lost its KV cache and was computed again.",
        in_span(_server("preemptions_total", Series.increase)),
        better="lower",
    ),
    Metric(
        "prefix_cache_hit_fraction",
        "server",
        "fraction",
        "cached prompt tokens / prompt tokens, by usage; else rise of hits / rise of queries",
        "The share of prompt tokens that the server did not have to compute.",
        in_span(_hit_fraction),
        better="higher",
    ),
    Metric(
        "prefix_hit_asked_fraction",
        "server",
        "fraction",
        "tokens of shared prefixes / prompt tokens, as they were sent",
        "The share of prompt tokens that a prefix cache can spare: that of beginnings which were "
        "sent once before the load. Absent where prompts share none.",
        number_only(hit_asked_fraction),
    ),
)

MEMORY = (
    Metric(
        "kv_cache_mean_fraction",
        "memory",
        "fraction",
        f"mean of the readings of {NEWEST['kv_cache_fraction']}",
        "The share of the KV-cache pool in use, on average.",
        in_span(_server("kv_cache_fraction", Series.mean)),
    ),
    Metric(
        "kv_cache_peak_fraction",
        "memory",
        "fraction",
        f"largest reading of {NEWEST['kv_cache_fraction']}",
        "The share of the KV-cache pool in use, at most.",
        in_span(_server("kv_cache_fraction", Series.peak)),
        label="KV pool in use, peak",
        shown=Shown(
            curve="KV",
            column=70,
            family=Family("journal_run_kv_cache_peak_ratio", "Peak use of the KV cache."),
        ),
    ),
    Metric(
        "vram_peak_bytes",
        "memory",
        "bytes",
        "largest reading of memory used on a GPU, added up over the GPUs; where NVML gives that of "
        "processes alone, of the server's",
        "Video memory in use on the server's GPUs, by any program.",
        in_span(_in_use),
        better="lower",
        label="VRAM, peak",
        shown=Shown(
            headline=True,
            amount=True,
            curve="VRAM",
            bar="most",
            column=50,
            family=Family("journal_run_vram_peak_bytes", "Peak of the GPUs' memory."),
        ),
    ),
    Metric(
        "vram_process_peak_bytes",
        "memory",
        "bytes",
        "largest reading of the server's processes' memory on a GPU, added up over the GPUs; where "
        "NVML hides them, vram_peak_bytes less what was used before the engine started",
        "Video memory of the server's own process tree.",
        in_span(_held_by_server),
        better="lower",
    ),
    Metric(
        "rss_peak_bytes",
        "memory",
        "bytes",
        "largest reading of resident memory, added up over the server's process tree",
        "Main memory of the server, where it runs on this host.",
        in_span(lambda view, span: view.process("rss_bytes").peak(span)),
        better="lower",
        label="resident memory, peak",
        shown=Shown(
            instead_of="vram_peak_bytes",
            amount=True,
            curve="RSS",
            bar="most",
            family=Family("journal_run_memory_peak_bytes", "Peak of the server's resident memory."),
        ),
    ),
)

ENERGY = (
    Metric(
        "gpu_utilisation_mean_fraction",
        "energy",
        "fraction",
        "mean reading of utilisation, averaged over the GPUs",
        "The share of time in which a GPU ran any kernel; it does not say how full they were.",
        in_span(_utilisation),
    ),
    Metric(
        "power_mean_w",
        "energy",
        "W",
        "integral of power over the measured span / duration_s, added up over the GPUs",
        "Electric power drawn by the server's GPUs.",
        in_span(_power),
        better="lower",
    ),
    Metric(
        "energy_j",
        "energy",
        "J",
        "rise of the GPUs' energy counters; without them, the integral of power",
        "Energy used by the server's GPUs over the measured span.",
        in_span(_energy),
        better="lower",
    ),
    Metric(
        "energy_by_counter_j",
        "energy",
        "J",
        "rise of the GPUs' energy counters over the measured span, added up",
        "Energy by the GPUs' own counters, where all of them have one.",
        in_span(energy_from_counter),
        better="lower",
    ),
    Metric(
        "energy_by_power_j",
        "energy",
        "J",
        "integral of the GPUs' power over the measured span, added up",
        "Energy as the area under the readings of power.",
        in_span(energy_from_power),
        better="lower",
    ),
    Metric(
        "energy_per_output_token_j",
        "energy",
        "J/tok",
        "energy_j / output_tokens",
        "Energy of one written token, reading the prompt included.",
        in_span(_energy_per_token),
        better="lower",
        label="energy per output token",
        shown=Shown(
            headline=True,
            amount=True,
            curve="energy",
            bar="least",
            column=80,
            family=Family("journal_run_energy_per_token_joules", "Per output token."),
        ),
    ),
    Metric(
        "output_tokens_per_s_per_w",
        "energy",
        "tok/s/W",
        "output_tokens / energy_j",
        "Tokens per second for each watt, which is tokens for each joule.",
        in_span(_tokens_per_j),
        better="higher",
    ),
)

COST = (
    Metric(
        "usd_per_million_output_tokens",
        "cost",
        "USD/Mtok",
        "usd_per_hour x duration_s / 3600 / output_tokens x 1,000,000",
        "The price of a million output tokens under this load, prompts included.",
        in_span(_usd_per_million_tokens),
        better="lower",
        label="price",
        shown=Shown(amount=True, curve="price", bar="least", column=90),
    ),
    Metric(
        "price_per_million_output_tokens",
        "cost",
        "¤/Mtok",
        "price_per_hour x duration_s / 3600 / output_tokens x 1,000,000",
        "The same where the price is in another currency, in that currency (¤).",
        in_span(_per_million_tokens),
        better="lower",
        label="price",
        shown=Shown(amount=True, curve="price in its currency", bar="least", column=91),
    ),
)

CLIENT = (
    _client(
        "client_cpu_fraction",
        "cpu_fraction",
        "fraction",
        "CPU time / time, of the busiest client process",
        "How busy the load generator was; near 1 it measures itself.",
    ),
    _client(
        "client_loop_delay_p99_s",
        "loop_delay_p99_s",
        "s",
        "p99 of the delay of the client's event loop",
        "The delay with which the client may have stamped a chunk.",
    ),
    _client(
        "client_send_delay_p99_s",
        "send_delay_p99_s",
        "s",
        "p99 of sent - due",
        "The delay with which the client sent its requests.",
    ),
)
