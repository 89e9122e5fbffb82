"""One request to an HTTP server and its answer: for the probes, where speed does not matter.

A redirect is not followed, so that a key goes only to the host for which it was given.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from journal.errors import EndpointError, SpecError
from journal.redaction import HIDDEN

CONNECT_S = 10.0
ANSWER_S = 120.0  # a busy or slow server may queue a probe for a long time
LONGEST_ANSWER = 16 * 2**20


@dataclass(frozen=True)
class Answer:
    """The answer to one request: its HTTP status and its body."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is something else."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def message(self) -> str:
        """The server's own message about an error, on one line."""
        error = self.json().get("error", self.json().get("detail"))
        words = error.get("message") if isinstance(error, dict) else error
        return printable(words if isinstance(words, str) else self.body.decode(errors="replace"))


def printable(text: str) -> str:
    """Text of a server on one line, without control characters, up to 300 characters."""
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
    headers = {"Accept": "*/*", "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    connection = _connection(parts)
    try:
        connection.connect()
        connection.sock.settimeout(timeout_s)
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", parts.path, content, headers)
        response = connection.getresponse()
        received = response.read(LONGEST_ANSWER)
        if api_key:  # some servers quote the key when they refuse it
            received = received.replace(api_key.encode(), HIDDEN.encode())
        answer = Answer(response.status, received)
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(f"{parts.scheme}://{parts.netloc} {_reason(error)}") from None
    finally:
        connection.close()
    if answer.status in (301, 302, 303, 307, 308):
        where = response.getheader("Location", "elsewhere")
        raise EndpointError(f"{url} redirects to {where}: give that address instead")
    return answer


def url_parts(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises SpecError for another text."""
    parts = urlsplit(url)
    try:
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.username or parts.query or parts.fragment:
        raise SpecError(
            f"{url!r} is not the address of a server: write it like http://127.0.0.1:8000/v1"
        )
    return parts


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_S)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_S)


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
