"""One request to an HTTP server and its answer: for the probes, where speed does not matter.

A redirect is not followed, so that a key goes only to the host for which it was given.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from journal.errors import EndpointError, SpecError
from journal.measure.bounded_http import (
    BoundedConnection,
    BoundedTlsConnection,
    Unbounded,
    parsed_json,
    whole_body,
)
from journal.redaction import Secret, hidden, pattern, remember, shown_url

CONNECT_S = 10.0
ANSWER_S = 120.0  # a busy or slow server may queue a probe for a long time
LONGEST = 4096  # characters of a server's own words that are looked at


@dataclass(frozen=True)
class Answer:
    """The answer to one request: its HTTP status, its body as it came, and the key that was sent,
    which some servers quote."""

    status: int
    body: bytes
    secret: Secret = field(default=None, repr=False)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is something else."""
        try:
            parsed = parsed_json(self.body)
        except (ValueError, Unbounded):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def beyond(self) -> str | None:
        """What the body holds that is more than this program reads; None where it reads it."""
        try:
            parsed_json(self.body)
        except Unbounded as error:
            return str(error)
        except ValueError:
            return None
        return None

    def message(self) -> str:
        """The server's own message about an error, on one line."""
        error = self.json().get("error", self.json().get("detail"))
        words = error.get("message") if isinstance(error, dict) else error
        text = words if isinstance(words, str) else self.body[:LONGEST].decode(errors="replace")
        return printable(hidden(text[:LONGEST], self.secret))


def printable(text: str) -> str:
    """Text of a server on one line, without secrets and control characters, up to 300
    characters."""
    text = hidden(text[:LONGEST])
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def fetch(
    url: str,
    *,
    body: Mapping[str, object] | None = None,
    api_key: str | None = None,
    timeout_s: float = ANSWER_S,
) -> Answer:
    """The answer to GET `url`, or to POST `body` as JSON. Raises EndpointError where no server
    answers, where the answer is not HTTP, and for a redirect."""
    parts = url_parts(url)
    remember(api_key)
    headers = {"Accept": "*/*", "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    connection = _connection(parts)
    connection.answer_s = timeout_s
    try:
        connection.connect()
        connection.sock.settimeout(timeout_s)
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", parts.path, content, headers)
        response = connection.getresponse()
        secret = pattern([api_key]) if api_key else None
        answer = Answer(response.status, whole_body(response), secret)
    except Unbounded as error:
        raise EndpointError(f"{url} {error}: check that it is the address of a server") from None
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(f"{parts.scheme}://{parts.netloc} {_reason(error)}") from None
    finally:
        connection.close()
    if answer.status in (301, 302, 303, 307, 308):
        where = printable(shown_url(response.getheader("Location", "elsewhere")))
        raise EndpointError(f"{url} redirects to {where}: give that address instead")
    return answer


def url_parts(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises SpecError for another text."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        parts, whole = SplitResult("", "", "", "", ""), False
    if not whole or "@" in parts.netloc or parts.query or parts.fragment:
        raise SpecError(
            f"{shown_url(url)!r} is not the address of a server: write it like "
            "http://127.0.0.1:8000/v1"
        )
    return parts


def _connection(parts: SplitResult) -> BoundedConnection:
    assert parts.hostname is not None
    kind = BoundedTlsConnection if parts.scheme == "https" else BoundedConnection
    return kind(parts.hostname, parts.port, timeout=CONNECT_S)


def _reason(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: start the server there, or correct the address"
    if isinstance(error, socket.gaierror):
        return "is not a host that is known here: correct the address"
    if isinstance(error, TimeoutError):
        return "does not answer in time: check that the server is up and not overloaded"
    if isinstance(error, ssl.SSLError):
        return f"does not agree on TLS ({error.reason}): check http or https, and its certificate"
    if isinstance(error, http.client.HTTPException):
        return "answers, but not in HTTP: correct the port, or write https for http"
    return f"cannot be reached ({error.strerror or error}): correct the address"
