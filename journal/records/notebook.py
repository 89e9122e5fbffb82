"""Records of work by hand: notes, checkups of hosts, questions to servers, names of runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement of serving: the state that was `found`, and `advice` on what to do ("":
    nothing). State "note" means that serving works, with less than it could; "missing" that it
    cannot work."""

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """All checks of one host, made at one time."""

    id: str
    host: str
    made_at: datetime
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether serving can work on the host."""
        return all(check.state != "missing" for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One question of a person to a server, and its answer.

    `messages` (each with `role` and `content`) were sent; the prompt of a completion stands as the
    user's only message. `settings` are the other fields of the request. `ttft_s` and `duration_s`
    are the times from sending to the first chunk with content and to the end, `ttfo_s` that to
    the first chunk of the answer itself. `thoughts` are kept apart from the answer, and
    `reasoning_tokens` is their number by the server's usage. `error` is the cause of a failure;
    text that came before it is kept. `note` describes an oddity of an answer that did not fail.
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
        """Output tokens per second after the first: (tokens - 1) / (duration - TTFT); None where
        these are not known. Thoughts that the server counted and did not stream are left out."""
        tokens, first_s, end_s = self.output_tokens, self.ttft_s, self.duration_s
        if tokens is not None and self.reasoning_tokens is not None and not self.thoughts:
            tokens -= self.reasoning_tokens
        if tokens is None or first_s is None or end_s is None or tokens < 2 or end_s <= first_s:
            return None
        return (tokens - 1) / (end_s - first_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note of the user on a day, or on one experiment or run of it. `text` is exactly as it was
    written; bytes that are not UTF-8 stand in it as lone surrogates."""

    id: str
    day: date
    text: str
    written_at: datetime
    experiment_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A name that a person gave to runs, by their ids."""

    name: str
    tagged_at: datetime
    run_ids: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The tag as plain JSON values."""
        at = self.tagged_at.isoformat()
        return {"name": self.name, "tagged_at": at, "runs": list(self.run_ids)}
