"""One request to an HTTP server and its answer: for the probes, where speed does not matter.

A redirect is followed on the same host only, so that a key goes to no other.
"""

import http.client
import json
import math
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from journal.errors import EndpointError, SpecError
from journal.load.error_words import error_words
from journal.load.wire import Unpacker
from journal.measure.bounded_http import (
    MOST_BYTES,
    PIECE,
    BoundedConnection,
    BoundedTlsConnection,
    Unbounded,
    parsed_json,
)
from journal.records.engine import Access
from journal.redaction import Secret, hidden, in_url, pattern, remember, shown_url

CONNECT_S = 10.0
ANSWER_S = 120.0  # a busy or slow server may queue a probe for a long time
LONGEST = 4096  # characters of a server's own words that are looked at
REDIRECTS = 5
HOSTNAME_MISMATCH, ADDRESS_MISMATCH = 62, 64  # X509_V_ERR_... of OpenSSL
NO_ACCESS = Access()
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,6})?) ?s", re.IGNORECASE
)


@dataclass(frozen=True)
class Answer:
    """The answer to one request: its HTTP status, its body as it came, the key that was sent, which
    some servers quote, the address that gave it, and the time in s after which the server asks to
    be tried again (None: it does not say)."""

    status: int
    body: bytes
    secret: Secret = field(default=None, repr=False)
    url: str = ""
    retry_after_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether its status is 200 or another 2xx, which some gateways give."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, or the first in a list; empty where it is something else."""
        try:
            parsed = parsed_json(self.body)
        except (ValueError, Unbounded):
            return {}
        parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
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
        text = error_words(self.json()) or self.body[:LONGEST].decode(errors="replace")
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
    access: Access = NO_ACCESS,
    timeout_s: float = ANSWER_S,
    enough: Callable[[bytes], bool] | None = None,
) -> Answer:
    """The answer to GET `url`, or to POST `body` as JSON, after redirects on the same host. Its
    body ends where `enough`, which is called with each part of it, returns true. Raises
    EndpointError where no server answers, where the answer is not HTTP, and for a redirect to
    another host."""
    asked, first = url, url_parts(url)
    remember(*access.secrets, *in_url(url))
    for _ in range(REDIRECTS):
        answer, where = _fetched(url, body, access, timeout_s, enough)
        if where is None:
            return answer
        there = place_of(url, where)
        if there is None:
            shown = printable(shown_url(where))
            raise EndpointError(
                f"{shown_url(asked)} redirects to {shown!r}, which is no address: give the address "
                "that it means"
            )
        url = there
        if not same_host(first, urlsplit(url)):
            break
    there = printable(shown_url(url))
    raise EndpointError(f"{shown_url(asked)} redirects to {there}: give that address instead")


def _fetched(
    url: str,
    body: Mapping[str, object] | None,
    access: Access,
    timeout_s: float,
    enough: Callable[[bytes], bool] | None,
) -> tuple[Answer, str | None]:
    """The answer of `url` itself, and the place that it redirects to (None: it does not)."""
    parts = url_parts(url)
    headers = {"Accept": "*/*", "Connection": "close", **access.sent()}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = _connection(parts)
    connection.answer_s = timeout_s
    try:
        connection.connect()
        connection.sock.settimeout(timeout_s)
        content = None if body is None else json.dumps(body)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request("GET" if body is None else "POST", target, content, headers)
        with connection.getresponse() as response:
            received = _whole(response, enough)
    except Unbounded as error:
        raise EndpointError(
            f"{shown_url(url)} {error}: check that it is the address of a server"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(f"{parts.scheme}://{parts.netloc} {_reason(error)}") from None
    finally:
        connection.close()
    wait_s = _retry_after_s(response.headers, received)
    secret = pattern((*access.secrets, *in_url(url)))
    answer = Answer(response.status, received, secret, url, wait_s)
    redirects = answer.status in (301, 302, 303, 307, 308)
    return answer, response.getheader("Location", "elsewhere") if redirects else None


def _whole(response: http.client.HTTPResponse, enough: Callable[[bytes], bool] | None) -> bytes:
    """The body of an answer, unpacked where a proxy compressed it, or the part up to the one for
    which `enough`, which is called with each part as it comes, returns true. Raises Unbounded for a
    body that cannot be unpacked, and what a read raises."""
    coding = response.getheader("Content-Encoding", "identity").strip().lower()
    pieces = []
    try:
        unpack = Unpacker(coding.encode("latin-1", "replace"), MOST_BYTES)
        while piece := response.read1(PIECE):
            pieces.append(unpack.take(piece))
            if enough is not None and enough(pieces[-1]):
                break
        else:
            unpack.close()
    except ValueError as error:
        raise Unbounded(f"sends a compressed answer that is not read ({error})") from error
    response.close()  # as read() does at the end
    return b"".join(pieces)


def place_of(url: str, where: str) -> str | None:
    """The address to which `where`, in an answer of `url`, redirects; None where that is none."""
    try:
        there = urljoin(url, where[:LONGEST])
        _ = urlsplit(there).port
    except ValueError:
        return None
    return there


def same_host(first: SplitResult, other: SplitResult) -> bool:
    """Whether two addresses are of one host and port; from http to https the port may be that of
    the scheme."""
    if first.hostname != other.hostname or other.scheme not in ("http", "https"):
        return False
    ports = {"http": 80, "https": 443}
    here, there = first.port or ports[first.scheme], other.port or ports[other.scheme]
    return here == there or (first.scheme, here, other.scheme, there) == ("http", 80, "https", 443)


def _retry_after_s(headers: Message, body: bytes) -> float | None:
    """The time after which a server asks to be tried again, by its header or by its words."""
    for name, per_s in (("retry-after-ms", 1e3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            if 0 <= (wait_s := float(value) / per_s) < math.inf:
                return wait_s
        except ValueError:
            return _until(value)
    match = _TRY_AGAIN.search(body[:2000].decode("latin-1"))
    return None if match is None else float(match[1])


def _until(date: str) -> float | None:
    """The time in s from now to a date of HTTP; None for another text."""
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - datetime.now(UTC).timestamp())
    except (ValueError, OverflowError):
        return None


def url_parts(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises SpecError for another text."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")  # as the look-up does
        path = parts.path + parts.query
        whole = whole and path.isascii() and path.isprintable() and " " not in path
    except ValueError:
        parts, whole = SplitResult("", "", "", "", ""), False
    if whole and "@" in parts.netloc:
        raise SpecError(
            f"{shown_url(url)!r} has a user name in it: give that in a header, with "
            "--header 'Authorization: Basic ...'"
        )
    if not whole or parts.fragment:
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
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_problem(error)
    if isinstance(error, ssl.SSLError):
        return f"does not agree on TLS ({error.reason}): check http or https, and its certificate"
    if isinstance(error, http.client.HTTPException):
        return "answers, but not in HTTP: correct the port, or write https for http"
    return f"cannot be reached ({error.strerror or error}): correct the address"


def certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """The second half of a sentence on a server whose certificate is not trusted here."""
    if error.verify_code in (HOSTNAME_MISMATCH, ADDRESS_MISMATCH):
        return f"shows a certificate for another name ({error.verify_message}): write that name"
    return (
        f"shows a certificate that is not trusted here ({error.verify_message}): set SSL_CERT_FILE "
        "to a file with that certificate, or with that of its authority"
    )
