"""The client: connections to one endpoint, one request at a time on each.

While answers stream, a read costs a time stamp and the C parser's search for the end of the
answer, and nothing else. The content is read later (see answer.py).
"""

import asyncio
import socket
import ssl
import time
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from journal.errors import EndpointError
from journal.load.answer import Exchange
from journal.load.wire import AFTER_DONE_S, DONE, Recording
from journal.records.engine import Endpoint
from journal.records.request import Request
from journal.redaction import remember, shown_url

IDLE_S = 1.0  # an older idle connection is not used again: servers close them after 2 s or more
OPENING_AT_ONCE = 64  # connections; the queue of a listening socket often holds 128
NO_ADDRESS = "no address"


class Target:
    """The address that requests go to: host, port and the head of every request. Raises
    EndpointError for an address or a key that cannot be used."""

    def __init__(self, endpoint: Endpoint) -> None:
        url = urlsplit(endpoint.request_url)
        try:
            port = url.port
        except ValueError:  # not a number, or too large
            port = -1
        sound = url.scheme in ("http", "https") and endpoint.base_url.isascii() and port != -1
        if not sound or not url.hostname:
            raise EndpointError(
                f"{shown_url(endpoint.base_url)!r} is not the address of a server: give http://HOST:PORT/v1"
            )
        sent = endpoint.access.sent()
        remember(*endpoint.secrets)
        self.host = url.hostname
        self.port = port or (443 if url.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if url.scheme == "https" else None
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = {
            "Host": host + (f":{port}" if port else ""),
            "User-Agent": "serving-journal",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        names = {name.lower() for name in sent}
        headers = {name: value for name, value in own.items() if name.lower() not in names} | sent
        lines = [
            f"POST {urlunsplit(('', '', url.path, url.query, ''))} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._head = "".join(f"{line}\r\n" for line in lines).encode("ascii")

    def message(self, body: bytes) -> bytes:
        """The bytes of one HTTP request with `body`."""
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)

    async def addresses(self) -> list[tuple[socket.AddressFamily, str]]:
        """The host's addresses. The client resolves them once, since a name server has no part
        in the measurement. Raises EndpointError for a host that is not known."""
        try:
            entries = await asyncio.get_running_loop().getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no name of a host"
            raise EndpointError(
                f"the host {self.host} cannot be found ({reason}): check the address"
            ) from None
        return list(dict.fromkeys((entry[0], str(entry[4][0])) for entry in entries))


class Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self) -> None:
        self.open = True
        self.since = float("inf")  # when it fell idle; an unused connection stays fresh
        self.used = False  # whether it has carried a complete answer
        self.ended_s = 0.0
        self._recording: Recording | None = None
        self._over: asyncio.Future[None] | None = None

    async def ask(self, message: bytes, recording: Recording) -> None:
        """Send `message` and record its answer in `recording`; return when the answer is over."""
        self._recording = recording
        self._over = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        try:
            await self._over
        finally:
            self._recording = None

    def abort(self) -> None:
        self.open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        recording = self._recording
        if recording is None:  # no request is in flight
            self.abort()
            return
        recording.feed(now, data)
        if recording.over or recording.failure is not None:
            self._end(now, recording)
        elif DONE in data:
            asyncio.get_running_loop().call_later(AFTER_DONE_S, self._settle, recording)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        now = time.monotonic()
        self.open = False
        if self._recording is not None:
            self._recording.close()
            self._end(now, self._recording)

    def _settle(self, recording: Recording) -> None:
        """End an answer that stays open after its [DONE]."""
        done_s = recording.settle() if recording is self._recording else None
        if done_s is not None:
            self._end(done_s, recording)

    def _end(self, now: float, recording: Recording) -> None:
        self.ended_s = now
        self._recording = None
        if not recording.reusable:
            self.abort()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class Client:
    """A client of one endpoint, with as many connections as requests are in flight."""

    def __init__(
        self, endpoint: Endpoint, timeout_s: float, abandon_after_s: float | None = None
    ) -> None:
        """A request that is not over after `timeout_s` has failed; after `abandon_after_s` its user
        has left (None: users wait)."""
        self.target = Target(endpoint)
        self.timeout_s = timeout_s
        self._leaves = abandon_after_s is not None and abandon_after_s < timeout_s
        self._waits_s = timeout_s if abandon_after_s is None else min(timeout_s, abandon_after_s)
        self._addresses: list[tuple[socket.AddressFamily, str]] = []
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    async def open(self, count: int) -> None:
        """Open `count` fresh connections, so that no measured request has to connect. Raises
        EndpointError where the server cannot be reached."""
        self.close()
        places = asyncio.Semaphore(OPENING_AT_ONCE)

        async def one() -> None:
            async with places, asyncio.timeout(self.timeout_s):
                self._idle.append(await self._connect())

        tasks = [asyncio.ensure_future(one()) for _ in range(count)]
        try:
            await asyncio.gather(*tasks)
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or str(error) or f"no answer in {self.timeout_s:g} s"
            raise EndpointError(
                f"cannot connect to {self.target.host} port {self.target.port} ({reason}): "
                "check that the server is up"
            ) from None
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        for connection in self._all:
            connection.abort()
        self._all.clear()
        self._idle.clear()

    async def exchange(self, request: Request, scheduled_s: float | None = None) -> Exchange:
        """Send one request now and wait until its answer ends or fails.

        The clock starts here, so the time to open a connection counts."""
        message = self.target.message(request.content)
        recording = Recording(request.output_tokens)
        exchange = Exchange(
            request=request,
            scheduled_s=scheduled_s,
            start_s=time.monotonic(),
            recording=recording,
        )
        connection = None
        try:
            async with asyncio.timeout(self._waits_s):
                connection = self._take() or await self._connect_for(exchange)
                await connection.ask(message, recording)
                if recording.unanswered and connection.used:  # closed while it was idle
                    self._drop(connection)
                    recording = exchange.recording = Recording(request.output_tokens)
                    exchange.reconnected = True
                    connection = await self._connect_for(exchange)
                    await connection.ask(message, recording)
            exchange.end_s = connection.ended_s
        except TimeoutError:
            if (done_s := recording.settle()) is not None:
                exchange.end_s = done_s
            else:
                exchange.failure = f"no end of the answer after {self._waits_s:g} s (the timeout)"
                exchange.timed_out = not self._leaves
                exchange.abandoned = self._leaves
        except OSError as error:
            exchange.failure = f"cannot connect: {error.strerror or error}"
        if exchange.failure is not None:
            exchange.end_s = time.monotonic()
        if connection is not None:
            self._give_back(connection, recording)
        return exchange

    def _take(self) -> Connection | None:
        """The connection that was used last, if it is fresh enough."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and time.monotonic() - connection.since < IDLE_S:
                return connection
            self._drop(connection)
        return None

    def _give_back(self, connection: Connection, recording: Recording) -> None:
        if connection.open and recording.reusable:
            connection.since, connection.used = time.monotonic(), True
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._all.discard(connection)

    async def _connect_for(self, exchange: Exchange) -> Connection:
        """A fresh connection, whose opening belongs to the time of `exchange`."""
        begun_s = time.monotonic()
        connection = await self._connect()
        exchange.connect_s = time.monotonic() - begun_s
        return connection

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if not self._addresses:
            self._addresses = await self.target.addresses()
        error = OSError(NO_ADDRESS)
        for family, address in self._addresses:
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    address,
                    self.target.port,
                    family=family,
                    ssl=self.target.tls,
                    server_hostname=self.target.host if self.target.tls else None,
                )
            except OSError as refusal:
                error = refusal
                continue
            self._addresses = [(family, address)]  # from now on the one that answers
            self._all.add(connection)
            return connection
        raise error
