"""Finish reasons: servers' own words for the end of an answer, in the API's words where they mean
the same."""

import re
from functools import lru_cache
from typing import Any

from journal.redaction import hidden

TOOL_REASONS = ("tool_calls", "tool_use", "function_call")
LONGEST = 4096  # characters of a server's own words that are looked at

# A reason means "length" or "stop" where it holds one of the first words and none but the words of
# both lines: "max_tokens_reached" and "stop_sequence" do, "max_tool_calls" and "stop_error" do not.
_LENGTH = frozenset("length max maximum truncated".split())
_OF_LENGTH = _LENGTH.union(
    "model token tokens new output completion context window size limit cap capped reached hit "
    "exceeded exhausted".split()
)
_LIMITED = frozenset("token tokens output completion context".split())  # with one of the next:
_LIMITS = frozenset("limit window exceeded exhausted cap".split())
_STOP = frozenset(
    "stop stopped stopsequence eos eot end ended endoftext endturn complete completed done finish "
    "finished normal success succeeded".split()
)
_OF_STOP = _STOP.union(
    "sequence str string strings word words token tokens id of turn text sentence message natural "
    "found hit matched reached reason".split()
)
_SPECIAL_TOKEN = re.compile(r"<[^<>]{1,40}>|\[EOS\]|\[/INST\]", re.IGNORECASE)  # </s>, <|im_end|>
# Words that servers send before the reason is known.
_PLACEHOLDERS = frozenset(
    "null none nil undefined unspecified unknown pending running in_progress not_finished "
    "unfinished continue false".split()
)
# Reasons that no later reason replaces.
_FINAL = frozenset(
    "abort aborted cancel cancelled canceled error failed timeout content_filter safety".split()
).union(TOOL_REASONS)
# The names of a reason in an object.
_NAMES = ("type", "reason", "finish_reason", "name", "value")


def later_reason(reason: Any, before: str | None) -> str | None:
    """The finish reason of an answer that had `before` (None: none) and is given `reason` now, in
    whatever form: "stop", "length", or the server's own word."""
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    if isinstance(reason, dict):
        reason = next((reason[name] for name in _NAMES if reason.get(name)), None)
    if not reason or before in _FINAL:
        return before
    word = _word(str(reason)[:LONGEST])
    if not word or word in _PLACEHOLDERS:
        return before
    return known_reason(word) or hidden(word)


def known_reason(reason: str) -> str | None:
    """The API's word for a reason that means stop or length; None for another."""
    return _known(_word(reason[:LONGEST]))


@lru_cache(maxsize=256)
def _known(word: str) -> str | None:
    if _SPECIAL_TOKEN.fullmatch(word):
        return "stop"
    words = frozenset(word.split("_"))
    limited = words & _LENGTH or (words & _LIMITED and words & _LIMITS)
    if limited and words <= _OF_LENGTH:
        return "length"
    return "stop" if words & _STOP and words <= _OF_STOP else None


@lru_cache(maxsize=256)
def _word(reason: str) -> str:
    """A reason in one form: "FinishReason.MAX_TOKENS", "maxTokens" and "max-tokens" are alike."""
    word = re.sub(r"([a-z])([A-Z])", r"\1_\2", reason.strip())
    word = word.lower().replace("-", "_").replace(" ", "_")
    return re.sub(r"^\w*reason[._](?=.)", "", word)
