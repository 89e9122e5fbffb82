"""Every port that a command opens answers to its own names, and to no page of another site."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journal.cli.app import app
from journal.serve.own_page import is_from_elsewhere
from journal.tracking.mlflow_store import make_whole

DATA = Path(__file__).parent / "exchange" / "data"
# The path that each command answers, how it is asked there, and what it needs.
PORTS: dict[str, tuple[str, str, str]] = {
    "exporter": ("GET", "/metrics", "prometheus_client"),
    "log --serve": ("GET", "/", "journal"),
    "chat": ("POST", "/gradio_api/queue/join", "gradio"),
    "ui": ("POST", "/ajax-api/2.0/mlflow/experiments/search", "flask"),
    "fake-server": ("POST", "/v1/completions", "journal"),
}
# Names that a browser may be led by: the last ones fit patterns for private networks.
OTHER_NAMES = ["evil.example", "127.0.0.1.evil.example", "10.evil.example", "192.168.evil.example"]
OTHER_PAGES = ["http://evil.example", "null", "http://localhost.evil.example"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answered(port: int, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"max_results": 1, "prompt": "so", "max_tokens": 1}).encode()
    sent = {"Content-Type": "application/json", **headers}
    with contextlib.closing(connection):
        connection.request(method, path, body if method == "POST" else None, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def opened(tmp_path: Path, fake_server: Callable[..., str]) -> Iterator[Callable[[str], int]]:
    """Start a command that listens: its port."""
    with contextlib.ExitStack() as commands:

        def start(command: str) -> int:
            port, words = free_port(), command.split()
            words += ["--port", str(port)]
            words += [] if command == "fake-server" else ["--home", str(tmp_path)]
            words += ["--endpoint", fake_server()] if command == "chat" else []
            process = subprocess.Popen(
                [sys.executable, "-m", "journal", *words], stdout=subprocess.PIPE, text=True
            )
            commands.callback(process.wait, 60)
            commands.callback(process.terminate)
            assert process.stdout is not None
            commands.callback(process.stdout.close)
            assert any(f":{port}" in line for line in process.stdout), command
            return port

        yield start


@pytest.mark.slow
@pytest.mark.mlflow
@pytest.mark.parametrize("command", PORTS)
def test_a_port_answers_its_own_page_alone(
    command: str, opened: Callable[[str], int], tmp_path: Path
) -> None:
    method, path, needed = PORTS[command]
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    make_whole(tmp_path)
    taken = ["import", str(DATA / "vllm-closed.json"), "--home", str(tmp_path)]
    assert CliRunner().invoke(app, taken).exit_code == 0
    port = opened(command)
    for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        own = answered_when_ready(port, method, path, Host=name)
        assert own not in (400, 403), name
        assert own == answered(port, method, path, Host=name, Origin=f"http://{name}")[0]
    for name in OTHER_NAMES:
        for host in (name, f"{name}:{port}"):
            status, said = answered(port, method, path, Host=host)
            assert status == 403, (host, status, said[:200])
    for page in OTHER_PAGES:
        status, said = answered(port, method, path, Origin=page)
        assert status == 403, (page, status, said[:200])


def answered_when_ready(port: int, method: str, path: str, **headers: str) -> int:
    """The status of an answer; a server that is not there yet is waited for."""
    until_s = time.monotonic() + 60
    while True:
        try:
            return answered(port, method, path, **headers)[0]
        except ConnectionRefusedError:
            assert time.monotonic() < until_s
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("host", "named", "origin", "site", "elsewhere"),
    [
        ("127.0.0.1", "127.0.0.1:1", None, None, False),
        ("127.0.0.1", "localhost", "http://localhost", "same-origin", False),
        ("::1", "[::1]:1", "https://[::1]:1", "none", False),
        ("0.0.0.0", "any.example:1", None, None, False),
        ("0.0.0.0", "any.example:1", "http://any.example:1", None, False),
        ("127.0.0.1", None, None, None, True),
        ("127.0.0.1", "[", None, None, True),
        ("127.0.0.1", "localhost:1", "http://[", None, True),
        ("127.0.0.1", "localhost:1", "http://localhost:2", None, True),
        ("127.0.0.1", "localhost@evil.example", None, None, True),
        ("0.0.0.0", "any.example:1", "http://evil.example", None, True),
        ("0.0.0.0", "any.example:1", None, "same-site", True),
    ],
)
def test_is_from_elsewhere(
    host: str, named: str | None, origin: str | None, site: str | None, elsewhere: bool
) -> None:
    assert is_from_elsewhere(host, named, origin, site) is elsewhere
