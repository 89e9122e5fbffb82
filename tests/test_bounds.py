"""All that a server sends is read up to a bound: bytes, time in all, depth, digits. A sentence says
which, and does not blame the server for it."""

import asyncio
import gzip
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psutil
import pytest

from journal.chat.ask import Question, ask, whole_answer
from journal.chat.several import Pending
from journal.errors import EndpointError, JournalError, MeasureError
from journal.load import wire
from journal.load.answer import trace_of
from journal.load.client import Client
from journal.measure import bounded_http, server
from journal.measure.histogram import histogram
from journal.measure.server import ServerConnection, parsed_samples, server_reading
from journal.records.engine import Endpoint
from journal.records.request import Request, Trace
from journal.serve import probe
from journal.serve.endpoint import models_of, observe
from journal.serve.probe import fetch

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
OPEN = HEAD + b"Connection: close\r\n\r\n"
EVENT = b'data: {"choices": [{"text": "so"}]}\n\n'


def of(body: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def drip(text: bytes, every_s: float = 0.02) -> Iterator[bytes]:
    for at in range(len(text)):
        time.sleep(every_s)
        yield text[at : at + 1]


# What a server sends after any request: name -> pieces, which may never end.
ENDLESS = {
    "bytes": lambda: itertools.chain([OPEN], itertools.repeat(b"x" * 65536)),
    "events": lambda: itertools.chain([OPEN], itertools.repeat(EVENT * 1000)),
    "one line": lambda: itertools.chain([OPEN + b"data: "], itertools.repeat(b"y" * 65536)),
    "chunks": lambda: itertools.chain(
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"],
        itertools.repeat(b"1000\r\n%b\r\n" % (b"z" * 4096)),
    ),
    "headers": lambda: itertools.chain([HEAD], itertools.repeat(b"X-A: b\r\n" * 1000)),
    "one header": lambda: itertools.chain([HEAD + b"X: "], itertools.repeat(b"h" * 65536)),
    "interim answers": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "a refusal": lambda: itertools.chain(
        [OPEN.replace(b"200 OK", b"500 No")], itertools.repeat(b"x" * 65536)
    ),
}  # fmt: skip


@contextmanager
def sending(pieces: object) -> Iterator[str]:
    """A server that sends `pieces()` to whoever connects."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            for piece in pieces():  # type: ignore[operator]
                if over.is_set():
                    return
                connection.sendall(piece)

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are reached soon."""
    monkeypatch.setattr(bounded_http.BoundedConnection, "most_bytes", 1 << 21)
    monkeypatch.setattr(server, "MOST_BYTES", 1 << 21)
    monkeypatch.setattr(wire, "MOST_OF_ANSWER", 1 << 21)
    monkeypatch.setattr("journal.chat.bounds.MOST_OF_ANSWER", 1 << 21)
    monkeypatch.setattr("journal.chat.hearing.MOST_OF_ANSWER", 1 << 21)
    monkeypatch.setattr(probe, "CONNECT_S", 2.0)


def question(url: str) -> Question:
    return Question(base_url=url, model="m", messages=({"role": "user", "content": "so?"},))


def got(url: str, timeout_s: float = 20.0) -> bytes:
    with ServerConnection(Endpoint(base_url=url, model="m"), timeout_s) as connection:
        return connection.get("/metrics")


def loaded(url: str, timeout_s: float = 20.0) -> Trace:
    request = Request(index=0, body=b"{}", prompt_tokens=4, output_tokens=4, warmup=False)

    async def once() -> Trace:
        client = Client(Endpoint(base_url=url, model="m"), timeout_s)
        try:
            return trace_of(await client.exchange(request))
        finally:
            client.close()

    return asyncio.run(once())


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_answer_ends_at_the_bound(
    name: str, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "interim answers":  # they are no part of an answer to the SDK: time bounds them
        monkeypatch.setattr("journal.chat.bounds.TIMEOUT_S", 1.0)
        monkeypatch.setattr("journal.chat.several.TIMEOUT_S", 1.0)
    began_s = time.monotonic()
    with sending(ENDLESS[name]) as url:
        with pytest.raises(EndpointError) as refused:
            fetch(url + "/models", timeout_s=20)
        with pytest.raises(MeasureError) as unread:
            got(url, 20)
        trace = loaded(url)
        page = Pending(question(url))
        asyncio.run(page.read())
        errors = [list(ask(question(url)))[-1].error, whole_answer(question(url))[0].error]
    told = [str(refused.value), str(unread.value), trace.error, page.so_far.error, *errors]
    assert all(told), told
    assert all(
        "longer" in str(one) or "more than" in str(one)
        for one in told[: 2 if name == "a refusal" else 3]
    ), told
    assert not any("Traceback" in str(one) or "check http" in str(one) for one in told), told
    assert time.monotonic() - began_s < 60


@pytest.mark.parametrize("ask", [fetch, got])
def test_an_answer_that_is_given_up_leaves_no_socket_open(
    ask: Callable[[str], object], small: None
) -> None:
    with sending(ENDLESS["events"]) as url:
        with pytest.raises(JournalError) as kept:  # with the frames, and so with all that they hold
            ask(url)
        port = urlsplit(url).port
        of_this_process = psutil.Process().net_connections("tcp")
        assert kept.value and port not in {one.raddr.port for one in of_this_process if one.raddr}


@pytest.mark.timing
@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nX: y\r\n" * 40, OPEN + b"a" * 900])
def test_a_slow_drip_ends_at_the_time_of_the_whole_answer(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.chat.bounds.TIMEOUT_S", 0.5)
    monkeypatch.setattr("journal.chat.several.TIMEOUT_S", 0.5)
    with sending(lambda: drip(body)) as url:
        began_s = time.monotonic()
        with pytest.raises(EndpointError, match="does not answer in time"):
            fetch(url + "/models", timeout_s=0.5)
        with pytest.raises(MeasureError):
            got(url, 0.5)
        assert loaded(url, 0.5).timed_out
        page = Pending(question(url))
        asyncio.run(page.read())
        for error in (page.so_far.error, list(ask(question(url)))[-1].error):
            assert "within 0.5 s" in str(error) or "within 600 s" in str(error)
        assert time.monotonic() - began_s < 18, "one of them alone drips for longer"


def test_headers_that_never_end_cost_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may think for minutes before it answers, but not while it answers."""
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.3)
    dripped = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 900
    with sending(lambda: drip(dripped)) as url:
        began_s = time.monotonic()
        with pytest.raises(EndpointError, match="does not answer in time"):
            fetch(url + "/models")
        with pytest.raises(EndpointError):
            observe(url)
        with pytest.raises(MeasureError):
            got(url, 60)
        page = Pending(question(url))
        asyncio.run(page.read())
        for told in (page.so_far, list(ask(question(url)))[-1], whole_answer(question(url))[0]):
            assert "its headers did not end within 0.3 s" in str(told.error)
        assert time.monotonic() - began_s < 20


def test_a_head_after_a_long_thought_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.2)
    body = b'{"choices": [{"message": {"content": "so"}, "text": "so"}]}'

    def late() -> Iterator[bytes]:
        time.sleep(0.5)
        yield HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
        for at in range(0, len(body), 6):
            time.sleep(0.05)
            yield body[at : at + 6]
        time.sleep(1)  # a close while it still reads would reset the connection

    with sending(late) as url:
        assert fetch(url + "/models").body == body
        assert whole_answer(question(url))[0].answer == "so"


def bomb(size: int = 1 << 26) -> bytes:
    return gzip.compress(b"data: " + b"0" * size)


def test_a_compressed_answer_is_unpacked_up_to_the_bound(small: None) -> None:
    with sending(lambda: [of(bomb(), b"Content-Encoding: gzip\r\n")]) as url:
        with pytest.raises(EndpointError, match="compressed answer"):
            fetch(url + "/models")
        with pytest.raises(MeasureError, match="compressed"):
            got(url, 20)
        assert "unpacks to more than" in str(loaded(url).error)
        assert "unpacks to more than" in str(list(ask(question(url)))[-1].error)
        assert "unpacks to more than" in str(whole_answer(question(url))[0].error)


def test_an_answer_that_a_proxy_compressed_is_read_by_probes_too() -> None:
    body = b'{"data": [{"id": "m"}]}'
    for packed, coding in ((gzip.compress(body), b"gzip"), (zlib.compress(body), b"deflate")):
        head = b"Content-Encoding: %b\r\n" % coding
        with sending(lambda p=packed, h=head: [of(p, h)]) as url:  # type: ignore[misc]
            assert fetch(url + "/models").json() == {"data": [{"id": "m"}]}
    refused = pytest.raises(EndpointError, match=r"compressed \(br\) without a request")
    with sending(lambda: [of(body, b"Content-Encoding: br\r\n")]) as url, refused:
        fetch(url + "/models")


DEEP = b'{"data": ' + b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000 + b"}"
LONG = b'{"data": [{"id": "m", "max_model_len": ' + b"7" * 5000 + b"}], " + (
    b'"choices": [{"text": "x"}], "version": 1}'
)  # fmt: skip


@pytest.mark.parametrize(("body", "why"), [(DEEP, "nested deeper"), (LONG, "more digits")])
def test_json_beyond_the_bounds_is_a_sentence(body: bytes, why: str) -> None:
    with sending(lambda: [of(body)]) as url:
        with pytest.raises(EndpointError, match=why):
            models_of(url)
        assert loaded(url).error is not None
        for told in (list(ask(question(url)))[-1], whole_answer(question(url))[0]):
            assert told.error is not None
    events = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    with sending(lambda: [of(events)]) as url:
        assert "are read" in str(loaded(url).error) or "is read" in str(loaded(url).error)
        assert list(ask(question(url)))[-1].error is not None


@pytest.mark.parametrize("value", [10**30, -1, True, 1e300, "9", None, [1]])
def test_a_length_that_is_none_is_not_known(value: object) -> None:
    body = json.dumps({"data": [{"id": "m", "max_model_len": value}]}).encode()
    with sending(lambda: [of(body)]) as url:
        assert models_of(url) == {"m": None}
        assert observe(url).model == "m"


def test_a_refusal_is_short_however_many_models_there_are() -> None:
    models = [{"id": f"{n}-" + "ab" * 300} for n in range(5000)]
    with sending(lambda: [of(json.dumps({"data": models}).encode())]) as url:
        began_s = time.monotonic()
        assert "and 4988 more" in observe(url).model
        assert time.monotonic() - began_s < 10


N = 100_000
LINES = {
    "a name": b"a" * N,
    "a name and blanks": b"a" + b" " * N + b"!",
    "blanks": b" " * N + b"!",
    "labels without an end": b'a{b="' + b"c" * N,
    "names in labels": b"a{" + b"b" * N + b"} 1",
    "a thousand names": b"a{" + b"b " * (N // 2) + b"} 1",
    "labels": b"a{" + b'b="c",' * (N // 6) + b"} 1",
    "escapes": b'a{b="' + b'\\"' * (N // 2) + b"} 1",
    "quotes": b"a{" + b'"' * N + b"} 1",
    "quoted pairs": b"a{" + b'"a"' * (N // 3) + b'" 1',
    "a value": b"a " + b"9" * N,
    "values": b"a " + b"9 " * (N // 2),
    "a time": b"a 1 " + b"9" * N + b"!",
    "braces": b"a" + b"{" * N,
    "a comment": b"a 1 #" + b"#" * N,
    "tabs": b"a\t" * (N // 2),
    "values after blanks": b"a" + b" \t" * (N // 2) + b"1" + b" \t" * (N // 2) + b"x",
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_metrics_is_read_in_linear_time(name: str) -> None:
    began_s = time.process_time()
    list(parsed_samples(b"vllm:a" + LINES[name]))
    list(parsed_samples(LINES[name]))
    server_reading(LINES[name] * 3, 0.0)
    assert time.process_time() - began_s < 3


@pytest.mark.parametrize("le", ["x", "", "nan", "9" * 5000])
def test_a_histogram_with_a_bound_that_is_none_is_not_there(le: str) -> None:
    page = f'a_bucket{{le="{le}"}} 1\na_bucket{{le="+Inf"}} nan\na_sum 1\n'.encode()
    read = histogram(page, "a")
    assert read is None or read.quantile(0.5) is None
