"""A proxy on loopback that does to answers what proxies do: it holds them back, lets few through at
a time, closes connections, shares requests out, and hides what is behind it."""

import asyncio
import itertools
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

REPLAY_S = 0.0012  # between the parts of an answer that was held back
TICK_S = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What the proxy does. `hold`: it passes on whole answers only, or pieces of `piece_bytes`;
    `ticks`: what it sends meanwhile, again and again, to keep the connection; `at_once`: as many
    answers are fetched at a time; `closes`: a connection carries one answer; `metrics`: whether it
    lets /metrics through."""

    hold: Literal["whole", "pieces"] | None = None
    piece_bytes: int = 4096
    ticks: str = ""
    at_once: int = 4096
    closes: bool = False
    metrics: bool = True


@contextmanager
def between(upstreams: Sequence[str], way: Way, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The base URL of a proxy before the servers of these base URLs, who take turns."""
    ready: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    begun = threading.Event()

    async def main() -> None:
        proxy, over = _Proxy(upstreams, way), asyncio.Event()
        server = await asyncio.start_server(proxy.client, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        ready.append((f"{scheme}://127.0.0.1:{port}/v1", asyncio.get_running_loop(), over))
        begun.set()
        await over.wait()
        server.close()
        for task in (tasks := [*proxy.tasks]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close before their loop does

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    begun.wait()
    url, loop, over = ready[0]
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)


class _Proxy:
    def __init__(self, upstreams: Sequence[str], way: Way) -> None:
        self.turns = itertools.cycle(urlsplit(url) for url in upstreams)
        self.way = way
        self.places = asyncio.Semaphore(way.at_once)
        self.tasks: set[asyncio.Task[None]] = set()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
                body = await reader.readexactly(sum(lengths))
                if b"/metrics" in lines[0] and not self.way.metrics:
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                else:
                    async with self.places:
                        await self.fetch(head, body, writer, streams=bool(body))
                if self.way.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)

    async def fetch(
        self, head: bytes, body: bytes, writer: asyncio.StreamWriter, *, streams: bool
    ) -> None:
        place = next(self.turns)
        upstream, sender = await asyncio.open_connection(place.hostname, place.port)
        sender.write(head[:-2] + b"connection: close\r\n\r\n" + body)
        answer = await upstream.readuntil(b"\r\n\r\n")
        if not self.way.closes:
            answer = answer.replace(b"connection: close\r\n", b"")
        if self.way.hold is None or not streams:
            writer.write(answer)
            while part := await upstream.read(65536):
                writer.write(part)
        else:
            await self.pass_on(answer, upstream, writer)
        sender.close()

    async def pass_on(
        self, answer: bytes, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass the answer on when it is whole, part by part, or in pieces."""
        limit = self.way.piece_bytes if self.way.hold == "pieces" else None
        held = [answer]
        if self.way.ticks:
            writer.write(held.pop())
        tick, ticked_s = self.way.ticks.encode(), 0.0
        while part := await upstream.read(65536):
            held.append(part)
            if tick and (now_s := asyncio.get_running_loop().time()) - ticked_s > TICK_S:
                writer.write(b"%x\r\n%b\r\n" % (len(tick), tick))
                ticked_s = now_s
            if limit is not None and sum(map(len, held)) >= limit:
                writer.write(b"".join(held))
                held.clear()
        if limit is not None:
            writer.write(b"".join(held))
            return
        for part in held:
            writer.write(part)
            await asyncio.sleep(REPLAY_S)
