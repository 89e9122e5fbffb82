"""A small check of how well a served model knows its language: the price of a quantised build.

The passage is the opening of Michael Faraday's The Chemical History of a Candle (London, 1861), of
W. Crookes' preface and of the first lecture, in the public domain. It is short: it separates a
broken or coarse build from a sound one, and shows nothing finer.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from journal.errors import EndpointError
from journal.plan.dialect import in_dialect
from journal.records.engine import Endpoint, Quality
from journal.serve.engines.vllm.request_fields import PROMPT_LOGPROBS
from journal.serve.probe import fetch
from journal.serve.question_set import ANSWER_TOKENS, fixed_questions

PASSAGE = Path(__file__).with_name("passage.txt")
PROMPTS = 8
PROMPT_WORDS = 24
OUTPUT_TOKENS = 32
ASKED = 2  # times: what differs between them is the noise of one build


def check_quality(endpoint: Endpoint) -> Quality:
    """The surprise of the served model at the passage, its continuations of the beginnings of its
    parts by the likeliest token each time, and its answers to fixed questions, asked twice. Figures
    that the server cannot give are named in `absent`: nothing here fails a measurement."""
    if endpoint.api != "completions":
        return Quality(absent=("the server completes no text, so its quality is not checked",))
    surprise, absent = Quality(), []
    try:
        surprise = _surprise(endpoint)
    except EndpointError as error:
        absent.append(f"no perplexity: {error}")
    outputs: tuple[str, ...] = ()
    answers: tuple[tuple[str, ...], ...] = ()
    try:
        outputs = tuple(_continued(endpoint, prompts(), OUTPUT_TOKENS))
        answers = tuple(tuple(_answers(endpoint)) for _ in range(ASKED))
    except EndpointError as error:
        absent.append(f"no outputs to compare: {error}")
    return Quality(
        tokens=surprise.tokens,
        perplexity=surprise.perplexity,
        bits_per_byte=surprise.bits_per_byte,
        outputs=outputs,
        absent=tuple(absent),
        answers=answers,
    )


@lru_cache
def passage() -> str:
    """The text of the passage."""
    return PASSAGE.read_text(encoding="utf-8").strip()


def prompts() -> tuple[str, ...]:
    """The prompts: PROMPT_WORDS words each, from PROMPTS places spread evenly over the passage."""
    words = passage().split()
    step = (len(words) - PROMPT_WORDS) // (PROMPTS - 1)
    return tuple(" ".join(words[n * step : n * step + PROMPT_WORDS]) for n in range(PROMPTS))


def _surprise(endpoint: Endpoint) -> Quality:
    """The perplexity of the passage (exp of the mean negative logarithm of each token's probability
    after those before it), and the same information in bits per byte of the text, which does not
    depend on the tokenizer. The first token follows nothing and does not count. Raises
    EndpointError."""
    text = passage()
    choice = _choice(endpoint, {"prompt": text, "max_tokens": 1, PROMPT_LOGPROBS: 0})
    positions = choice.get(PROMPT_LOGPROBS)
    if not isinstance(positions, list):
        raise EndpointError(f"the server gives no {PROMPT_LOGPROBS}, which vLLM does")
    logprobs = [_logprob(position) for position in positions if position]
    if not logprobs:
        raise EndpointError("the server gives no logarithm for any token of the prompt")
    nats = -math.fsum(logprobs)
    return Quality(
        tokens=len(logprobs),
        perplexity=math.exp(nats / len(logprobs)),
        bits_per_byte=nats / math.log(2) / len(text.encode()),
    )


def _logprob(position: object) -> float:
    """The logarithm of the probability of the prompt's own token, which vLLM names before likelier
    ones. Raises EndpointError for another value."""
    first = next(iter(position.values())) if isinstance(position, Mapping) else None
    value = first.get("logprob") if isinstance(first, Mapping) else None
    if not isinstance(value, int | float) or not -1e4 < value <= 0:
        raise EndpointError(f"the server gives {value!r} as a logarithm of a probability")
    return float(value)


def _answers(endpoint: Endpoint) -> Iterator[str]:
    """The first line of each answer to the fixed questions."""
    asked = [question.prompt for question in fixed_questions()]
    for text in _continued(endpoint, asked, ANSWER_TOKENS):
        yield next(iter(text.strip().splitlines()), "")


def _continued(endpoint: Endpoint, asked: Iterable[str], tokens: int) -> Iterator[str]:
    """The text with which the model continues each prompt, by the likeliest token each time."""
    for prompt in asked:
        text = _choice(endpoint, {"prompt": prompt, "max_tokens": tokens}).get("text")
        if not isinstance(text, str):
            raise EndpointError("the server answers without a text")
        yield text


def _choice(endpoint: Endpoint, fields: Mapping[str, object]) -> Mapping[str, Any]:
    asked = {"model": endpoint.model, "temperature": 0.0, **fields}
    body = in_dialect(asked, endpoint.facts.request_fields)
    answer = fetch(endpoint.request_url, body=body, access=endpoint.access)
    if answer.status != 200:
        raise EndpointError(f"the server refuses ({answer.status}): {answer.message()}")
    choices = answer.json().get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EndpointError("the server answers without a choice")
    return choices[0]
