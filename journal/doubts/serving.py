"""Doubts about the server and its machine while the load ran."""

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.metrics.resources import energy_from_counter, hit_asked_fraction
from journal.metrics.window import Span
from journal.records.doubt import Severity
from journal.records.load_shape import Closed
from journal.records.samples import GpuReading
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS
from journal.units import percent

PREFIX_HITS = 0.01
ROUNDING_TOKENS = 0.01
SERVER_BATCH = 0.9
SERVER_READINGS = 10
FOREIGN_TOKENS = 0.1
THROTTLED_FLAG = 0.05

# The bits of NVML's clocks event reasons that slow a GPU down. Not among them: idle (0x1), clocks
# set by an application (0x2), sync boost (0x10) and display clocks (0x100).
THROTTLE_REASONS = {
    0x4: "power_limit",
    0x8: "hardware_slowdown",
    0x20: "software_heat",
    0x40: "hardware_heat",
    0x80: "power_brake",
}


def _gpu_readings(case: Case) -> list[GpuReading]:
    """The readings of GPUs inside the measured span."""
    span = case.view.span
    if span is None:
        return []
    readings = case.view.samples.readings.gpu
    return [reading for reading in readings if span.start_s <= reading.at_s <= span.end_s]


def _prefix_cache_hits(case: Case) -> Finding | None:
    hits, workload = case.value("prefix_cache_hit_fraction"), case.view.cell.workload
    repeats = workload.shared_prefix or workload.is_conversation
    if hits is None or hits < PREFIX_HITS or repeats:
        return None
    if workload.is_own or workload.trace is not None:
        return "note", {"variant": "own", "hit_fraction": hits}
    return "flag", {"hit_fraction": hits}


def _prefix_hits_off(case: Case) -> Finding | None:
    """The doubt that a run whose prompts share beginnings had other hits than these give."""
    view = case.view
    asked, hits = hit_asked_fraction(view), case.value("prefix_cache_hit_fraction")
    if asked is None:
        return None
    if hits is None:
        return "note", {"variant": "untold", "asked_fraction": asked}
    prompt_tokens = view.cell.workload.shared_prefix / asked
    block_tokens = view.samples.facts.block_size
    block_tokens = BLOCK_TOKENS if block_tokens is None else block_tokens
    if abs(hits - asked) * prompt_tokens <= block_tokens + ROUNDING_TOKENS:
        return None
    values = {"asked_fraction": asked, "hit_fraction": hits, "block_tokens": block_tokens}
    return "flag", {"variant": "none" if hits < PREFIX_HITS else "other", **values}


def _speculation_random(case: Case) -> Finding | None:
    """The doubt that acceptance was measured on random tokens, which no draft foresees, or on the
    loops that a model falls into after them."""
    accepted = case.value("draft_accepted_fraction")
    if accepted is None or case.view.cell.workload.is_own:
        return None
    return "flag", {"accepted_fraction": accepted}


def _preemptions(case: Case) -> Finding | None:
    count = case.value("preemptions")
    return ("flag", {"preemptions": count}) if count else None


def _server_batch(case: Case) -> Finding | None:
    view, shape = case.view, case.view.cell.shape
    if not isinstance(shape, Closed) or view.steady is None:
        return None
    batch = shape.batch
    running = view.server("running").within(view.steady)
    if len(running) < SERVER_READINGS or running.max() >= SERVER_BATCH * batch:
        return None
    return "flag", {"running": float(running.max()), "batch": batch}


def _foreign_traffic(case: Case) -> Finding | None:
    """The doubt that the server's own count of tokens is larger than ours, over the same
    readings."""
    view = case.view
    if view.span is None or len(view.done) < case.count:
        return None
    around = view.server("output_tokens_total").around(view.span)
    theirs = view.server("output_tokens_total").increase(view.span)
    if theirs is None:
        return None
    ours = _tokens_written(case, Span(float(around.at_s[0]), float(around.at_s[-1])))
    one = view.cell.output_tokens
    if ours is None or one is None or theirs <= (1 + FOREIGN_TOKENS) * ours + one:
        return None
    return "flag", {"written_tokens": theirs, "received_tokens": ours}


def _tokens_written(case: Case, span: Span) -> float | None:
    """The tokens that this client received in the span, warm-up included; None where a request has
    no count or no chunk."""
    total = 0.0
    for trace in case.view.samples.traces:
        if trace.output_tokens is None or not trace.chunk_s:
            return None
        inside = sum(span.start_s <= at_s <= span.end_s for at_s in trace.chunk_s)
        total += trace.output_tokens * inside / len(trace.chunk_s)
    return total


