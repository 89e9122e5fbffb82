"""Token counts of a stream, from the usage objects in its events."""

from functools import lru_cache
from typing import Any

MOST = 1 << 31  # tokens: a larger number is not a count
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")  # further fields are details
_OUTPUT = (
    *("completion_tokens", "output_tokens", "completionTokens", "outputTokens"),
    *("completion_token_count", "output_token_count", "outputTokenCount", "generated_tokens"),
)
_PROMPT = (
    *("prompt_tokens", "input_tokens", "promptTokens", "inputTokens"),
    *("prompt_token_count", "input_token_count", "inputTokenCount"),
)
_HOLDERS = ("x_groq", "message", "meta", "metadata", "data", "details", "response", "stats")


class Usage:
    """The counts that the usage objects of a stream have given so far; None: not given.

    `whole`: one of them had both counts. It and later whole ones count, and one that is not whole
    is passed over after it."""

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.whole = False
        self._reasoning_tokens: int | None = None
        self._last: dict[str, Any] = {}  # the usage that gave the output
        self._output_tokens: int | None = None
        self._stale = False  # tokens came after the last usage
        self._first: int | None = None  # the count beside the first token
        self._beside = 0  # tokens beside which a count came
        self._grows = False

    @property
    def output_tokens(self) -> int | None:
        """The tokens of the whole answer, thoughts included; None where the last usage came before
        the last token, has no count, or counted each chunk by itself."""
        output = self._output_tokens
        if self._stale or output is None or (self._first == output and self._counts_chunks()):
            return None
        return output + self._unnamed(output)

    @property
    def reasoning_tokens(self) -> int | None:
        """The tokens of thoughts, which are part of the output."""
        if self._reasoning_tokens is None and self._output_tokens is not None:
            return self._unnamed(self._output_tokens) or None
        return self._reasoning_tokens

    def _unnamed(self, output: int) -> int:
        """The tokens that only the total has: Gemini counts thoughts there and nowhere else. A
        total beside further counts, as of a cache that is counted apart, is passed over."""
        total = _tokens(self._last.get("total_tokens"))
        if total is None or self.prompt_tokens is None or total <= self.prompt_tokens + output:
            return 0
        if self._reasoning_tokens is not None or self.cached_tokens:
            return 0
        others = (self._last[name] for name in self._last.keys() - set(USAGE))
        return 0 if any(map(_tokens, others)) else total - self.prompt_tokens - output

    def _counts_chunks(self) -> bool:
        """Whether the same count came beside more tokens than it has."""
        return not self._grows and self._first is not None and self._first < self._beside

    @property
    def runs(self) -> bool:
        """Whether the counts that came beside tokens grew with them."""
        return self._grows or self._beside < 2

    def took_token(self, made: int | None) -> None:
        """Note that a chunk with a token came, and the output tokens `made` that its usage gave."""
        self._stale = made is None
        if made is None:
            return
        self._beside += 1
        if self._first is None:
            self._first = made
        elif made != self._first:
            self._grows = True

    def take(self, usage: dict[str, Any]) -> int | None:
        """Take the counts of a usage object; return its output tokens (None: it has no count)."""
        output, prompt = usage.get("completion_tokens"), usage.get("prompt_tokens")
        if not (type(output) is type(prompt) is int and 0 < output < MOST and 0 < prompt < MOST):
            output, prompt = _number_in(usage, _OUTPUT), _number_in(usage, _PROMPT)
            if output is None and prompt is not None:
                output = _rest(usage, prompt)
        whole = output is not None and output > 0 and prompt is not None
        if whole or not self.whole:
            self.whole = whole
            self.prompt_tokens = self.prompt_tokens if prompt is None else prompt
            if output:
                self._output_tokens, self._stale = output, False
                self._last = usage
        if len(usage) > len(USAGE):
            self._take_details(usage)
            output = self._with_thoughts(usage, output)
        return output

    def _with_thoughts(self, usage: dict[str, Any], output: int | None) -> int | None:
        """`output` with the thoughts that some providers leave out of it, though not of the
        total."""
        prompt, thoughts = _number_in(usage, _PROMPT), self._reasoning_tokens
        if not output or not thoughts or prompt is None:
            return output
        if _tokens(usage.get("total_tokens")) != prompt + output + thoughts:
            return output
        if self._output_tokens == output:
            self._output_tokens = output + thoughts
        return output + thoughts

    def _take_details(self, usage: dict[str, Any]) -> None:
        cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
        if cached is None:
            cached = _number_in(usage, ("cached_tokens", "prompt_cache_hit_tokens"))
        self.cached_tokens = self.cached_tokens if cached is None else cached
        thoughts = _detail(usage, "completion_tokens_details", "reasoning_tokens")
        if thoughts is None:
            thoughts = _number_in(usage, ("reasoning_tokens",))
        self._reasoning_tokens = self._reasoning_tokens if thoughts is None else thoughts


def usage_elsewhere(event: dict[str, Any], choice: dict[str, Any] | None) -> dict[str, Any] | None:
    """The usage in a place of some server's own: the choice, its delta, or another field of the
    event, itself or in an object; None where there is none."""
    if choice is not None:
        delta = choice.get("delta")
        for holder in (choice, delta):
            usage = holder.get("usage") if isinstance(holder, dict) else None
            if isinstance(usage, dict):
                return usage
    for name in _places(tuple(event)):
        value = event[name]
        if name in _HOLDERS or name.startswith("x_"):
            value = value.get("usage") if isinstance(value, dict) else None
        if isinstance(value, list):
            value = value[-1] if value else None
        if name == "timings" and isinstance(value, dict):
            value = _of_timings(value)
        if isinstance(value, dict) and _number_in(value, _OUTPUT) is not None:
            return value
    return None


@lru_cache(maxsize=256)
def _places(names: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of an event, of all its `names`, in which usage may stand."""
    return tuple(
        name
        for name in names
        if name in _HOLDERS
        or name.startswith("x_")
        or name == "timings"
        or "usage" in name.lower()
        or name.endswith("nvocationMetrics")
    )


def _number_in(fields: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """The first number of tokens among fields of these names."""
    for name in names:
        if (count := _tokens(fields.get(name))) is not None:
            return count
    return None


def _of_timings(timings: dict[str, Any]) -> dict[str, Any]:
    """The counts in llama.cpp's timings, whose `prompt_n` is without the tokens that it found in
    its cache."""
    read, cached = _tokens(timings.get("prompt_n")), _tokens(timings.get("cache_n"))
    whole = None if read is None or cached is None else read + cached
    return {
        **timings,
        "prompt_tokens": whole,
        "completion_tokens": timings.get("predicted_n"),
        "cached_tokens": cached,
    }


def _rest(usage: dict[str, Any], prompt: int) -> int | None:
    """The output tokens of a usage that has only those of the prompt and all together."""
    total = _tokens(usage.get("total_tokens"))
    return None if total is None or total <= prompt else total - prompt


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return _tokens(details.get(name)) if isinstance(details, dict) else None


def _tokens(value: Any) -> int | None:
    """A number of tokens, written as an integer, a float or a text; None for other values."""
    if type(value) is not int:
        if isinstance(value, str) and value.isascii() and len(value) < 20:
            try:
                value = float(value)
            except ValueError:
                return None
        if not isinstance(value, float) or not value.is_integer():
            return None
    return int(value) if 0 <= value < MOST else None
