"""Questions to a server by hand, through the openai SDK, with answers streamed and timed."""

import json
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from journal.chat.bounds import TIMEOUT_S, Deadline, bounded
from journal.chat.hearing import Hearing
from journal.load.wire import MOST_OF_ANSWER
from journal.measure.bounded_http import parsed_json
from journal.records.notebook import Interaction
from journal.redaction import hidden, pattern, remember, shown_url
from journal.serve.endpoint import is_loopback
from journal.serve.probe import printable

if TYPE_CHECKING:
    from openai import OpenAI

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
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    source: Literal["ask", "chat"] = "ask"

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
    words = ["curl", "-sN", shlex.quote(question.base_url + question.path)]
    if key_variable is not None:
        words += ["-H", f'"Authorization: Bearer ${key_variable}"']
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
            with create(**question.body, **STREAMED) as response:
                for data in response.iter_bytes():
                    if hearing.hear(data, time.monotonic() - began_s):
                        yield hearing.so_far
                    if hearing.done:
                        break
                hearing.end(time.monotonic() - began_s)
        yield without_key(hearing.so_far, question)
    except Exception as error:  # noqa: BLE001 - recorded: a question that failed is an answer too
        took_s = time.monotonic() - began_s
        why = LATE.format(TIMEOUT_S) if deadline.over else failure_reason(error, question)
        yield replace(hearing.so_far, duration_s=took_s, error=why)


def whole_answer(question: Question) -> tuple[Interaction, dict[str, Any]]:
    """Ask without streaming: the interaction, which then has no TTFT, and the answer's JSON (empty
    when there was none: then `error` says why)."""
    hearing, began_s, deadline = Hearing(begun(question)), time.monotonic(), Deadline()
    try:
        with deadline, _client(question, deadline) as client:
            kind = _kind(client, question)
            began_s = time.monotonic()
            with kind.with_streaming_response.create(**question.body, stream=False) as raw:
                content = _whole_body(raw.iter_bytes())
            whole: dict[str, Any] = parsed_json(content)
            hearing.whole(content, time.monotonic() - began_s)
    except Exception as error:  # noqa: BLE001 - as above
        took_s = time.monotonic() - began_s
        why = LATE.format(TIMEOUT_S) if deadline.over else failure_reason(error, question)
        return replace(hearing.so_far, duration_s=took_s, error=why), {}
    return without_key(hearing.so_far, question), whole


def _whole_body(pieces: Iterator[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces:  # as they are unpacked
        body += piece
        if len(body) > MOST_OF_ANSWER:
            raise ValueError(f"it is longer than {MOST_OF_ANSWER >> 20} MiB, the most that is read")
    return bytes(body)


def without_key(interaction: Interaction, question: Question) -> Interaction:
    """`interaction` without the key, which some servers quote in their errors."""
    if interaction.error is None or not question.api_key:
        return interaction
    return replace(interaction, error=hidden(interaction.error, pattern([question.api_key])))


def begun(question: Question) -> Interaction:
    """The interaction of a question that is about to be sent."""
    return Interaction(
        id=secrets.token_hex(8),
        source=question.source,
        asked_at=datetime.now(UTC),
        base_url=question.base_url,
        model=question.model,
        api=question.api,
        messages=question.messages,
        settings=question.settings,
    )


def _client(question: Question, deadline: Deadline) -> "OpenAI":
    import openai

    remember(question.api_key)
    return openai.OpenAI(
        base_url=question.base_url,
        api_key=question.api_key or "none",
        max_retries=0,  # a silent retry would look like a slow answer
        timeout=TIMEOUT_S,
        default_headers=UNPACKED,
        http_client=openai.DefaultHttpx2Client(
            **connection(question),
            event_hooks={"request": [deadline.watch], "response": [bounded]},
        ),
    )


def connection(question: Question) -> dict[str, bool]:
    """The SDK's settings for connections: no proxy on the way to this host, and no redirects, so
    that neither a question nor a key goes to another host than the one it was meant for."""
    here = is_loopback(urlsplit(question.base_url).hostname or "")
    return {"trust_env": not here, "follow_redirects": False}


def _kind(client: "OpenAI", question: Question) -> Any:
    return client.chat.completions if question.api == "chat" else client.completions


def failure_reason(error: Exception, question: Question) -> str:
    """Why a question failed, in a sentence, without the key, which some servers quote."""
    return hidden(_reason(error), pattern([question.api_key or ""]))


def _reason(error: Exception) -> str:
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        if error.response.has_redirect_location:
            where = printable(shown_url(error.response.headers["location"]))
            return f"the server redirects to {where}: give that address instead"
        body = error.body if isinstance(error.body, dict) else {}
        message = printable(str(body.get("message") or error.message))
        hint = ""
        if error.status_code in (401, 403):
            hint = ": set JOURNAL_API_KEY (or OPENAI_API_KEY) to a key that it takes"
        elif "chat template" in message:
            hint = ": ask with --completions"
        return f"the server answers {error.status_code} ({message}){hint}"
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return LATE.format(TIMEOUT_S)
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        cause = printable(str(error.__cause__ or error))
        return f"the connection failed ({cause}): check that the server is up"
    return f"the answer could not be read ({printable(str(error)) or type(error).__name__})"
