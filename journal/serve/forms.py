"""The form of requests that a server takes: its path, its prompts and its fields, by probes.

Each probe is a request as a run sends it. A field that the server refuses by its own words is left
out, or given the name that it takes, and the request is sent again.
"""

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from journal.errors import EndpointError
from journal.load.stream import Stream, stream_of
from journal.load.text_tokens import PATHS, counted_in, counting_request
from journal.load.wire import EventFeed
from journal.plan.dialect import Refused, in_dialect
from journal.plan.english_words import WORDS
from journal.records.address import beside
from journal.records.engine import Endpoint
from journal.redaction import hidden, shown_url
from journal.serve.engines.vllm.request_fields import (
    CONTINUOUS_USAGE,
    IGNORE_EOS,
    of_exact_length,
)
from journal.serve.models import local_dir
from journal.serve.probe import ANSWER_S, Answer, fetch, printable

OUTPUT_TOKENS = 16  # of a probe where the run's are not known: some servers refuse fewer
SHORT, LONG = 16, 80  # words of the two probes that give the tokens of a word
KEY_HINT = "set JOURNAL_API_KEY (or OPENAI_API_KEY) to a key that it takes"
LONGEST_WAIT_S = 30.0  # a server that asks for a longer one is not waited for
COOLING_S = (1.0, 2.0, 4.0)  # waits for a gateway that rests a backend after a refusal
TOKEN_S = 1.0  # for each token of a probe, from a slow server
TRIES = 8  # of one form; each may find out one more field

# Fields of a request that a server may refuse, the parts of others first.
_PARTS = (f"stream_options.{CONTINUOUS_USAGE}", "stream_options.include_usage")
_FIELDS = (*_PARTS, IGNORE_EOS, "temperature", "stream_options", "max_tokens", "stream")
# What is left out, one group after the other, where a server refuses without naming a field.
_GROUPS = ((IGNORE_EOS, _PARTS[0]), ("stream_options",), ("temperature",), ("stream",))
_NEW_LENGTH = "max_completion_tokens"
_UNKNOWN = re.compile(
    r"unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|extra|not permitted|forbidden|"
    r"not allowed|instead|deprecated|invalid (parameter|field|argument|key|option)|no longer|"
    r"does not (accept|support)|additional propert",
    re.IGNORECASE,
)
# Words on the prompt, for which leaving fields out does not help.
_PROMPT = re.compile(
    r"\bprompts?\b|\bmessages\b|chat model|token ids|\binputs? (must|should)", re.I
)

Form = tuple[Literal["completions", "chat"], Literal["token_ids", "text"]]
IDS: Form = ("completions", "token_ids")
TEXT: Form = ("completions", "text")
CHAT: Form = ("chat", "text")


class _Tried(NamedTuple):
    """The answer to a probe: its status (400 for an error within a stream), the server's words, its
    prompt tokens (None: not counted), whether it counted its output, and the address it came from.
    `waits_s` is the time that the server asks to be given."""

    status: int
    words: str
    prompt_tokens: int | None
    counts_output: bool
    url: str
    waits_s: float | None


