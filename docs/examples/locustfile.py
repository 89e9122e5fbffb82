"""Streaming completions under Locust: time to first token, time per output token, whole latency.

    locust -f docs/examples/locustfile.py --headless --host http://127.0.0.1:8000 \
        --users 8 --spawn-rate 8 --run-time 30s

One user is one request in flight. By itself Locust counts the time until the headers of a stream
came, which is no latency of a model; here each answer is read to its end, every line stamped as it
comes, and three rows are reported: POST (whole latency), TTFT and TPOT. A stream that breaks off,
carries an error or has no finish reason is a failure, although its status is 200.

From the environment: MODEL (else the only one served), PROMPT_TOKENS, OUTPUT_TOKENS, and the key in
JOURNAL_API_KEY. Prompts are random token ids, so that no prefix cache makes them cheap; that, and
ignore_eos, is vLLM's.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from geventhttpclient.response import HTTPParseError
from locust import FastHttpUser, events, task

PROMPT_TOKENS = int(os.environ.get("PROMPT_TOKENS", "128"))
OUTPUT_TOKENS = int(os.environ.get("OUTPUT_TOKENS", "64"))
KEY = os.environ.get("JOURNAL_API_KEY")
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}


class Broken(Exception):
    """An answer that is not what was asked for."""


class Completions(FastHttpUser):
    network_timeout = 600.0

    def on_start(self) -> None:
        self.model = os.environ.get("MODEL") or self.only_model()

    def only_model(self) -> str:
        with self.client.get("/v1/models", headers=HEADERS, name="models") as response:
            return str(response.json()["data"][0]["id"])

    @task
    def complete(self) -> None:
        body = {
            "model": self.model,
            "prompt": [random.randint(1000, 29999) for _ in range(PROMPT_TOKENS)],
            "max_tokens": OUTPUT_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        began = time.perf_counter()
        with self.client.post(
            "/v1/completions", json=body, headers=HEADERS, stream=True, catch_response=True
        ) as response:
            try:
                first, last, tokens = read(response)
            except Broken as reason:
                response.failure(str(reason))
                return
            finally:
                whole = time.perf_counter() - began
                response.request_meta["response_time"] = whole * 1e3
        report("TTFT", first - began)
        if tokens > 1:
            report("TPOT", (last - first) / (tokens - 1))


def read(response: Any) -> tuple[float, float, int]:
    """The times in s of the first and the last token, and the number of tokens. Raises Broken."""
    if response.status_code != 200:
        raise Broken(f"status {response.status_code}")
    first = last = None
    tokens = reason = None
    for event, at in stamped(response):
        if event == "[DONE]":
            break
        try:
            chunk = json.loads(event)
        except ValueError:
            raise Broken("an event that is no JSON") from None
        if "error" in chunk:
            raise Broken(f"error in the stream: {chunk['error'].get('message')}")
        if chunk.get("usage"):
            tokens = chunk["usage"]["completion_tokens"]
        for choice in chunk["choices"]:
            reason = choice["finish_reason"] or reason
            if choice["text"]:
                first, last = first or at, at
    else:
        raise Broken("the stream broke off")
    if first is None or last is None or tokens is None or reason not in ("stop", "length"):
        raise Broken(f"no whole answer: {tokens} tokens, finish reason {reason}")
    return first, last, tokens


def stamped(response: Any) -> Iterator[tuple[str, float]]:
    """Events of the stream, each with the time in s at which its line was read. Raises Broken."""
    try:
        while line := response.stream.readline(b"\n"):
            at = time.perf_counter()
            if line.startswith(b"data:"):
                yield line[5:].strip().decode(), at
    except (OSError, HTTPParseError) as error:
        raise Broken(f"the connection broke: {type(error).__name__}") from None


def report(name: str, seconds: float) -> None:
    """Add a row for `name` to Locust's table."""
    events.request.fire(
        request_type="stream",
        name=name,
        response_time=seconds * 1e3,
        response_length=0,
        exception=None,
        context={},
    )
