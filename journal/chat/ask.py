"""Questions to a server by hand, through the openai SDK, with answers streamed and timed."""

import json
import secrets
import shlex
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from journal.chat.bounds import TIMEOUT_S, Deadline, bounded
from journal.chat.hearing import Hearing
from journal.load.error_words import error_words
from journal.load.wire import MOST_OF_ANSWER, Unpacker
from journal.measure.bounded_http import Unbounded, parsed_json
from journal.plan.dialect import Refused, in_dialect
from journal.records.address import base_of, joined
from journal.records.engine import Access
from journal.records.notebook import Interaction
from journal.redaction import HIDDEN, Secret, hidden, in_url, pattern, remember, shown_url
from journal.serve.endpoint import is_loopback
from journal.serve.forms import refused_field
from journal.serve.probe import (
    LONGEST,
    REDIRECTS,
    certificate_problem,
    place_of,
    printable,
    same_host,
)

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

LATE = "the server did not answer within {:g} s: see its log"
UNPACKED = {"Accept-Encoding": "identity"}
STOPPED = "stopped by hand"
STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
Api = Literal["completions", "chat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to the server at `base_url`. `messages` are of the form {"role": ..., "content":
    ...}; for completions the only one is the prompt. `settings` go into the request as they are."""

    base_url: str
    model: str
    messages: tuple[Mapping[str, str], ...]
    api: Api = "chat"
    settings: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    source: Literal["ask", "chat"] = "ask"
    redirects: int = 0  # that led to this address
    refused: Refused = field(default_factory=dict)  # fields, by the server's own words

    @property
    def access(self) -> Access:
        """The key and the headers that the request goes with."""
        return Access(self.api_key, tuple(self.headers.items()))

    @property
    def path(self) -> str:
        """The path of the request below the base URL."""
        return "/chat/completions" if self.api == "chat" else "/completions"

    @property
    def body(self) -> dict[str, Any]:
        """The request as JSON: model, prompt or messages, settings."""
        if self.api == "chat":
            content: dict[str, Any] = {"messages": [dict(message) for message in self.messages]}
        else:
            content = {"prompt": self.messages[-1]["content"]}
        return {"model": self.model, **content, **self.settings}


def curl(question: Question, key_variable: str | None = None) -> str:
    """The shell command that asks the same question and streams the answer. A key is named by its
    variable and not shown."""
    body = json.dumps({**question.body, "stream": True}, ensure_ascii=False)
    words = ["curl", "-sN", shlex.quote(shown_url(joined(question.base_url, question.path)))]
    if key_variable is not None:
        words += ["-H", f'"Authorization: Bearer ${key_variable}"']
    for name, _ in question.access.headers:
        words += ["-H", shlex.quote(f"{name}: {HIDDEN}")]
    words += ["-H", "'Content-Type: application/json'", "-d", shlex.quote(body)]
    return " ".join(words)


def ask(question: Question) -> Iterator[Interaction]:
    """Ask, and yield the interaction as it grows, from the moment the question is sent; the last
    one is complete. A caller that stops before has the answer so far. A failure of the server is
    never raised: it stands in `error`."""
    hearing, began_s, deadline = Hearing(begun(question)), time.monotonic(), Deadline()
    yield hearing.so_far
    try:
        with deadline, _client(question, deadline) as client:
            create = _kind(client, question).with_streaming_response.create
            began_s = time.monotonic()  # the time of imports is not the server's
            with create(**sent(question), **streamed(question)) as response:
                hearing.packed(encoding_of(response))
                for data in _until_cut(response.http_response.iter_raw(), deadline):
                    if hearing.hear(data, time.monotonic() - began_s):
                        yield hearing.so_far
                    if hearing.done:
                        deadline.soon()
                if deadline.over and not deadline.done:
                    raise TimeoutError
                hearing.end(time.monotonic() - began_s, left_open=deadline.over)
        yield without_key(hearing.so_far, question)
    except Exception as error:  # noqa: BLE001 - recorded: a question that failed is an answer too
        if (again := asked_otherwise(error, question)) is not None:
            yield from ask(again)
            return
        took_s = time.monotonic() - began_s
        why = LATE.format(TIMEOUT_S) if deadline.over else failure_reason(error, question)
        yield replace(hearing.so_far, duration_s=took_s, error=why)


def _until_cut(pieces: Iterator[bytes], deadline: Deadline) -> Iterator[bytes]:
    """`pieces` to their end, or until `deadline` cut them after the answer was whole."""
    try:
        yield from pieces
    except Exception:
        if not (deadline.done and deadline.over):
            raise


def whole_answer(question: Question) -> tuple[Interaction, dict[str, Any]]:
    """Ask without streaming: the interaction, which then has no TTFT, and the answer's JSON (empty
    when there was none: then `error` says why)."""
    hearing, began_s, deadline = Hearing(begun(question)), time.monotonic(), Deadline()
    try:
        with deadline, _client(question, deadline) as client:
            kind = _kind(client, question)
            began_s = time.monotonic()
            with kind.with_streaming_response.create(**sent(question), stream=False) as raw:
                content = _whole_body(raw)
            whole: dict[str, Any] = parsed_json(content)
            hearing.whole(content, time.monotonic() - began_s)
    except Exception as error:  # noqa: BLE001 - as above
        if (again := asked_otherwise(error, question)) is not None:
            return whole_answer(again)
        took_s = time.monotonic() - began_s
        why = LATE.format(TIMEOUT_S) if deadline.over else failure_reason(error, question)
        return replace(hearing.so_far, duration_s=took_s, error=why), {}
    return without_key(hearing.so_far, question), whole


def _whole_body(response: Any) -> bytes:
    unpack = Unpacker(encoding_of(response), MOST_OF_ANSWER)
    body = b"".join(map(unpack.take, response.http_response.iter_raw()))
    unpack.close()
    return body


def encoding_of(response: Any) -> bytes:
    """The Content-Encoding of an answer, in the form that an Unpacker takes."""
    value: str = response.headers.get("content-encoding", "identity")
    return value.strip().lower().encode("latin-1", "replace")


def without_key(interaction: Interaction, question: Question) -> Interaction:
    """`interaction` without the key, which some servers quote in their errors."""
    if interaction.error is None:
        return interaction
    return replace(interaction, error=hidden(interaction.error, _secret(question)))


def _secret(question: Question) -> Secret:
    return pattern((*question.access.secrets, *in_url(question.base_url)))


def begun(question: Question) -> Interaction:
    """The interaction of a question that is about to be sent."""
    return Interaction(
        id=secrets.token_hex(8),
        source=question.source,
        asked_at=datetime.now(UTC),
        base_url=shown_url(question.base_url),
        model=question.model,
        api=question.api,
        messages=question.messages,
        settings=question.settings,
    )


def _client(question: Question, deadline: Deadline) -> "OpenAI":
    import openai

    remember(*question.access.secrets, *in_url(question.base_url))
    return openai.OpenAI(
        **connection(question),
        http_client=openai.DefaultHttpx2Client(
            **transport(question),
            event_hooks={"request": [deadline.watch], "response": [bounded]},
        ),
    )


def connection(question: Question) -> dict[str, Any]:
    """The SDK's settings for one server: its address, its key and the other headers."""
    parts = urlsplit(question.base_url)
    return {
        "base_url": urlunsplit(parts._replace(query="")),
        "default_query": dict(parse_qsl(parts.query)),
        "api_key": question.access.api_key or "none",
        "default_headers": {**UNPACKED, **question.headers},
        "max_retries": 0,  # a silent retry would look like a slow answer
        "timeout": TIMEOUT_S,
    }