def with_form(endpoint: Endpoint, output_tokens: int, own: Mapping[str, Any]) -> Endpoint:
    """`endpoint` with the form of requests that its server takes: token ids, where it counts them
    exactly, else text with the number of tokens in a word; and with the fields that it refuses.
    Probes ask for `output_tokens`, with the user's `own` fields. Raises EndpointError where no form
    is answered."""
    probes = _Probes(endpoint, output_tokens, own)
    low, high = endpoint.vocabulary
    ids = [low + index * (high - 1 - low) // 7 for index in range(8)]
    tried = probes.ask(IDS, ids)
    if tried.status == 200 and tried.prompt_tokens == len(ids):
        return probes.found(IDS, tried)
    # A server without completions may rest after it was asked for them: then the chat comes first.
    missing = tried.status in (404, 405, 429) or tried.status >= 500
    return _by_text(probes, (CHAT, TEXT) if missing else (TEXT, CHAT))


def through(
    endpoint: Endpoint, api: Literal["chat", "completions"] | None, own: Mapping[str, Any]
) -> Endpoint:
    """`endpoint`, asked through this part of its API with the user's `own` fields (None: the part
    that it is asked through already). Raises EndpointError where it does not take such a
    request."""
    if api is None or api == endpoint.api:
        return endpoint
    return _by_text(_Probes(endpoint, 1, own), (CHAT if api == "chat" else TEXT,))


def _by_text(probes: "_Probes", forms: tuple[Form, ...]) -> Endpoint:
    for form in forms:
        short = probes.ask(form, " ".join(WORDS[:SHORT]))
        if short.status != 200:
            continue
        long = probes.ask(form, " ".join(WORDS[:LONG]))
        found = probes.found(form, short)
        found = replace(found, absent=({"variant": "no_token_ids"}, *found.absent))
        counts = short.prompt_tokens, long.prompt_tokens
        if counts[0] is None or counts[1] is None or counts[1] <= counts[0]:
            return replace(found, absent=(*found.absent, {"variant": "no_prompt_count"}))
        per_word = (counts[1] - counts[0]) / (LONG - SHORT)
        overhead = max(0, round(counts[0] - per_word * SHORT))
        return replace(found, tokens_per_word=per_word, overhead_tokens=overhead)
    raise probes.refusal()


class _Probes:
    """The probes of one server, which learn the fields that it refuses from one to the next."""

    def __init__(self, endpoint: Endpoint, output_tokens: int, own: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._output_tokens = output_tokens
        self._own = own
        self._refused: dict[str, str | None] = {}
        self._refusals: list[tuple[Form, _Tried]] = []

    def ask(self, form: Form, prompt: object) -> _Tried:
        """The answer to a request of this form without the fields that the server refuses."""
        tried = self._patiently(form, prompt)
        for _ in range(TRIES):
            if tried.status == 200 or tried.status in (404, 405, 429, 502, 503, 504):
                break
            if not self._learn(form, tried.words):
                if not self._has_another_cause(form, tried):
                    tried = self._without_groups(form, prompt, tried)
                break
            tried = self._patiently(form, prompt)
        if tried.status != 200:
            self._refusals.append((form, tried))
        return tried

    def found(self, form: Form, tried: _Tried) -> Endpoint:
        """The endpoint with `form`, whose probe was `tried`."""
        endpoint = replace(self._endpoint, api=form[0], prompt_form=form[1])
        refused = self._refused
        absent = [*endpoint.absent]
        if IGNORE_EOS in refused:
            absent.append({"variant": "no_exact_length", "field": IGNORE_EOS})
        for name, other in refused.items():
            if other is not None:
                absent.append({"variant": "field_renamed", "field": name, "name": other})
            elif name not in (IGNORE_EOS, _PARTS[0]):
                absent.append({"variant": "field_left_out", "field": name})
        elsewhere = tried.url if tried.url != endpoint.request_url else None
        tokenizer, counts_at = (None, None) if tried.counts_output else _counting(endpoint)
        return replace(
            endpoint,
            extensions=IGNORE_EOS not in refused or _PARTS[0] not in refused,
            tokenizer=tokenizer,
            tokenizes_at=counts_at,
            posts_to=elsewhere,
            facts=replace(endpoint.facts, request_fields=dict(refused)),
            absent=tuple(absent),
        )

    def refusal(self) -> EndpointError:
        """The error of a server that answers no form, in its own words."""
        server = shown_url(self._endpoint.base_url)
        if all(tried.status == 429 for _, tried in self._refusals):
            words = self._refusals[0][1].words
            return EndpointError(
                f"{server} is over its rate limit (429): {words or 'it gives no reason'}; "
                "try again later"
            )
        each = dict.fromkeys(
            f"{form[0]}: {tried.status} {tried.words}".rstrip() for form, tried in self._refusals
        )
        return EndpointError(
            f"{server} answers no prompt for {self._endpoint.model} ({'; '.join(each)}): "
            "check that it is an OpenAI-compatible server and the model's name"
        )

    def _patiently(self, form: Form, prompt: object) -> _Tried:
        """The answer, after the wait that the server asks for, or after some seconds where it may
        rest because another form was refused."""
        tried = self._try(form, prompt)
        resting = any(before.status != 429 for _, before in self._refusals)
        waits: tuple[float, ...] = COOLING_S if resting and tried.status == 429 else ()
        if tried.status in (429, 503) and tried.waits_s is not None:
            waits = (tried.waits_s,) if tried.waits_s <= LONGEST_WAIT_S else ()
        for wait_s in waits:
            time.sleep(wait_s)
            tried = self._try(form, prompt)
            if tried.status not in (429, 503):
                break
        return tried

    def _learn(self, form: Form, words: str) -> bool:
        """Whether `words` name a field of the request that was not known to be refused."""
        learnt = refused_field(words, self._body(form, ""), self._refused, self._own)
        self._refused |= learnt
        return bool(learnt)

    def _has_another_cause(self, form: Form, tried: _Tried) -> bool:
        """Whether a request was refused for something else than a field of ours."""
        words = tried.words
        own = any(_names(words, name) for name in self._own)
        return own or (form == IDS and tried.status >= 500) or _PROMPT.search(words) is not None

    def _without_groups(self, form: Form, prompt: object, refusal: _Tried) -> _Tried:
        """The answer without the fields that the server may refuse, tried in groups, since its
        words name none; `refusal` where that does not help."""
        before = dict(self._refused)
        for group in _GROUPS:
            new = [name for name in group if name not in self._refused]
            self._refused |= dict.fromkeys(
                name for name in new if name.partition(".")[0] not in self._own
            )
            tried = self._patiently(form, prompt)
            if tried.status == 200:
                return tried
        self._refused = before
        return refusal

    def _body(self, form: Form, prompt: object) -> dict[str, Any]:
        question = _question(form, self._endpoint.model, prompt, self._output_tokens)
        return in_dialect(question, self._refused, self._own)

    def _try(self, form: Form, prompt: object) -> _Tried:
        endpoint = replace(self._endpoint, api=form[0])
        answer = fetch(
            endpoint.request_url,
            body=self._body(form, prompt),
            access=endpoint.access,
            timeout_s=ANSWER_S + TOKEN_S * self._output_tokens,
            enough=_Beginning().tells_all,
        )
        if answer.status in (401, 403):
            server, words = shown_url(endpoint.base_url), answer.message()
            raise EndpointError(f"{server} wants a key ({answer.status}: {words}): {KEY_HINT}")
        if not answer.good:
            words = answer.message()
            return _Tried(answer.status, words, None, False, answer.url, answer.retry_after_s)
        return _read(answer)


def refused_field(
    words: str, body: Mapping[str, Any], known: Refused, own: Collection[str]
) -> dict[str, str | None]:
    """The field of `body` that a server refuses by its `words`, with the name that it takes instead
    (None: it is left out); empty where they name none but those that are `known` to be refused, or
    the user's `own`."""
    for name in _FIELDS:
        whole, _, part = name.partition(".")
        inside = body.get(whole)
        there = whole in body and (not part or (isinstance(inside, dict) and part in inside))
        if not there or whole in own or name in known or not _names(words, part or whole):
            continue
        if name != "max_tokens":
            return {name: None}
        if _UNKNOWN.search(words):  # else it is their number that is refused
            return {name: _NEW_LENGTH}
    return {}


def _counting(endpoint: Endpoint) -> tuple[str | None, str | None]:
    """How the tokens of a text can be counted where the server gives no usage: the path of the
    model's tokenizer on this host, else the address at which the server counts."""
    here = local_dir(endpoint.model)
    if here is not None and (here / "tokenizer.json").is_file():
        return str(here / "tokenizer.json"), None
    question = counting_request(endpoint.model, " ".join(WORDS[:SHORT]))
    for path in PATHS:
        url = beside(endpoint.base_url, path)
        try:
            answer = fetch(url, body=question, access=endpoint.access)
        except EndpointError:
            continue
        count = counted_in(answer.body) if answer.status == 200 else None
        if count is not None and count >= SHORT / 2:  # a count of the text, not of something else
            return None, answer.url
    return None, None


def _question(form: Form, model: str, prompt: object, output_tokens: int) -> dict[str, Any]:
    """The fields of a request as a run sends it."""
    fields = {"model": model, "max_tokens": output_tokens, "temperature": 0.0, **of_exact_length()}
    if form[0] == "completions":
        return fields | {"prompt": prompt}
    return fields | {"messages": [{"role": "user", "content": prompt}]}


def shortest_request(endpoint: Endpoint) -> dict[str, Any]:
    """A short request in the form and the dialect that `endpoint` takes."""
    form: Form = (endpoint.api, endpoint.prompt_form)
    ids = list(range(endpoint.vocabulary[0], endpoint.vocabulary[0] + 4))
    prompt: object = ids if form == IDS else WORDS[0]
    fields = _question(form, endpoint.model, prompt, OUTPUT_TOKENS)
    return in_dialect(fields, endpoint.facts.request_fields)


def _names(words: str, field: str) -> bool:
    if field == "stream":  # a common word
        return re.search(r"[\"'`]stream[\"'`]|stream(ing)? (is )?not ", words, re.I) is not None
    return re.search(rf"(?<![\w-]){re.escape(field)}(?![\w-])", words) is not None


class _Beginning:
    """An answer as it comes in, up to the part from which a probe knows all: two chunks, with a
    count of the prompt and one of the output that grows. Only engines count while they stream, and
    these end the work on a request whose client leaves; any other answer is awaited."""

    def __init__(self) -> None:
        self._feed = EventFeed()
        self._stream = Stream()
        self._chunks = 0

    def tells_all(self, part: bytes) -> bool:
        """Whether the answer up to this next `part` is enough."""
        for name, data in self._feed.feed(part):
            chunk = self._stream.take(name, data)
            self._chunks += chunk is not None and chunk.full
        usage = self._stream.usage
        counted = usage.prompt_tokens is not None and usage.output_tokens is not None
        return self._chunks > 1 and counted and usage.runs and self._stream.error is None


def _read(answer: Answer) -> _Tried:
    """An answer of status 200, streamed or whole. A request was taken where its answer had begun
    before it failed: the run will say how often that is."""
    stream = stream_of(answer.body)
    usage = stream.usage
    counts = usage.output_tokens is not None
    if stream.error is not None and not stream.has_begun:
        words = printable(hidden(stream.error, answer.secret))
        return _Tried(400, words, None, counts, answer.url, None)
    return _Tried(200, "", usage.prompt_tokens, counts, answer.url, None)
