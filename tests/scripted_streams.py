"""Servers that answer with streams that were written by hand, byte by byte, on a schedule."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from journal.load.answer import trace_of
from journal.load.client import Client
from journal.records.engine import Endpoint
from journal.records.request import Request, Trace

FIRST_S = 0.06
STEP_S = 0.01
TOKENS = 16
USAGE = {"prompt_tokens": 16, "completion_tokens": TOKENS, "total_tokens": 16 + TOKENS}
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"

Timed = tuple[float, bytes]


def event(payload: Any) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


def chunk(delta: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "choices": [choice], **more}


def word(k: int) -> str:
    return f"wörd{k} "


def at(k: int) -> float:
    """When token `k` is sent, in s after the request."""
    return FIRST_S + k * STEP_S


def tokens(make: Callable[[int], Any] = lambda k: chunk({"content": word(k)})) -> list[Timed]:
    """One event for each token, on schedule."""
    return [(at(k), event(make(k))) for k in range(TOKENS)]


def ending(*payloads: Any, done: bytes = DONE) -> list[Timed]:
    """What is sent with the last token: events, and [DONE]."""
    return [(at(TOKENS - 1), b"".join(map(event, payloads)) + done)]


FINISH = chunk({}, "length")
LAST = {"choices": [], "usage": USAGE}


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def framed(pieces: Sequence[Timed]) -> list[Timed]:
    """As an HTTP answer in chunks."""
    head = (0.0, HEAD + b"transfer-encoding: chunked\r\n\r\n")
    last_s = max([at_s for at_s, _ in pieces], default=0.0)
    return [head, *((at_s, chunked(data)) for at_s, data in pieces if data), (last_s, b"0\r\n\r\n")]


def until_close(pieces: Sequence[Timed]) -> list[Timed]:
    """As an HTTP answer that the end of its connection ends."""
    return [(0.0, HEAD + b"connection: close\r\n\r\n"), *pieces]


def sized(kind: str, at_s: float, body: bytes) -> list[Timed]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return [(at_s, head % (kind.encode(), len(body)) + body)]


@contextmanager
def serving(
    answer: Sequence[Timed],
    *,
    closes: bool = False,
    kept: int = 10**6,
    sent_s: list[float] | None = None,
    did_s: list[tuple[float, ...]] | None = None,
) -> Iterator[str]:
    """A server that answers every POST with `answer`, as far as its client stays. It closes the
    connection after each when `closes`, and without a word when it is asked more than `kept` times
    on one. `sent_s` takes the times at which the parts from the first token on were sent, on the
    monotonic clock; `did_s` takes for each request the time at which it was heard, and those at
    which the parts of `answer` were sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):  # a client may leave before the last bytes
            for number in range(10**6):
                if not _heard(connection) or number >= kept:
                    return
                began_s = time.monotonic()
                times_s = [began_s]
                for at_s, data in answer:
                    time.sleep(max(0.0, began_s + at_s - time.monotonic()))
                    if sent_s is not None and at_s >= FIRST_S:
                        sent_s.append(time.monotonic())
                    times_s.append(time.monotonic())
                    connection.sendall(data)
                if did_s is not None:
                    did_s.append(tuple(times_s))
                if closes:
                    return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _heard(connection: socket.socket) -> bool:
    """Reads one request; False at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = connection.recv(65536)
        except OSError:
            return False
        if not more:
            return False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    left = sum(lengths) - len(body)
    while left > 0:
        left -= len(connection.recv(65536))
    return True


def sent_once(url: str) -> Trace:
    """The trace of one request, sent and read as in a run."""
    request = Request(index=0, body=b"{}", prompt_tokens=3, output_tokens=1)

    async def one() -> Trace:
        client = Client(Endpoint(base_url=url, model="m", api="chat"), timeout_s=10)
        try:
            return trace_of(await client.exchange(request), time.monotonic() - 1.0)
        finally:
            client.close()

    return asyncio.run(one())
