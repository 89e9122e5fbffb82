"""Answers of the fake server: the events of one stream, or one whole answer, in OpenAI's words."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from journal.simulator.engine_model import Fault, Job, Script

_WORDS = (
    "the",
    "engine",
    "says",
    "née",
    "word",
    "模型",
    "by",
    "word",
    "and",
    "means",
    "🙂",
    "none",
)
_ids = itertools.count(1)


class Refused(Exception):
    """The refusal of a request: an HTTP status and a message, answered as an error object."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TokenRequest:
    """A request for tokens, checked. `prompt` holds token ids, or words, which count as one token
    each. Raises Refused for a request that the server cannot answer."""

    def __init__(self, path: str, body: bytes, script: Script) -> None:
        self.chat = path == "/v1/chat/completions"
        fields = _parsed(body)
        if fields.get("model") not in (None, script.model):
            raise Refused(404, f"The model `{fields['model']}` does not exist.")
        if fields.get("n", 1) != 1:
            raise Refused(400, "The simulated server gives one choice only: n must be 1.")
        self.prompt = self._chat(fields, script) if self.chat else self._prompt(fields, script)
        limit = fields.get("max_completion_tokens", fields.get("max_tokens", 16))
        if not isinstance(limit, int) or limit < 1:
            raise Refused(400, f"max_tokens must be at least 1, got {limit}.")
        if len(self.prompt) + limit > script.max_model_len:
            raise Refused(
                400,
                f"This model's maximum context length is {script.max_model_len} tokens. However, "
                f"you requested {limit} output tokens and your prompt contains "
                f"{len(self.prompt)} input tokens.",
            )
        self.output_tokens = limit
        self.stream = bool(fields.get("stream", False))
        options = fields.get("stream_options") or {}
        self.usage = bool(options.get("include_usage", False))
        self.continuous_usage = bool(options.get("continuous_usage_stats", False))
        self.token_ids = bool(fields.get("return_token_ids", False))

    def _prompt(self, fields: dict[str, Any], script: Script) -> tuple[int | str, ...]:
        prompt = fields.get("prompt")
        if isinstance(prompt, str):
            return tuple(prompt.split())
        if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
            if not script.token_prompts:
                raise Refused(400, "This server takes text prompts only.")
            return tuple(prompt)
        raise Refused(400, "prompt must be a text or a list of token ids.")

    def _chat(self, fields: dict[str, Any], script: Script) -> tuple[int | str, ...]:
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused(400, "messages must be a list of at least one message.")
        words: list[int | str] = ["<chat>"] * script.chat_overhead_tokens
        for message in messages:
            words.extend(str(message.get("content") or "").split())
        return tuple(words)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        raise Refused(400, "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise Refused(400, "The body must be a JSON object.")
    return fields


class SimulatedAnswer:
    """The bytes of one answer. Every token is a word, so that tests can count tokens."""

    def __init__(self, question: TokenRequest, script: Script, fault: Fault | None) -> None:
        self.question = question
        self.script = script
        self.fault = fault
        kind = "chat.completion" if question.chat else "text_completion"
        self._head = {
            "id": f"{'chatcmpl' if question.chat else 'cmpl'}-simulated-{next(_ids)}",
            "object": kind + ".chunk" if question.chat and question.stream else kind,
            "created": int(time.time()),
            "model": script.model,
        }

    def event(self, payload: dict[str, Any] | str) -> bytes:
        """One server-sent event with `payload`."""
        text = payload if isinstance(payload, str) else _compact(payload)
        if "crlf" in self.script.quirks:
            return f": a comment\r\nevent: message\r\ndata:{text}\r\n\r\n".encode()
        return f"data: {text}\n\n".encode()

    def opening(self) -> bytes:
        """The events before the first token: the role in a chat, an empty chunk where scripted."""
        events = b""
        if self.question.chat:
            events += self.event(self._chunk({"role": "assistant", "content": ""}, None, 0))
        if "empty_first" in self.script.quirks:
            events += self.event(self._chunk(self._delta(""), None, 0))
        return events

    def piece(self, first: int, count: int, finish_reason: str | None) -> bytes:
        """The event with `count` tokens from token `first` (from 0) on."""
        chunk = self._chunk(self._delta(_text(first, count)), finish_reason, first + count)
        if self.question.token_ids:
            chunk["choices"][0]["token_ids"] = list(range(first, first + count))
        return self.event(chunk)

    def closing(self, job: Job) -> bytes:
        """The last events: the usage chunk where the request wants it, then [DONE]."""
        events = b""
        if self.question.usage and self.fault != "no_usage":
            events += self.event(
                {**self._head, "choices": [], "usage": self.usage(job), **self._metrics(job)}
            )
        return events if self.fault == "no_done" else events + self.event("[DONE]")

    def whole(self, job: Job) -> dict[str, Any]:
        """The JSON of an answer that is not streamed."""
        text = _text(0, job.made)
        words = {"message": {"role": "assistant", "content": text}}
        choice = words if self.question.chat else {"text": text}
        choices = [{"index": 0, **choice, "logprobs": None, "finish_reason": "length"}]
        return {**self._head, "choices": choices, "usage": self.usage(job), **self._metrics(job)}

    def usage(self, job: Job) -> dict[str, Any]:
        """The usage object at the end of `job`."""
        usage: dict[str, Any] = self._usage(job.made)
        if self.script.prefix_caching:
            usage["prompt_tokens_details"] = {"cached_tokens": job.cached_tokens}
        return usage

    def _usage(self, made: int) -> dict[str, Any]:
        prompt = len(self.question.prompt)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"content": text} if self.question.chat else {"text": text}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None, made: int) -> dict[str, Any]:
        words = {"delta": delta} if self.question.chat else delta
        choice = {"index": 0, **words, "logprobs": None, "finish_reason": finish_reason}
        chunk: dict[str, Any] = {**self._head, "choices": [choice]}
        if self.question.continuous_usage and self.fault != "no_usage":
            chunk["usage"] = self._usage(made)
        return chunk

    def _metrics(self, job: Job) -> dict[str, Any]:
        if not self.script.per_request_metrics:
            return {}
        return {
            "metrics": {
                "time_to_first_token_ms": (job.first_at - job.scheduled_at) * 1e3,
                "generation_time_ms": (job.last_at - job.first_at) * 1e3,
                "queue_time_ms": (job.scheduled_at - job.queued_at) * 1e3,
            }
        }


def error_object(message: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "SimulatedError", "param": None, "code": status}}


def _compact(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _text(first: int, count: int) -> str:
    return "".join(f"{' ' if k else ''}{word}" for k, word in _words(first, count))


def _words(first: int, count: int) -> Iterator[tuple[int, str]]:
    return ((k, _WORDS[k % len(_WORDS)]) for k in range(first, first + count))
