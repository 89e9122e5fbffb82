"""Answers of HTTP servers that are bounded, whatever a server sends: in bytes, and in the time of
all reads together, from the first byte of the head on. The C parsers and the reads in pieces leave
Ctrl-C its turn.
"""

import http.client
import io
import json
import ssl
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from journal.units import data_size

MOST_BYTES = 16 * 2**20  # of one answer, its head included
HEAD_S = 20.0  # of one head, from its first byte on
PIECE = 1 << 16


class Unbounded(Exception):
    """More than this program reads of one answer; the message says what came, for instance "sends
    more than 16 MiB, the most that is read of one answer"."""


class BoundedConnection(http.client.HTTPConnection):
    """A connection whose answers are read for at most `answer_s` seconds each and up to
    `most_bytes`. Beyond that a read raises TimeoutError or Unbounded."""

    answer_s: float = 120.0
    most_bytes: int = MOST_BYTES

    def getresponse(self) -> http.client.HTTPResponse:
        """The head of the answer to the last request; its body is not read yet."""
        bounds = _Bounds(time.monotonic() + self.answer_s, self.most_bytes)

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
                read: Any = _Bounded(sock, bounds)
                super().__init__(read, *args, **kwargs)

            def begin(self) -> None:
                super().begin()
                bounds.in_head = False

        self.response_class = Response
        try:
            return super().getresponse()
        except http.client.HTTPException as error:
            if isinstance(error, http.client.LineTooLong) or "more than" in str(error):
                raise Unbounded(
                    "sends a longer head than is read: 100 lines of 64 KiB each"
                ) from error
            raise


class BoundedTlsConnection(BoundedConnection, http.client.HTTPSConnection):
    """The same over TLS."""


def opener(
    answer_s: float, most_bytes: int, *handlers: urllib.request.BaseHandler
) -> urllib.request.OpenerDirector:
    """An opener of URLs whose answers over HTTP are bounded as those of BoundedConnection are: a
    read may raise TimeoutError or Unbounded."""

    class Plain(BoundedConnection):
        pass

    class Tls(BoundedTlsConnection):
        pass

    Plain.answer_s = Tls.answer_s = answer_s
    Plain.most_bytes = Tls.most_bytes = most_bytes

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Tls, request, context=ssl.create_default_context())

    return urllib.request.build_opener(Http, Https, *handlers)


def whole_body(response: http.client.HTTPResponse) -> bytes:
    """The body of an answer. Raises Unbounded for one that is compressed, which was not asked for,
    and what a read raises."""
    coding = response.getheader("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Unbounded(f"sends a compressed answer ({coding[:20]!r}), which was not asked for")
    pieces = []
    while piece := response.read(PIECE):
        pieces.append(piece)
    return b"".join(pieces)


def parsed_json(text: bytes | str) -> Any:
    """The value of JSON. Raises ValueError, with the reason, for other text, and Unbounded for JSON
    beyond what this program reads."""
    try:
        return json.loads(text)
    except RecursionError:
        raise Unbounded("sends JSON that is nested deeper than this program reads") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg}") from error
    except UnicodeDecodeError:
        raise ValueError("it is not JSON: it is not UTF-8 text") from None
    except ValueError:  # of int(): the number of digits
        raise Unbounded("sends a number of more digits than this program reads") from None


@dataclass
class _Bounds:
    """How long and how much is read of one answer."""

    until_s: float
    most_bytes: int
    in_head: bool = True
    head_until_s: float | None = None  # None: not a byte has come
    received: int = 0

    def left_s(self) -> float:
        """The time that the next read may take. Raises TimeoutError where none is left."""
        until_s = self.until_s
        if self.in_head and self.head_until_s is not None:
            until_s = min(until_s, self.head_until_s)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s

    def came(self, count: int) -> None:
        """Take note of so many bytes. Raises Unbounded where there are too many."""
        if self.head_until_s is None:
            self.head_until_s = time.monotonic() + HEAD_S
        self.received += count
        if self.received > self.most_bytes:
            size = data_size(self.most_bytes)
            raise Unbounded(f"sends more than {size}, the most that is read of one answer")


class _Bounded:
    """A socket, as far as http.client.HTTPResponse reads from it."""

    def __init__(self, sock: Any, bounds: _Bounds) -> None:
        self._sock, self._bounds = sock, bounds

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Reads(self._sock, self._bounds))


class _Reads(io.RawIOBase):
    def __init__(self, sock: Any, bounds: _Bounds) -> None:
        self._sock, self._bounds = sock, bounds
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._bounds.left_s())
        count: int = self._file.readinto(buffer)
        self._bounds.came(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
