"""Certificates, headers, queries and redirects: `run`, `ask` and `watch` say the same of them."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_servers import Asked, Told, chatting, refused, scripted
from typer.testing import CliRunner

from journal.chat.ask import Question, ask, curl, whole_answer
from journal.chat.several import Pending
from journal.cli.app import app
from journal.errors import EndpointError, SpecError
from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed
from journal.records.notebook import Interaction
from journal.records.request import Request
from journal.serve.endpoint import attach, observe

HEADER = {"api-key": "s3cret99"}


def asked(url: str, **more: Any) -> Interaction:
    messages = ({"role": "user", "content": "why"},)
    settings = {"max_tokens": 4}
    question = Question(base_url=url, model="m", messages=messages, settings=settings, **more)
    *_, last = ask(question)
    return last


def first_error(endpoint: Endpoint) -> str | None:
    body = b'{"model": "m", "messages": [{"content": "a"}], "stream": true}'
    offered = [Request(index=0, body=body, prompt_tokens=1, output_tokens=4)]
    (trace,), _ = drive(offered, endpoint, shape=Closed(1), timeout_s=10, processes=1, origin_s=0.0)
    return trace.error


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    where = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    try:
        subprocess.run([*command.split(), *name, *where], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    with path.open("ab") as both:
        both.write(path.with_suffix(".crt").read_bytes())
    return path


@pytest.fixture
def secured(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with scripted(chatting, tls=context) as (url, _):
        yield url + "/v1"


def test_a_certificate_that_is_not_trusted_is_told_alike(secured: str) -> None:
    told = "shows a certificate that is not trusted here (self-signed certificate)"
    for look in (attach, observe):
        with pytest.raises(EndpointError) as caught:
            look(secured)
        assert told in str(caught.value) and "SSL_CERT_FILE" in str(caught.value)
    failed = asked(secured)
    assert failed.error is not None and told in failed.error and "SSL_CERT_FILE" in failed.error


def test_a_certificate_in_ssl_cert_file_is_trusted_everywhere(
    secured: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    endpoint = attach(secured)
    assert first_error(endpoint) is None
    assert asked(secured).error is None
    assert observe(secured).model == "m"
    named = secured.replace("127.0.0.1", "localhost")
    with pytest.raises(EndpointError, match="a certificate for another name"):
        attach(named)
    failed = asked(named)
    assert failed.error is not None and "a certificate for another name" in failed.error


def keyed(given: Asked) -> Told:
    if given.headers.get("api-key") != "s3cret99" or given.query != "api-version=1":
        return refused(401, f"not {given.headers.get('api-key')}")
    return chatting(given)


def test_headers_and_query_go_with_the_requests_of_all() -> None:
    with scripted(keyed) as (url, _):
        where = f"{url}/v1?api-version=1"
        assert first_error(attach(where, headers=HEADER)) is None
        assert asked(where, headers=HEADER).error is None
        failed = asked(where, headers={"api-key": "another9"})
        assert failed.error is not None and "another9" not in failed.error
        assert observe(where, headers=HEADER).model == "m"


def test_a_header_is_shown_by_no_command_and_kept_nowhere(tmp_path: Path) -> None:
    key, home = ["--header", "api-key: s3cret99"], ["--home", str(tmp_path)]
    body = ["--body", "top_p=0.5", "--body", "temperature="]
    small = ["--requests", "2", "--warmup", "0", "--output-tokens", "4", "--prompt-tokens", "8"]
    with scripted(keyed) as (url, met):
        where = ["--endpoint", f"{url}/v1?api-version=1"]
        run = CliRunner().invoke(app, ["run", *where, *key, *body, *small, *home, "--json"])
        bodies = [one.body for one in met if one.body]
        said = CliRunner().invoke(app, ["ask", "why", *where, *key, *body, *home])
        shown = CliRunner().invoke(app, ["ask", "why", *where, *key, *home, "--curl"])
        asks = met[-2].body
    assert run.exit_code == 0, run.stderr
    assert all(one["top_p"] == 0.5 and "temperature" not in one for one in bodies)
    assert said.exit_code == 0, said.stderr
    assert asks["top_p"] == 0.5
    assert "api-key: ***" in shown.stdout
    out = "".join(one.stdout + one.stderr for one in (run, said, shown))
    assert "s3cret99" not in out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"s3cret99" in path.read_bytes()]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--header", "s3cret99"], "NAME: VALUE"),
        (["--body", "top_p"], "not KEY=JSON"),
        (["--body", 'stop={"a"'], "is not JSON"),
        (["--body", "messages=[]"], "is not free"),
    ],
)
def test_an_option_of_another_form_is_refused(option: list[str], words: str) -> None:
    said = CliRunner().invoke(app, ["run", "--endpoint", "http://127.0.0.1:9/v1", *option])
    assert isinstance(said.exception, SpecError) and words in str(said.exception)
    assert "s3cret99" not in str(said.exception)


def by_hand(url: str) -> list[Interaction]:
    """The last interaction of `ask`, of `ask` without a stream, and of the chat page."""
    messages = ({"role": "user", "content": "why"},)
    question = Question(base_url=url, model="m", messages=messages, settings={"max_tokens": 4})
    pending = Pending(question)
    asyncio.run(pending.read())
    return [asked(url), whole_answer(question)[0], pending.so_far]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_is_followed(status: int) -> None:
    def answers(given: Asked) -> Told:
        if given.path.startswith("/v1/"):
            return Told(status, headers={"Location": "/api" + given.path})
        return chatting(replace(given, path=given.path.removeprefix("/api")))

    with scripted(answers) as (url, _):
        for last in by_hand(f"{url}/v1"):
            assert (last.error, last.output_tokens) == (None, 4)
        assert first_error(attach(f"{url}/v1")) is None


def test_a_field_that_is_refused_is_left_out_or_renamed_by_hand_as_well() -> None:
    def answers(given: Asked) -> Told:
        if "stream_options" in given.body:
            return refused(400, "unknown field: stream_options")
        if "max_tokens" in given.body:
            return refused(
                400, "'max_tokens' is not supported, use 'max_completion_tokens' instead"
            )
        return chatting(given)

    with scripted(answers) as (url, _):
        for last in by_hand(f"{url}/v1"):
            assert (last.error, len(last.answer.replace(" ", ""))) == (None, 4)


def test_a_redirect_that_does_not_end_or_leaves_the_host_is_told_as_a_whole_address() -> None:
    for where in ("{url}/v1/chat/completions?key=s3cret99", "http://elsewhere.invalid/v1?key=s3"):

        def answers(given: Asked, where: str = where) -> Told:
            url = f"http://{given.headers['host']}"
            return Told(307, headers={"Location": where.format(url=url)})

        with scripted(answers) as (url, _):
            for last in by_hand(f"{url}/v1"):
                told = where.format(url=url).partition("=")[0] + "=***"
                assert last.error is not None and f"redirects to {told}" in last.error


def test_curl_shows_neither_headers_nor_the_query() -> None:
    messages = ({"role": "user", "content": "why"},)
    where = "http://h/v1?key=s3cret99"
    shown = curl(Question(base_url=where, model="m", messages=messages, headers=HEADER))
    assert "s3cret99" not in shown and "http://h/v1/chat/completions?key=***" in shown
