"""The logs of a home as pages: all of them, nothing else, and to this host's own name alone."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.cli.log import _tell_address
from journal.errors import UsageError
from journal.monitor.log_server import serve_logs
from journal.monitor.web_guard import ThreadingWSGIServer

PAGES = {"2026-11-20.html": "<p>first</p>", "2026-11-23.html": "<p>today</p>", "a.md": "# a"}


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    folder = tmp_path / "log"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    (folder / "2026-11-23").mkdir()
    (folder / "2026-11-23" / "one.svg").write_text("<svg/>")
    (tmp_path / "journal.db").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    (folder / "leads-out.html").symlink_to(tmp_path / "secret.html")
    servers: list[ThreadingWSGIServer] = []
    begin = ThreadingWSGIServer.serve_forever
    monkeypatch.setattr(
        ThreadingWSGIServer,
        "serve_forever",
        lambda self, poll_interval: (servers.append(self), begin(self, poll_interval)),
    )
    ready, urls = threading.Event(), []
    thread = threading.Thread(
        target=serve_logs,
        args=(tmp_path, 0),
        kwargs={"on_ready": lambda url: (urls.append(url), ready.set())},
    )
    thread.start()
    assert ready.wait(10)
    yield int(urls[0].rsplit(":", 1)[1].rstrip("/"))
    servers[0].shutdown()
    thread.join()


def get(port: int, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_the_logs_are_served_and_listed(port: int) -> None:
    for name, text in PAGES.items():
        assert get(port, f"/{name}") == (200, text)
    assert get(port, "/2026-11-23/one.svg") == (200, "<svg/>")
    status, index = get(port, "/")
    assert status == 200
    assert 0 < index.index("2026-11-23.html") < index.index("2026-11-20.html")
    assert get(port, "/a.md", "HEAD") == (200, "")


@pytest.mark.parametrize(
    "path",
    ["/../journal.db", "/../secret.html", "/%2e%2e/secret.html", "/leads-out.html", "/2026-11-23"],
)
def test_nothing_else_is_served(port: int, path: str) -> None:
    assert get(port, path) == (404, "")


def test_other_names_and_other_methods_are_refused(port: int, tmp_path: Path) -> None:
    assert get(port, "/a.md", host="evil.example")[0] == 403
    assert get(port, "/a.md", "PUT")[0] == 405
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {port}"):
        serve_logs(tmp_path, port, on_ready=print)


def test_the_tunnel_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _tell_address("http://127.0.0.1:8080/")
    said = capsys.readouterr().out
    assert said.startswith("http://127.0.0.1:8080/\n")
    assert "ssh -L 8080:127.0.0.1:8080 " in said