def _throttled(case: Case) -> Finding | None:
    readings = [r.throttle_reasons for r in _gpu_readings(case) if r.throttle_reasons is not None]
    slowed = [reasons for reasons in readings if reasons & sum(THROTTLE_REASONS)]
    if not slowed:
        return None
    share = len(slowed) / len(readings)
    every = int(np.bitwise_or.reduce(slowed))
    causes = [cause for bit, cause in THROTTLE_REASONS.items() if every & bit]
    severity: Severity = "flag" if share >= THROTTLED_FLAG else "note"
    return severity, {"causes": causes, "slowed_fraction": share}


def _shared_gpu(case: Case) -> Finding | None:
    others = max((r.other_processes for r in _gpu_readings(case) if r.other_processes), default=0)
    return ("flag", {"others": others}) if others else None


def _no_gpu(case: Case) -> Finding | None:
    readings = case.view.samples.readings
    return None if readings.gpu or readings.absent else ("note", {})


def _energy_by_power(case: Case) -> Finding | None:
    span = case.view.span
    if span is None or case.value("energy_j") is None:
        return None
    return None if energy_from_counter(case.view, span) is not None else ("note", {})


def _kv_no_rate(case: Case) -> Finding | None:
    """The note that a pool was given and nothing follows from it for a token."""
    view, facts = case.view, case.view.samples.facts
    if case.value("kv_bytes_per_token") is not None:
        return None
    if view.served is not None and view.served.model.mixed and facts.kv_pool_bytes is not None:
        return "note", {"variant": "mixed"}
    if facts.kv_pool_tokens is None and facts.block_size is not None:
        return "note", {"variant": "blocks", "block_tokens": facts.block_size}
    return None


RULES = (
    Rule(
        "prefix_cache_hits",
        f"{percent(PREFIX_HITS)} of the prompt tokens cached",
        "A hit saves its share of the prefill; prompts are drawn to have none.",
        _prefix_cache_hits,
    ),
    Rule(
        "prefix_hits_off",
        "more than one block of tokens between the hits asked and those met; a note where the "
        "server tells none",
        "A cache holds whole blocks, so that less than one of each prompt is lost.",
        _prefix_hits_off,
    ),
    Rule(
        "speculation_random",
        "drafts that were counted while random tokens were read",
        "Random prompts repeat nothing, and what a model writes after them is no text: acceptance, "
        "and all speed that comes of it, says nothing of real prompts.",
        _speculation_random,
    ),
    Rule(
        "preemptions",
        "one preemption",
        "The server computes a preempted request again, and its client sees a stall.",
        _preemptions,
    ),
    Rule(
        "server_batch",
        f"fewer than {percent(SERVER_BATCH)} of the batch running in every one of "
        f"{SERVER_READINGS} or more readings of the steady state",
        "The batch that counts is the server's; a tenth is left for requests on their way.",
        _server_batch,
    ),
    Rule(
        "foreign_traffic",
        f"the server counts {percent(FOREIGN_TOKENS)} and one answer more tokens than came here",
        "Its counters and ours are read some ms apart; more than that is another client's work.",
        _foreign_traffic,
    ),
    Rule(
        "kv_no_rate",
        "a KV pool of known bytes and layers that keep different spans, or one in blocks alone",
        "Tokens of such a pool are those of sequences of one length: bytes divided by them are no "
        "rate.",
        _kv_no_rate,
    ),
    Rule(
        "throttled",
        f"one reading; a flag from {percent(THROTTLED_FLAG)} of them",
        "The figures of a GPU that lowers its clocks are those of its cooling or its power limit.",
        _throttled,
    ),
    Rule(
        "shared_card",  # the old name of a GPU, since names of rules are stored
        "one other process on the GPU",
        "Its memory and time cannot be separated from the server's.",
        _shared_gpu,
    ),
    Rule(
        "no_card",  # the old name of a GPU, since names of rules are stored
        "no reading of a GPU, and no reason given",
        "A figure that was not measured is absent, and the reason should be known.",
        _no_gpu,
    ),
    Rule(
        "energy_by_power",
        "energy without an energy counter",
        "Power is sampled, and changes between two readings are missed.",
        _energy_by_power,
    ),
)
