"""The rows of the table on the turns of conversations: prompts, first tokens and hits by turn."""

from collections.abc import Callable, Sequence

import numpy as np

from journal.metrics.row import TURNS, Metric, total
from journal.metrics.view import View
from journal.records.figure import Figure
from journal.records.request import Trace


def _of_turn(turn: int, of: Callable[[Sequence[Trace]], float | None]) -> Callable[[View], Figure]:
    """The figure of the requests of one turn that succeeded; without any its value is None."""

    def figure(view: View) -> Figure:
        traces = [trace for trace in view.done if trace.turn == turn]
        return Figure(of(traces) if traces else None, count=len(traces))

    return figure


def _prompt_tokens(traces: Sequence[Trace]) -> float | None:
    whole = total(trace.prompt_tokens for trace in traces)
    return None if whole is None else whole / len(traces)


def _ttft_s(traces: Sequence[Trace]) -> float | None:
    waits_s = [trace.chunk_s[0] - trace.scheduled_s for trace in traces if trace.chunk_s]
    return float(np.median(waits_s)) if waits_s else None


def _hit_fraction(traces: Sequence[Trace]) -> float | None:
    hits = total(trace.cached_tokens for trace in traces)
    prompts = total(trace.prompt_tokens for trace in traces)
    return hits / prompts if hits is not None and prompts else None


BY_TURN = (
    *(
        Metric(
            f"turn_prompt_tokens.{turn}",
            "throughput",
            "tokens",
            "mean of the prompt tokens of requests of that turn, by the server's usage",
            "How long prompts are at each turn of a conversation, with all that was said before.",
            _of_turn(turn, _prompt_tokens),
        )
        for turn in TURNS
    ),
    *(
        Metric(
            f"turn_ttft_s.{turn}",
            "latency",
            "s",
            "median of first chunk with content - sent, of requests of that turn",
            "How the time to first token grows with what was said before.",
            _of_turn(turn, _ttft_s),
            better="lower",
        )
        for turn in TURNS
    ),
    *(
        Metric(
            f"turn_hit_fraction.{turn}",
            "server",
            "fraction",
            "cached prompt tokens / prompt tokens of requests of that turn, by usage",
            "The share of a turn's prompt that the server still had from the turns before.",
            _of_turn(turn, _hit_fraction),
            better="higher",
        )
        for turn in TURNS
    ),
)
