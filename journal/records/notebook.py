"""The records of what people do by hand: notes, checkups of hosts, questions asked of servers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that serving needs: what was `found`, and what to do (empty: nothing). State
    note: it works, with less than it could; missing: serving cannot work without it."""

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """Every check of one host, made at one time."""

    id: str
    host: str
    made_at: datetime
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether serving can work there."""
        return all(check.state != "missing" for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One question that a person asked a server, and its answer.

    `messages` (each with `role` and `content`) are what was sent; a completion's prompt stands as
    the user's only message. `settings` are the request's other fields. `ttft_s` and `duration_s`
    count from when it was sent to the first piece with content and to the end, `ttfo_s` to the
    first piece of the answer itself. `thoughts` are kept apart from the answer, and
    `reasoning_tokens` are theirs by the server's usage. `error` says why it failed; what came
    before that is kept. `note` says what is odd about an answer that did not fail.
    """

    id: str
    source: Literal["ask", "chat"]
    asked_at: datetime
    base_url: str
    model: str
    api: Literal["completions", "chat"]
    messages: tuple[Mapping[str, str], ...]
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)
    answer: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    duration_s: float | None = None
    error: str | None = None
    thoughts: str = ""
    ttfo_s: float | None = None
    reasoning_tokens: int | None = None
    note: str | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens per second after the first: (tokens - 1) / (duration - TTFT). Thoughts
        that were counted and not streamed are not among the tokens."""
        tokens, first_s, end_s = self.output_tokens, self.ttft_s, self.duration_s
        if tokens is not None and self.reasoning_tokens is not None and not self.thoughts:
            tokens -= self.reasoning_tokens
        if tokens is None or first_s is None or end_s is None or tokens < 2 or end_s <= first_s:
            return None
        return (tokens - 1) / (end_s - first_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The user's own words on a day, and there on an experiment or a run where they say so. `text`
    is exactly what was written; bytes that are no UTF-8 stand in it as lone surrogates."""

    id: str
    day: date
    text: str
    written_at: datetime
    experiment_id: str | None = None
    run_id: str | None = None
