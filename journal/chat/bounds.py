"""Bounds on what the openai SDK reads of an answer: bytes, the time of all reads together, and that
of its head.

They hold for every body, also those of refusals, which the SDK reads whole."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from journal.load.wire import AFTER_DONE_S, MOST_OF_ANSWER
from journal.measure import bounded_http

if TYPE_CHECKING:
    from httpx2 import Request, Response

TIMEOUT_S = 600.0
OPENED = ("connect_tcp.complete", "start_tls.complete")  # events of the SDK's transport
HEADED = "receive_response_headers.complete"


class Head:
    """The time that the head of one answer takes once it has begun, up to HEAD_S: a server may
    think for long before it answers, and then says at once that it does."""

    def __init__(self) -> None:
        self._until_s: float | None = None
        self._over = False

    def watch(self, request: "Request") -> None:
        """Bound the head of the answer to `request`, whose connection is read asynchronously."""
        request.extensions = {**request.extensions, "trace": self._traced}

    async def _traced(self, event: str, info: dict[str, Any]) -> None:
        self.see(event)
        if event.endswith(OPENED):
            stream = info["return_value"]
            read = stream.read

            async def checked(*given: Any, **named: Any) -> bytes:
                piece: bytes = await read(*given, **named)
                self.came()
                return piece

            stream.read = checked

    def see(self, event: str) -> None:
        """Take note of an event of the transport."""
        self._over = self._over or event.endswith(HEADED)

    def came(self) -> None:
        """Take note that a piece was read. Raises TimeoutError for a head that takes too long."""
        now_s = time.monotonic()
        if self._until_s is None:
            self._until_s = now_s + bounded_http.HEAD_S
        if not self._over and now_s > self._until_s:
            raise TimeoutError(f"its headers did not end within {bounded_http.HEAD_S:g} s")


class Deadline:
    """The end of all waiting for one answer, as a block: after TIMEOUT_S its connections are cut,
    whatever the SDK is doing, and `over` is True. `done`: the answer was whole before."""

    def __init__(self) -> None:
        self.over = False
        self.done = False
        self._head = Head()
        self._sockets: list[socket.socket] = []
        self._timer = self._in(TIMEOUT_S)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _in(self, wait_s: float) -> threading.Timer:
        timer = threading.Timer(wait_s, self._cut)
        timer.daemon = True
        return timer

    def soon(self) -> None:
        """Wait no longer than AFTER_DONE_S from the first call: the answer is whole."""
        if not self.done:
            self.done = True
            self._timer.cancel()
            self._timer = self._in(AFTER_DONE_S)
            self._timer.start()

    def watch(self, request: "Request") -> None:
        """Cut the connection of `request`, too."""
        request.extensions = {**request.extensions, "trace": self._opened}

    def _opened(self, event: str, info: dict[str, Any]) -> None:
        self._head.see(event)
        if event.endswith(OPENED):
            stream = info["return_value"]
            self._sockets.append(stream.get_extra_info("socket"))
            read = stream.read

            def checked(*given: Any, **named: Any) -> bytes:
                piece: bytes = read(*given, **named)
                self._head.came()
                return piece

            stream.read = checked

    def _cut(self) -> None:
        self.over = True
        for connection in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def bounded(response: "Response") -> None:
    """Bound the body of `response`, of which only the head was read."""
    from httpx2 import SyncByteStream

    inner: Any = response.stream
    check = _check_of(response)

    class Stream(SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for piece in inner:
                check(piece)
                yield piece

        def close(self) -> None:
            inner.close()

    response.stream = Stream()


async def bounded_async(response: "Response") -> None:
    """The same for a response that is read asynchronously."""
    from httpx2 import AsyncByteStream

    inner: Any = response.stream
    check = _check_of(response)

    class Stream(AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in inner:
                check(piece)
                yield piece

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Stream()


def _check_of(response: "Response") -> Any:
    """A check that is given each piece of the body, and raises ValueError or TimeoutError."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity") and not response.is_success:
        raise ValueError(f"its refusal is compressed ({coding[:20]!r}), which was not asked for")
    until_s, left = time.monotonic() + TIMEOUT_S, MOST_OF_ANSWER

    def check(piece: bytes) -> None:
        nonlocal left
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it is longer than {MOST_OF_ANSWER >> 20} MiB, the most that is read")
        if time.monotonic() > until_s:
            raise TimeoutError(f"it did not end within {TIMEOUT_S:g} s")

    return check
