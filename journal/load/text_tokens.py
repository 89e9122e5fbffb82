"""Tokens of a text: counted by the model's tokenizer on this host, or by the server that has it."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from journal.load.client import Client
from journal.records.engine import Endpoint
from journal.records.request import Request

# Paths at which servers count tokens: vLLM, SGLang and llama.cpp; llama-cpp-python.
PATHS = ("/tokenize", "/extras/tokenize/count")
_TEXT = ("prompt", "content", "input")  # the text of a request, by the names of these servers


def token_counter(path: str | None) -> Callable[[str], int] | None:
    """The number of tokens in a text by the tokenizer.json at `path`; None without a path, and
    where the package that reads it is not installed."""
    if path is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    tokenizer = Tokenizer.from_file(path)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def counting_request(model: str, text: str) -> dict[str, Any]:
    """The request for the number of tokens in `text`, without special ones, in the fields of all
    servers that count."""
    return {"model": model, **dict.fromkeys(_TEXT, text), "add_special_tokens": False}


def counted_in(answer: bytes) -> int | None:
    """The number of tokens that the answer to such a request gives; None for another answer."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    count, tokens = said.get("count"), said.get("tokens")
    if type(count) is int and count >= 0:
        return count
    return len(tokens) if isinstance(tokens, list) else None


async def counts_by_server(
    texts: Sequence[str], endpoint: Endpoint, timeout_s: float
) -> list[int | None]:
    """The number of tokens in each text by the server at `endpoint.tokenizes_at`, one after the
    other; None from the first on that it does not count."""
    client = Client(replace(endpoint, posts_to=endpoint.tokenizes_at), timeout_s)
    counts: list[int | None] = []
    try:
        for text in texts:
            body = json.dumps(counting_request(endpoint.model, text)).encode()
            request = Request(index=0, body=body, prompt_tokens=0, output_tokens=0)
            recording = (await client.exchange(request)).recording
            whole = recording.status == 200 and recording.over
            count = counted_in(recording.body()[0]) if whole else None
            recording.release()
            if count is None:
                break
            counts.append(count)
    finally:
        client.close()
        await asyncio.sleep(0)  # transports close before their loop does
    return counts + [None] * (len(texts) - len(counts))
