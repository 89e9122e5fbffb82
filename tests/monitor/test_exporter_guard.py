"""The exporter answers its own page alone."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from journal.monitor.web_guard import ThreadingWSGIServer, guarded


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    def app(_environ: object, start: object) -> list[bytes]:
        start("200 OK", [])  # type: ignore[operator]
        return [b"journal_gpus 0\n"]

    server = ThreadingWSGIServer.at(
        "127.0.0.1", 0, guarded(app, "127.0.0.1", {"/metrics", "/"}.__contains__)
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def status(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value.format(port=port) for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize(
    "name", ["127.0.0.1:{port}", "localhost:{port}", "localhost", "[::1]:{port}"]
)
def test_its_own_names_are_answered(port: int, name: str) -> None:
    assert status(port, Host=name) == 200
    assert status(port, Host=name, Origin=f"http://{name}", Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:{port}"},
        {"Host": "me@evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_names_and_other_pages_are_refused(port: int, headers: dict[str, str]) -> None:
    assert status(port, **headers) == 403


def test_it_takes_what_it_needs_and_no_more(port: int) -> None:
    assert status(port, "/other") == 404
    assert status(port, method="POST") == 405
    with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
        assert status(port) == 200  # beside one that says nothing
        silent.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"403" in silent.recv(100)
