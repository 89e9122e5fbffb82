"""Made-up answers, for journals that only have to be large."""

from collections.abc import Sequence

from journal.records.cell import Cell
from journal.records.request import Trace


def answer(index: int, start_s: float, chunk_s: Sequence[float], cell: Cell) -> Trace:
    """The trace of a request of `cell` that was sent at `start_s` and had a token at each of
    `chunk_s`."""
    tokens = len(chunk_s)
    return Trace(
        index=index,
        warmup=False,
        scheduled_s=start_s,
        start_s=start_s,
        end_s=chunk_s[-1],
        outcome="ok",
        prompt_tokens_asked=cell.prompt_tokens,
        output_tokens_asked=tokens,
        chunk_s=tuple(chunk_s),
        chunk_tokens=(1,) * tokens,
        prompt_tokens=cell.prompt_tokens,
        output_tokens=tokens,
        output_chars=4 * tokens,
        finish_reason="length",
        status=200,
    )
