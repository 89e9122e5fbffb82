"""Addresses, redirects and keys that cannot be used: one sentence, from every reader, and no key in
it."""

import asyncio

import pytest
from test_bounds import got, loaded, question, sending

from journal.chat.ask import ask, whole_answer
from journal.chat.several import Pending
from journal.errors import JournalError
from journal.load.client import Client
from journal.measure.server import ServerConnection
from journal.records.engine import Access, Endpoint
from journal.serve.endpoint import normalised
from journal.serve.probe import fetch

ODD_HOSTS = ["a..b", "a" * 70 + ".x", ".", "-", "127.0.0.1:99999", "[::1", "xn--"]


@pytest.mark.parametrize(
    "where",
    [
        *("http://127.0.0.1:99999999/", "http://[::1/x", "http://127.0.0.1:abc/", "//[", "http://a..b/"),
        *("javascript:alert(1)", "file:///etc/passwd", "http://127.0.0.1:0/", "\t", "http://", "?"),
    ],
)  # fmt: skip
def test_a_redirect_to_no_address_is_a_sentence(where: str) -> None:
    head = f"HTTP/1.1 307 Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
    with sending(lambda: [head]) as url:
        with pytest.raises(JournalError, match="redirect"):
            fetch(url + "/models")
        page = Pending(question(url))
        asyncio.run(page.read())
        for told in (page.so_far, list(ask(question(url)))[-1], whole_answer(question(url))[0]):
            assert "redirects to" in str(told.error), told
        assert "redirects are not followed" in str(loaded(url).error)
        with pytest.raises(JournalError):
            got(url, 5)


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_that_cannot_be_looked_up_is_a_sentence(host: str) -> None:
    url = f"http://{host}/v1"
    with pytest.raises(JournalError):
        fetch(normalised(url) + "/models")
    for use in (
        lambda: loaded(url),
        lambda: ServerConnection(Endpoint(base_url=url, model="m")).get("/metrics"),
    ):
        with pytest.raises((JournalError, ValueError)) as refused:
            use()
        assert isinstance(refused.value, JournalError) or host in ("[::1", "127.0.0.1:99999")


@pytest.mark.parametrize("path", ["/v1 x", "/\u20ac", "/v1?a=\u20ac", "/\x7f"])
def test_a_path_that_no_request_can_name_is_refused(path: str) -> None:
    with pytest.raises(JournalError, match="not the address of a server"):
        normalised(f"http://127.0.0.1:9{path}")


@pytest.mark.parametrize(
    "key", ["abcdefghij\r\nX: y", "k\u20acy-long-enough", "\x00abcdefgh", " abcdefgh"]
)
@pytest.mark.parametrize("named", [False, True])
def test_a_key_that_no_header_may_hold_is_refused_and_not_quoted(key: str, named: bool) -> None:
    headers = (("X-Key", key),) if named else ()
    access = Access(None if named else key, headers)
    endpoint = Endpoint(
        base_url="http://127.0.0.1:9/v1",
        model="m",
        api_key=None if named else key,
        headers=headers,
    )
    for use in (
        lambda: fetch("http://127.0.0.1:9/v1/models", access=access),
        lambda: ServerConnection(endpoint),
        lambda: Client(endpoint, 1.0),
    ):
        with pytest.raises(JournalError, match="holds characters that no header may hold") as told:
            use()
        assert "abcdefgh" not in str(told.value) and "y-long-e" not in str(told.value)
