"""The client against a real server over real sockets: every fault and every odd way to answer."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from journal.errors import EndpointError
from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed, Open
from journal.records.request import Request, Trace
from journal.simulator.engine_model import Fault, Quirk
from journal.simulator.http import Script, running

Start = Callable[..., str]


def request(index: int = 0, *, chat: bool = False, tokens: int = 6, **more: Any) -> Request:
    words = "three short words"
    body: dict[str, Any] = {
        "model": "simulated-model",
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    body |= {"messages": [{"role": "user", "content": words}]} if chat else {"prompt": words}
    return Request(
        index=index, body=json.dumps(body | more).encode(), prompt_tokens=3, output_tokens=tokens
    )


def sent(
    base_url: str, *requests: Request, timeout_s: float = 20.0, **endpoint: Any
) -> list[Trace]:
    traces, _ = drive(
        requests or (request(),),
        Endpoint(base_url=base_url, model="simulated-model", **endpoint),
        shape=Closed(1),
        timeout_s=timeout_s,
        processes=1,
        origin_s=time.monotonic(),
    )
    return list(traces)


FAULTS = {
    "status": "HTTP 500: A scripted refusal.",
    "redirect": "redirects are not followed",
    "error_in_stream": "an error in the stream: A scripted failure.",
    "cut": "closed in the middle",
    "stalled": "no end of the answer after 0.5 s",
    "garbage": "cannot be read",
    "not_http": "not valid HTTP",
    "abort": "finish reason abort",
    "no_tokens": "not one token",
    "no_finish": "finish reason missing",
}


def test_every_fault_is_listed() -> None:
    assert {*FAULTS, "short", "no_usage", "no_done"} == set(get_args(Fault))


@pytest.mark.timing
@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=FAULTS)
def test_no_fault_passes_for_a_success(fake_server: Start, fault: Fault, reason: str) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0, fault=fault, fault_every=2)
    for chat in (False, True):
        good, bad = sent(
            url,
            *(request(k, chat=chat) for k in range(2)),
            timeout_s=0.5 if fault == "stalled" else 20.0,
            api="chat" if chat else "completions",
        )
        assert good.outcome == "ok"
        assert bad.outcome == "error" and bad.error is not None and reason in bad.error


@pytest.mark.parametrize("chat", [False, True], ids=["completions", "chat"])
def test_a_stream_without_usage_or_done_counts(fake_server: Start, chat: bool) -> None:
    api = "chat" if chat else "completions"
    (without,) = sent(fake_server(fault="no_usage"), request(chat=chat), api=api)
    assert (without.outcome, without.output_tokens, without.done) == ("ok", None, True)
    assert without.prompt_tokens is None and without.chunk_tokens is None
    assert len(without.chunk_s) == 6
    (undone,) = sent(fake_server(fault="no_done"), request(chat=chat), api=api)
    assert (undone.outcome, undone.output_tokens, undone.done) == ("ok", 6, False)


def test_a_short_answer_is_short(fake_server: Start) -> None:
    (trace,) = sent(fake_server(ttft_s=0.0, itl_s=0.0, fault="short"))
    assert (trace.outcome, trace.output_tokens, trace.finish_reason) == ("short", 3, "stop")


@pytest.mark.parametrize("chat", [False, True], ids=["completions", "chat"])
@pytest.mark.parametrize("quirk", [None, *get_args(Quirk)])
def test_every_correct_way_to_answer_is_understood(
    fake_server: Start, quirk: Quirk | None, chat: bool
) -> None:
    quirks = () if quirk is None else (quirk,)
    url = fake_server(ttft_s=0.03, itl_s=0.01, quirks=quirks, prefix_caching=True)
    requests = [request(k, chat=chat) for k in range(2)]
    for trace in sent(url, *requests, api="chat" if chat else "completions"):
        assert trace.outcome == "ok", trace.error
        assert trace.output_tokens == 6 and trace.chunk_tokens == (1,) * 6
        assert trace.prompt_tokens == (8 if chat else 3) and trace.cached_tokens == 0
        assert trace.output_chars == len("the engine says née word 模型")
        assert trace.chunk_s[0] - trace.start_s >= 0.03
        assert trace.chunk_s[-1] - trace.start_s >= 0.03 + 5 * 0.01
        assert trace.start_s <= trace.chunk_s[0] <= trace.chunk_s[-1] <= trace.end_s


def test_several_tokens_in_one_chunk(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0, tokens_per_chunk=4)
    by_usage, by_ids = sent(
        url,
        request(0),
        request(1, return_token_ids=True, stream_options={"include_usage": True}),
    )
    assert by_usage.chunk_tokens == by_ids.chunk_tokens == (4, 2)


@pytest.mark.timing
def test_the_servers_own_times(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.02, itl_s=0.01, per_request_metrics=True)
    (trace,) = sent(url)
    assert trace.server_prefill_s == pytest.approx(0.02)
    assert trace.server_decode_s == pytest.approx(0.05)
    assert trace.server_queue_s == pytest.approx(0.0, abs=0.005)


def test_the_same_text_and_usage_as_the_openai_sdk_sees(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0)
    (trace,) = sent(url, request(tokens=12))
    from openai import OpenAI

    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        stream = client.completions.create(
            model="simulated-model",
            prompt="three short words",
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    assert usage is not None and trace.output_chars == len(text)
    assert (trace.prompt_tokens, trace.output_tokens) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def test_an_api_key_is_sent_and_never_shown(fake_server: Start) -> None:
    url = fake_server(api_key="secret-key", ttft_s=0.0, itl_s=0.0)
    assert sent(url, api_key="secret-key")[0].outcome == "ok"
    (refused,) = sent(url, api_key="another-key")
    assert refused.status == 401 and refused.error is not None
    assert "another-key" not in refused.error


def test_ipv6(fake_server: Start) -> None:
    if not socket.has_ipv6:
        pytest.skip("this host has no IPv6")
    with running(Script(ttft_s=0.0, itl_s=0.0), host="::1") as url:
        assert "[::1]" in url
        assert sent(url)[0].outcome == "ok"


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} "
        f"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    with running(Script(ttft_s=0.0, itl_s=0.0), certificate=certificate, key=key) as url:
        assert url.startswith("https://")
        with pytest.raises(EndpointError, match="certificate"):
            sent(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        first, second = sent(url, request(0), request(1, tokens=300))
        assert (first.outcome, second.outcome) == ("ok", "ok")


@pytest.mark.parametrize(
    ("base_url", "api_key"),
    [
        ("127.0.0.1:8000/v1", None),
        ("ftp://host/v1", None),
        ("http://", None),
        ("http://host:port/v1", None),
        ("http://host:99999/v1", None),
        ("http://höst/v1", None),
        ("http://127.0.0.1/v1", "two\nlines"),
    ],
)
def test_an_address_or_a_key_that_cannot_be(base_url: str, api_key: str | None) -> None:
    with pytest.raises(EndpointError):
        sent(base_url, api_key=api_key)


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(EndpointError, match="cannot connect"):
            sent(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    with pytest.raises(EndpointError, match=r"nowhere\.invalid"):
        sent("http://nowhere.invalid:8000/v1")


@pytest.fixture
def one_answer_each() -> Iterator[str]:
    """A server that closes every kept-alive connection right after its answer, unannounced."""
    body = (
        b'data: {"choices":[{"text":"a","finish_reason":"stop"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":6}}\n\n'
        b"data: [DONE]\n\n"
    )
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                if b"POST" in connection.recv(65536):
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.timing
def test_connections_that_the_server_closes_are_not_used_again(one_answer_each: str) -> None:
    requests = [
        Request(index=k, body=b"{}", prompt_tokens=3, output_tokens=6, due_s=k * 0.1)
        for k in range(4)
    ]
    traces, _ = drive(
        requests,
        Endpoint(base_url=one_answer_each, model="m"),
        shape=Open(10.0),
        timeout_s=10.0,
        processes=1,
        origin_s=time.monotonic(),
    )
    assert [trace.outcome for trace in traces] == ["ok"] * 4