def transport(question: Question) -> dict[str, Any]:
    """The SDK's settings for connections: no proxy on the way to this host, certificates as
    SSL_CERT_FILE says, and no redirects, so that neither a question nor a key goes to another host
    than the one it was meant for."""
    parts = urlsplit(question.base_url)
    here = is_loopback(parts.hostname or "")
    tls = {"verify": ssl.create_default_context()} if parts.scheme == "https" else {}
    return {"trust_env": not here, "follow_redirects": False, **tls}


def sent(question: Question) -> dict[str, Any]:
    """The arguments of the SDK's call: fields that it does not know go into `extra_body`."""
    known = ("model", "messages", "prompt", "max_tokens", "temperature")
    body = in_dialect(question.body, question.refused)
    return {name: body.pop(name) for name in known if name in body} | {"extra_body": body}


def asked_otherwise(error: Exception, question: Question) -> Question | None:
    """The question at the address to which its server redirects, on the same host, or without a
    field that its server refuses; None for another error, another host, or too many redirects."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return None
    if error.status_code in (400, 422):
        body, own = {**question.body, **STREAMED}, question.settings.keys() - {"max_tokens"}
        words = _own_words(error)
        learnt = refused_field(words, body, question.refused, own)
        return replace(question, refused={**question.refused, **learnt}) if learnt else None
    if not error.response.has_redirect_location or question.redirects >= REDIRECTS:
        return None
    asked = joined(question.base_url, question.path)
    there = place_of(asked, error.response.headers["location"])
    if there is None or not same_host(urlsplit(asked), urlsplit(there)):
        return None
    return replace(question, base_url=base_of(there), redirects=question.redirects + 1)


def _kind(client: "OpenAI", question: Question) -> Any:
    return client.chat.completions if question.api == "chat" else client.completions


def failure_reason(error: Exception, question: Question) -> str:
    """Why a question failed, in a sentence, without the key, which some servers quote."""
    return hidden(_reason(error, question), _secret(question))


def _reason(error: Exception, question: Question) -> str:
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        if error.response.has_redirect_location:
            asked = joined(question.base_url, question.path)
            given = error.response.headers["location"]
            where = printable(shown_url(place_of(asked, given) or given))
            return f"the server redirects to {where}: give that address instead"
        message = printable(_own_words(error) or error.message)
        hint = ""
        if error.status_code in (401, 403):
            hint = ": set JOURNAL_API_KEY (or OPENAI_API_KEY) to a key that it takes"
        elif "chat template" in message:
            hint = ": ask with --completions"
        return f"the server answers {error.status_code} ({message}){hint}"
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return LATE.format(TIMEOUT_S)
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        if (problem := _certificate(error)) is not None:
            return f"the server {certificate_problem(problem)}"
        cause = printable(str(error.__cause__ or error))
        return f"the connection failed ({cause}): check that the server is up"
    return f"the answer could not be read ({printable(str(error)) or type(error).__name__})"


def _own_words(error: "APIStatusError") -> str:
    """The server's own words in an answer of another status than 200; mostly of its JSON."""
    body = error.response.content
    try:
        words = error_words(parsed_json(body))
    except (ValueError, Unbounded):
        words = None
    return words or body[:LONGEST].decode(errors="replace")


def streamed(question: Question) -> dict[str, Any]:
    """The fields that ask for a stream, without those that the server refuses."""
    return in_dialect(STREAMED, question.refused)


def _certificate(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The failed check of a certificate behind `error`, where it is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
