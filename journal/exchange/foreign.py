"""A run from a result file of another tool, in the journal's own terms.

Such files are untrusted: each reader has a model of the part that it needs, with limits on every
number and text, and passes over the rest of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from statistics import median_low
from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict

from journal.errors import UsageError
from journal.records.doubt import Values
from journal.records.figure import Metrics
from journal.records.request import Trace

Seconds = Annotated[float, Ge(0), Le(1e7)]
Clock = Annotated[float, Ge(0), Le(1e12)]  # seconds of some clock, which may be that of the epoch
Epoch = Annotated[float, Ge(1e9), Le(4e9)]  # from 2001 to 2096
Number = Annotated[float, Ge(0), Le(1e15)]
Rate = Annotated[float, Gt(0), Le(1e7)]
Tokens = Annotated[int, Ge(0), Le(10**8)]
Count = Annotated[int, Gt(0), Le(10**7)]
Name = Annotated[str, MaxLen(500)]

ERROR_CHARS = 500


class ForeignPart(BaseModel):
    """A part of a result file: the fields of the model are checked, others are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One run of another tool. `rate` is in requests/s; None: a closed loop of `batch`. Without
    `traces` the run has `figures` alone. `every_chunk` False: only the first and the last chunk of
    each answer are known. `notes` are the values of a doubt "absent" for each fact that the file
    lacks."""

    tool: str
    version: str | None
    model: str
    batch: int | None
    rate: float | None
    burstiness: float = 1.0
    started_at: datetime
    duration_s: float
    requests: int
    prompt_tokens: int
    output_tokens: int
    traces: tuple[Trace, ...] = ()
    every_chunk: bool = True
    figures: Metrics = field(default_factory=dict)
    notes: tuple[Values, ...] = ()


def answered(
    index: int,
    start_s: float,
    chunk_s: Sequence[float],
    end_s: float,
    *,
    prompt_tokens: int | None,
    output_tokens: int | None,
    scheduled_s: float | None = None,
    output_chars: int | None = None,
) -> Trace:
    """The trace of a request that the tool counted as a success, times in s. The tokens asked for
    are taken to be the tokens that came: the file has one number for both."""
    return Trace(
        index=index,
        warmup=False,
        scheduled_s=start_s if scheduled_s is None else scheduled_s,
        start_s=start_s,
        end_s=max(end_s, *chunk_s) if chunk_s else end_s,
        outcome="ok",
        prompt_tokens_asked=prompt_tokens or 0,
        output_tokens_asked=output_tokens or 0,
        chunk_s=tuple(chunk_s),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        output_chars=output_chars,
    )


def failed(
    index: int, start_s: float, end_s: float, error: str, scheduled_s: float | None = None
) -> Trace:
    """The trace of a request that failed, times in s, with up to ERROR_CHARS of the tool's
    error."""
    return Trace(
        index=index,
        warmup=False,
        scheduled_s=start_s if scheduled_s is None else scheduled_s,
        start_s=start_s,
        end_s=max(start_s, end_s),
        outcome="error",
        prompt_tokens_asked=0,
        output_tokens_asked=0,
        error=error[:ERROR_CHARS] or "failed, and the tool gives no reason",
    )


def stamps(start_s: float, ttft_s: float, gaps_s: Sequence[float]) -> list[float]:
    """The time of each chunk in s, from the time to the first one and the gaps after it."""
    return list(accumulate(gaps_s, initial=start_s + ttft_s))


def local_time(text: str, form: str | None = None) -> datetime:
    """The moment that `text` names in this machine's time zone: ISO 8601, or of the form `form`.
    Raises UsageError for another text, or a year before 2001 or after 2096."""
    try:
        read = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
        if not 2001 <= read.year <= 2096:
            raise ValueError("the year is not between 2001 and 2096")
        return read.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"the file was written at {text[:40]!r}, which is not a time") from error


def typical(lengths: Sequence[int | None]) -> int:
    """The typical length in tokens: the median of the known lengths; 0 where all are unknown."""
    known = [length for length in lengths if length is not None]
    return median_low(known) if known else 0
