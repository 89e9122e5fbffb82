"""Attaching to a server that is there already: what it serves, and what it can do."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from journal.doubts.words import absence
from journal.errors import EndpointError, JournalError, SpecError
from journal.serve.endpoint import attach, normalised, observe

FakeServer = Callable[..., str]


def test_a_server_with_all_of_vllm(fake_server: FakeServer) -> None:
    url = fake_server(model="simulated", max_model_len=2048)
    endpoint = attach(url)
    assert endpoint.base_url == url
    assert endpoint.model == "simulated"
    assert (endpoint.api, endpoint.prompt_form) == ("completions", "token_ids")
    assert endpoint.max_model_len == 2048
    assert endpoint.has_metrics
    assert endpoint.extensions
    assert endpoint.facts.version is not None
    assert endpoint.absent == ()


def test_its_process_is_found_on_this_host(fake_server: FakeServer) -> None:
    endpoint = attach(fake_server())
    assert endpoint.pid in {child.pid for child in psutil.Process().children(recursive=True)}


def test_text_prompts_where_token_ids_are_refused(fake_server: FakeServer) -> None:
    endpoint = attach(fake_server(token_prompts=False))
    assert (endpoint.api, endpoint.prompt_form) == ("completions", "text")
    assert endpoint.tokens_per_word == 1.0
    assert endpoint.overhead_tokens == 0
    assert "takes no token ids" in absence(endpoint.absent[0])


def test_chat_where_there_are_no_completions(fake_server: FakeServer) -> None:
    endpoint = attach(fake_server(completions=False, chat_overhead_tokens=7))
    assert (endpoint.api, endpoint.prompt_form) == ("chat", "text")
    assert endpoint.tokens_per_word == 1.0
    assert endpoint.overhead_tokens == 7


def test_the_lacks_of_a_bare_server_are_reported(fake_server: FakeServer) -> None:
    endpoint = attach(fake_server(metrics=False, version=False))
    assert not endpoint.has_metrics
    assert endpoint.facts.version is None
    assert [absence(values) for values in endpoint.absent] == [
        "The server does not tell its version at /version."
    ]


def test_a_model_it_does_not_serve(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match=r"does not serve nope; it serves simulated-model$"):
        attach(fake_server(), "nope")


def test_a_key_is_asked_for_and_then_used(fake_server: FakeServer) -> None:
    url = fake_server(api_key="secret-key")
    with pytest.raises(EndpointError, match=r"wants a key \(401: .*\): set JOURNAL_API_KEY"):
        attach(url)
    with pytest.raises(EndpointError, match="wants a key") as caught:
        attach(url, api_key="wrong-key")
    assert "wrong-key" not in str(caught.value)
    endpoint = attach(url, api_key="secret-key")
    assert endpoint.api_key == "secret-key"
    assert "secret-key" not in repr(endpoint)


def test_a_server_that_breaks_is_reported_in_its_own_words(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match=r"answers no prompt for simulated-model .*500"):
        attach(fake_server(fault="status", error_status=500))


def test_a_rate_limit_is_reported(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match=r"over its rate limit \(429\)"):
        attach(fake_server(fault="status", error_status=429))


def test_a_redirect_is_not_followed(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match=r"redirects to .*: give that address instead"):
        attach(fake_server(fault="redirect"))


def test_a_server_without_http_is_reported(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match="not in HTTP"):
        attach(fake_server(fault="not_http"))


def test_http_where_https_is_meant(fake_server: FakeServer) -> None:
    with pytest.raises(EndpointError, match="TLS"):
        attach(fake_server().replace("http:", "https:"))


def test_nothing_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=f"http://127.0.0.1:{port} refuses the connection"):
        attach(f"http://127.0.0.1:{port}/v1", "any")


def test_a_host_that_is_not_known() -> None:
    with pytest.raises(EndpointError, match="is not a host that is known here"):
        attach("http://no-such-host.invalid/v1", "any")


@pytest.mark.parametrize(
    "given", ["http://h:8000", "http://h:8000/", "http://h:8000/v1", " http://h:8000/v1/ "]
)
def test_the_address_may_end_as_it_likes(given: str) -> None:
    assert normalised(given) == "http://h:8000/v1"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://h/v1", "http://", "http://h/v1#x", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SpecError, match="is not the address of a server"):
        attach(url)


def test_a_user_name_in_an_address_is_not_shown() -> None:
    with pytest.raises(SpecError, match="give that in a header") as caught:
        attach("http://user:s3cret@h/v1")
    assert "s3cret" not in str(caught.value)


# ---- servers unlike vLLM -----------------------------------------------------------------------

Answers = Callable[[str, dict[str, Any] | None], tuple[int, object]]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """A server in a thread of this process that answers `answers(path, body)`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, body: dict[str, Any] | None) -> None:
            status, content = answers(self.path, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", str(content))
            self.end_headers()
            self.wfile.write(
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def served(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
    """Two models, chat alone, 1.5 tokens a word and 10 more; it refuses unknown fields."""
    if path == "/v1/models":
        return 200, {"data": [{"id": "one"}, {"id": "two"}]}
    if path != "/v1/chat/completions" or body is None:
        return 404, {"error": {"message": "no such path"}}
    if "ignore_eos" in body:
        return 400, {"error": {"message": "Unrecognized request argument: ignore_eos"}}
    words = len(body["messages"][0]["content"].split())
    return 200, {"usage": {"prompt_tokens": int(words * 1.5) + 10}}


def test_several_models_want_a_name() -> None:
    with answering(served) as url:
        with pytest.raises(EndpointError, match="serves one, two: name one with --model"):
            attach(url)
        endpoint = attach(url, "two")
    assert endpoint.model == "two"
    assert endpoint.api == "chat"
    assert endpoint.tokens_per_word == pytest.approx(1.5)
    assert endpoint.overhead_tokens == 10
    assert endpoint.facts.request_fields == {"ignore_eos": None}
    assert any("refuses ignore_eos" in absence(values) for values in endpoint.absent)
    assert endpoint.pid == os.getpid()


def test_the_name_is_trusted_without_a_list_of_models() -> None:
    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        return (404, b"") if path == "/v1/models" else served(path, body)

    with answering(answers) as url:
        with pytest.raises(EndpointError, match="does not say what it serves: name one"):
            attach(url)
        assert attach(url, "any").model == "any"


def test_a_server_that_counts_an_extra_token_gets_text() -> None:
    """One that puts a token of its own before the given ids does not take exactly what it is
    given: its prompts are counted as text."""

    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        if path == "/v1/completions" and body is not None:
            prompt = body["prompt"]
            size = len(prompt) if isinstance(prompt, list) else len(prompt.split())
            return 200, {"usage": {"prompt_tokens": size + 1}}
        return served(path, body)

    with answering(answers) as url:
        endpoint = attach(url, "one")
    assert (endpoint.api, endpoint.prompt_form) == ("completions", "text")
    assert endpoint.overhead_tokens == 1


def test_a_server_that_counts_nothing_is_taken_with_a_note() -> None:
    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        return (200, {"choices": []}) if path == "/v1/completions" else served(path, body)

    with answering(answers) as url:
        endpoint = attach(url, "one")
    assert endpoint.tokens_per_word is None
    assert any("does not count prompt tokens" in absence(values) for values in endpoint.absent)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"data": 3}', b'{"data": [1, {}]}', b"\xff{"])
def test_a_list_of_models_without_form(content: bytes) -> None:
    with answering(lambda *_: (200, content)) as url, pytest.raises(JournalError, match="name one"):
        attach(url)


def test_an_error_page_is_made_one_line() -> None:
    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        return (502, b"<html>\n\x1b[31mBad\tGateway</html>") if body else served(path, body)

    with answering(answers) as url, pytest.raises(EndpointError) as caught:
        attach(url, "one")
    assert "502 <html> [31mBad Gateway</html>" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_key_goes_to_no_other_host() -> None:
    met: list[str] = []

    def other(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        met.append(path)
        return served(path, body)

    with (
        answering(other) as elsewhere,
        answering(lambda *_: (307, f"{elsewhere}/models")) as url,
        pytest.raises(EndpointError, match=f"redirects to {elsewhere}/models: give that address"),
    ):
        attach(url, "one", api_key="secret-key")
    assert met == []


def test_a_long_list_of_models_shows_the_likest() -> None:
    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        names = [f"model-{n}" for n in range(100)] + ["Mistral-7B-Instruct"]
        return 200, {"data": [{"id": name} for name in names]}

    with answering(answers) as url, pytest.raises(EndpointError) as caught:
        attach(url, "mistral-7b-instruct")
    assert "it serves Mistral-7B-Instruct, " in str(caught.value)
    assert str(caught.value).endswith("and 89 more")


def test_a_server_that_fails_is_reported() -> None:
    sick = (503, {"error": {"message": "loading"}})
    with (
        answering(lambda *_: sick) as url,
        pytest.raises(EndpointError, match=r"answers 503 \(loading\)"),
    ):
        attach(url)


@pytest.mark.parametrize(
    ("page", "has_metrics", "sentence"),
    [
        (b"sglang:num_running_reqs 1\nsglang:num_queue_reqs 0\n", True, None),
        (b"tgi_queue_size 7\n", False, "another kind (TGI)"),
        (b"# HELP x A metric\nx 1\n", False, "a kind that is not known"),
        (b"nothing", False, None),
    ],
)
def test_metrics_of_another_kind_are_read_or_named(
    page: bytes, has_metrics: bool, sentence: str | None
) -> None:
    def answers(path: str, body: dict[str, Any] | None) -> tuple[int, object]:
        if path == "/metrics":
            return 200, page
        if path == "/v1/models":
            return 200, {"data": [{"id": "m"}]}
        return 404, {}

    with answering(answers) as url:
        endpoint = observe(url)
    assert endpoint.has_metrics is has_metrics
    assert (endpoint.metric_names is None) is not has_metrics
    said = [absence(one) for one in endpoint.absent if one["variant"].startswith("metrics_of")]
    assert len(said) == (0 if sentence is None else 1)
    assert sentence is None or sentence in said[0]
