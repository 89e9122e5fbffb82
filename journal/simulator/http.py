"""A simulated OpenAI-compatible server whose truth is known: for tests, and for a first try
without a model. The model's name, the `server` header and /version say that it is simulated.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httptools

from journal.errors import EndpointError, UsageError
from journal.simulator.answers_stream import Refused, SimulatedAnswer, TokenRequest, error_object
from journal.simulator.engine_model import Fault, Job, Script, SimulatedEngine
from journal.simulator.prometheus import prometheus

__all__ = ["Script", "running", "serve"]

_REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized"}
_IN_MID_STREAM = ("error_in_stream", "cut", "stalled", "garbage")


def serve(
    script: Script,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Answer on `host`:`port` (0: any free port) until KeyboardInterrupt; with `certificate` and
    `key` (PEM files) over TLS. `on_ready` receives the port. Raises UsageError for a port that
    cannot be used."""

    async def main() -> None:
        try:
            server = await listen(script, host, port, certificate, key)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host} port {port} ({error.strerror}): choose another port"
            ) from None
        async with server:
            if on_ready is not None:
                on_ready(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(main())


@contextlib.contextmanager
def running(
    script: Script | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[str]:
    """Run the server in a process of its own, which ends with the block or with this process;
    yield its base URL, which ends with /v1. Raises EndpointError where it does not start."""
    plan = {
        "script": dataclasses.asdict(script or Script()),
        "host": host,
        "port": port,
        "certificate": None if certificate is None else str(certificate),
        "key": None if key is None else str(key),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "journal.simulator.http", json.dumps(plan)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        bound = process.stdout.readline().strip().decode()
        if not bound:
            raise EndpointError(f"the simulated server did not start on {host} port {port}")
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}/v1"
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


async def listen(
    script: Script,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
) -> asyncio.Server:
    """Start the server within the running event loop. Raises OSError for a port that cannot be
    used."""
    loop = asyncio.get_running_loop()
    engine = SimulatedEngine(script, loop)
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
    return await loop.create_server(
        lambda: _Connection(engine, host), host, port, backlog=4096, ssl=tls, reuse_address=True
    )


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _Connection(asyncio.Protocol):
    """One client's connection, which answers its requests one after the other."""

    transport: asyncio.Transport

    def __init__(self, engine: SimulatedEngine, host: str) -> None:
        self.engine = engine
        self.host = host
        self.script = engine.script
        self.parser = httptools.HttpRequestParser(self)
        self.reply: _Reply | None = None
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.reply is not None:
            self.engine.cancel(self.reply.job)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.path = ""
        self.body = bytearray()
        self.headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.reply is not None:  # requests on one connection come one after the other
            self.transport.close()
            return
        self.closing = "no_keep_alive" in self.script.quirks or not self.parser.should_keep_alive()
        try:
            self._answer(self.parser.get_method().decode(), self.path.partition("?")[0])
        except Refused as refusal:
            self.send_json(error_object(str(refusal), refusal.status), refusal.status)

    def _answer(self, method: str, path: str) -> None:
        script = self.script
        if not self._is_asked_here():
            raise Refused(403, "This server answers to names of its own host, and no other page.")
        locked = path.startswith("/v1/") and script.api_key is not None
        if locked and self.headers.get("authorization") != f"Bearer {script.api_key}":
            raise Refused(401, "Invalid API key.")
        if (method, path) == ("GET", "/health"):
            self.send(200, b"")
        elif (method, path) == ("GET", "/version") and script.version:
            self.send_json({"version": "simulated"})
        elif (method, path) == ("GET", "/metrics") and script.metrics:
            self.send(200, prometheus(self.engine).encode(), "text/plain; version=0.0.4")
        elif (method, path) == ("GET", "/v1/models"):
            model = {"id": script.model, "object": "model", "created": 0}
            model |= {"owned_by": "journal-fake-server", "max_model_len": script.max_model_len}
            self.send_json({"object": "list", "data": [model]})
        elif (method, path) == ("POST", "/v1/chat/completions") or (
            (method, path) == ("POST", "/v1/completions") and script.completions
        ):
            self._generate(TokenRequest(path, bytes(self.body), script))
        else:
            raise Refused(404, f"Not Found: {method} {path}")

    def _is_asked_here(self) -> bool:
        """Whether the request is for the address at which the server listens, where that is one of
        loopback, and comes from no page of another site."""
        named = self.headers.get("host", "")
        name = re.sub(r":[0-9]*$", "", named).strip("[]")
        own = not _is_loopback(self.host) or _is_loopback(name)
        return own and self.headers.get("origin", f"//{named}").endswith(f"//{named}")

    def _generate(self, question: TokenRequest) -> None:
        self.engine.asked += 1
        faulty = self.engine.asked % self.script.fault_every == 0
        fault = self.script.fault if faulty else None
        if fault == "status":
            raise Refused(self.script.error_status, "A scripted refusal.")
        if fault == "redirect":
            self.send(307, b"", extra="location: http://elsewhere.invalid/v1/completions\r\n")
        elif fault == "not_http":
            self.transport.write(b"+OK this is no HTTP at all\r\n" * 3)
            self.transport.close()
        else:
            if "continue" in self.script.quirks:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.reply = _Reply(self, question, fault)
            self.reply.begin()

    def head(self, status: int, content_type: str, extra: str) -> bytes:
        reason = _REASONS.get(status, "Simulated")
        extra += "connection: close\r\n" if self.closing else ""
        return (
            f"HTTP/1.1 {status} {reason}\r\nserver: journal-fake-server\r\n"
            f"content-type: {content_type}\r\n{extra}\r\n"
        ).encode("latin-1")

    def send(self, status: int, body: bytes, kind: str = "text/plain", extra: str = "") -> None:
        extra += f"content-length: {len(body)}\r\n"
        self.transport.write(self.head(status, kind, extra) + body)
        self.done()

    def send_json(self, payload: dict[str, Any], status: int = 200) -> None:
        self.send(status, json.dumps(payload).encode(), "application/json")

    def done(self) -> None:
        self.reply = None
        if self.closing:
            self.transport.close()


class _Reply:
    """One answer with tokens, passed from the engine to a connection."""

    def __init__(
        self, connection: _Connection, question: TokenRequest, fault: Fault | None
    ) -> None:
        self.connection = connection
        self.fault = fault
        self.answer = SimulatedAnswer(question, connection.script, fault)
        self.middle = question.output_tokens // 2
        ends_early = fault in ("abort", "short")
        tokens = max(1, self.middle) if ends_early else question.output_tokens
        self.job = Job(question.prompt, tokens, self.on_tokens)
        self.quirks = connection.script.quirks
        self.packer = zlib.compressobj(wbits=31) if "gzip" in self.quirks else None
        self.held = bytearray()

    def begin(self) -> None:
        if self.answer.question.stream:
            if "content_length" not in self.quirks:
                framing = "" if "until_close" in self.quirks else "transfer-encoding: chunked\r\n"
                self._head(framing)
            self._write(self.answer.opening())
        if self.fault == "no_tokens":
            self._finish()
        else:
            self.connection.engine.submit(self.job)

    def on_tokens(self, first: int, count: int) -> None:
        finished = self.job.made >= self.job.output_tokens
        if not self.answer.question.stream:
            if finished:
                self.connection.send_json(self.answer.whole(self.job))
            return
        if self.fault in _IN_MID_STREAM and first + count > self.middle:
            self._meet_fault()
            return
        reason = {"abort": "abort", "short": "stop", "no_finish": None}.get(
            self.fault or "", "length"
        )
        self._write(self.answer.piece(first, count, reason if finished else None))
        if finished:
            self._finish()

    def _meet_fault(self) -> None:
        self.connection.engine.cancel(self.job)
        if self.fault == "garbage":
            self._write(self.answer.event('{"id":"cmpl-simulated","choices":[{"te'))
            self._finish()
        elif self.fault == "error_in_stream":
            self._write(self.answer.event(error_object("A scripted failure.", 500)))
            self._write(self.answer.event("[DONE]"))
            self._end()
        elif self.fault == "cut":
            self.connection.transport.close()

    def _finish(self) -> None:
        self._write(self.answer.closing(self.job))
        self._end()

    def _head(self, framing: str) -> None:
        extra = framing + ("content-encoding: gzip\r\n" if self.packer is not None else "")
        head = self.connection.head(200, "text/event-stream; charset=utf-8", extra)
        self.connection.transport.write(head)

    def _write(self, data: bytes) -> None:
        if self.packer is not None:
            data = self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        self._frame(data)

    def _frame(self, data: bytes) -> None:
        if not data:
            return
        if "content_length" in self.quirks:
            self.held += data
        elif "until_close" in self.quirks:
            self.connection.transport.write(data)
        else:
            self.connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _end(self) -> None:
        if self.packer is not None:
            self._frame(self.packer.flush())
        if "content_length" in self.quirks:
            self._head(f"content-length: {len(self.held)}\r\n")
            self.connection.transport.write(bytes(self.held))
        elif "until_close" in self.quirks:
            self.connection.transport.close()
        else:
            self.connection.transport.write(b"0\r\n\r\n")
        self.connection.done()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _child(plan: dict[str, Any]) -> None:
    """Serve for `running`: write the port to standard output, end when standard input ends."""

    async def main() -> None:
        script = Script(**{**plan["script"], "quirks": tuple(plan["script"]["quirks"])})
        server = await listen(script, plan["host"], plan["port"], plan["certificate"], plan["key"])
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        orphaned = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), orphaned.set)
        await orphaned.wait()
        server.close()

    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(main())


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
