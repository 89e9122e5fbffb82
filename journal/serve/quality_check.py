"""A small check of how well a served model knows its language: for what a quantised build costs.

The passage is the opening of Michael Faraday's The Chemical History of a Candle (London, 1861),
of W. Crookes' preface and of the first lecture, in the public domain. It is short: it tells a
broken or coarse build from a sound one, and nothing fine.
"""

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from journal.errors import EndpointError
from journal.records.engine import Endpoint, Quality
from journal.serve.engines.vllm.request_fields import PROMPT_LOGPROBS
from journal.serve.probe import fetch

PASSAGE = Path(__file__).with_name("passage.txt")
PROMPTS = 8
PROMPT_WORDS = 24
OUTPUT_TOKENS = 32


def check(endpoint: Endpoint) -> Quality:
    """How surprised the served model is by the passage, and what it makes of the beginnings of
    its parts when it takes the likeliest token each time. What its server cannot do is told in
    `absent`: nothing here is worth failing a measurement."""
    if endpoint.api != "completions":
        return Quality(absent=("the server completes no text, so its quality is not checked",))
    found, absent = Quality(), []
    try:
        found = _surprise(endpoint)
    except EndpointError as error:
        absent.append(f"no perplexity: {error}")
    outputs: tuple[str, ...] = ()
    try:
        outputs = tuple(_outputs(endpoint))
    except EndpointError as error:
        absent.append(f"no outputs to compare: {error}")
    return Quality(
        tokens=found.tokens,
        perplexity=found.perplexity,
        bits_per_byte=found.bits_per_byte,
        outputs=outputs,
        absent=tuple(absent),
    )


@lru_cache
def passage() -> str:
    return PASSAGE.read_text(encoding="utf-8").strip()


def prompts() -> tuple[str, ...]:
    """PROMPT_WORDS words each, from PROMPTS places spread evenly over the passage."""
    words = passage().split()
    step = (len(words) - PROMPT_WORDS) // (PROMPTS - 1)
    return tuple(" ".join(words[n * step : n * step + PROMPT_WORDS]) for n in range(PROMPTS))


def _surprise(endpoint: Endpoint) -> Quality:
    """exp of the mean negative logarithm of each token's probability, given those before it; and
    the same information in bits, shared out over the bytes of the text, which does not depend on
    the tokenizer. The first token has nothing before it and does not count."""
    text = passage()
    choice = _choice(endpoint, {"prompt": text, "max_tokens": 1, PROMPT_LOGPROBS: 0})
    positions = choice.get(PROMPT_LOGPROBS)
    if not isinstance(positions, list):
        raise EndpointError(f"the server gives no {PROMPT_LOGPROBS}, which vLLM does")
    found = [_logprob(each) for each in positions if each]
    if not found:
        raise EndpointError("the server gives no logarithm for any token of the prompt")
    nats = -math.fsum(found)
    return Quality(
        tokens=len(found),
        perplexity=math.exp(nats / len(found)),
        bits_per_byte=nats / math.log(2) / len(text.encode()),
    )


def _logprob(position: object) -> float:
    """Of the prompt's own token, which vLLM names before any likelier ones."""
    first = next(iter(position.values())) if isinstance(position, Mapping) else None
    value = first.get("logprob") if isinstance(first, Mapping) else None
    if not isinstance(value, int | float) or not -1e4 < value <= 0:
        raise EndpointError(f"the server gives {value!r} as a logarithm of a probability")
    return float(value)


def _outputs(endpoint: Endpoint) -> Iterator[str]:
    for prompt in prompts():
        text = _choice(endpoint, {"prompt": prompt, "max_tokens": OUTPUT_TOKENS}).get("text")
        if not isinstance(text, str):
            raise EndpointError("the server answers without a text")
        yield text


def _choice(endpoint: Endpoint, asked: Mapping[str, object]) -> Mapping[str, Any]:
    body = {"model": endpoint.model, "temperature": 0.0, **asked}
    answer = fetch(f"{endpoint.base_url}/completions", body=body, api_key=endpoint.api_key)
    if answer.status != 200:
        raise EndpointError(f"the server refuses ({answer.status}): {answer.message()}")
    choices = answer.json().get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EndpointError("the server answers without a choice")
    return choices[0]
