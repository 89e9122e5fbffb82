"""`journal ask`: what it prints, keeps and refuses."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journal.cli.app import app
from journal.store.interactions import interactions
from journal.store.store import open_store

FakeServer = Callable[..., str]


def ask(*arguments: str, **env: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["ask", *arguments], env={"JOURNAL_API_KEY": None, **env})
    return done.exit_code, done.stdout, done.stderr


def test_what_was_asked_is_kept(fake_server: FakeServer, tmp_path: Path) -> None:
    url, home = fake_server(itl_s=0.001), str(tmp_path)
    where = ("--endpoint", url, "--home", home, "--max-tokens", "3")
    code, out, _ = ask("why not?", *where, "--system", "be kind", "--temperature", "0")
    assert code == 0
    assert out.splitlines()[0] == "the engine says"
    code, out, _ = ask("once upon", *where, "--completions", "--raw")
    assert json.loads(out)["usage"]["completion_tokens"] == 3
    code, out, _ = ask("why?", *where, "--json")
    told = json.loads(out)
    assert told["answer"] == "the engine says"
    assert told["tokens_per_s"] > 0
    code, out, _ = ask("why?", *where, "--curl", JOURNAL_API_KEY="s3cret")
    assert '"Authorization: Bearer $JOURNAL_API_KEY"' in out
    assert "s3cret" not in out
    with open_store(tmp_path) as store:
        first, second, third = interactions(store)
    assert first.messages == (
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "why not?"},
    )
    assert first.settings == {"max_tokens": 3, "temperature": 0.0}
    assert (second.api, second.ttft_s, second.output_tokens) == ("completions", None, 3)
    assert third.id == told["id"]


def test_a_failure_is_one_sentence_and_kept(fake_server: FakeServer, tmp_path: Path) -> None:
    url = fake_server(fault="error_in_stream", itl_s=0.001)
    code, out, err = ask("why?", "--endpoint", url, "--home", str(tmp_path))
    assert code == 1
    assert out.startswith("the engine")
    assert err == "journal: the answer could not be read (A scripted failure.)\n"
    with open_store(tmp_path) as store:
        (kept,) = interactions(store)
    assert kept.error is not None
    assert kept.answer.startswith("the engine")


def test_ctrl_c_keeps_what_came(fake_server: FakeServer, tmp_path: Path) -> None:
    url = fake_server(itl_s=0.05)
    command = [sys.executable, "-m", "journal", "ask", "why?", "--endpoint", url]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(10) == b"the engine"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
    with open_store(tmp_path) as store:
        (kept,) = interactions(store)
    assert kept.answer.startswith("the engine")
    assert kept.error == "stopped by hand"


def test_what_a_model_says_cannot_control_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from journal.cli.render import readable

    said = "a\x1b[2J\x07b\r\nc\td\u202ee 👨\u200d👩 \x9b1m"
    shown = readable(said)
    assert shown == "a\\x1b[2J\\x07b\\x0d\nc\td\\x202ee 👨\u200d👩 \\x9b1m"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize("form", [(), ("--json",), ("--raw",)])
def test_no_form_of_an_answer_carries_control_characters(
    form: tuple[str, ...], tmp_path: Path, hostile_server: str
) -> None:
    code, out, err = ask("why?", "--endpoint", hostile_server, "--home", str(tmp_path), *form)
    assert code == 0, err
    assert "evil [/b][red]" in out
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out)


@pytest.fixture
def hostile_server() -> "object":
    """A server whose every answer tries to control the terminal."""
    import http.server
    import threading

    text = "evil [/b][red] \x1b]0;owned\x07 \x9b2J \u202etxt \x7f"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("application/json", {"data": [{"id": "m"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            head = {"id": "x", "created": int(time.time()), "model": "m", "usage": usage}
            choice = {"index": 0, "finish_reason": "stop"}
            if asked.get("stream"):
                choice["delta"] = {"content": text}
                body = {**head, "object": "chat.completion.chunk", "choices": [choice]}
                self.reply("text/event-stream", body)
            else:
                choice["message"] = {"role": "assistant", "content": text}
                body = {**head, "object": "chat.completion", "choices": [choice]}
                self.reply("application/json", body)

        def reply(self, kind: str, body: dict[str, object]) -> None:
            content = json.dumps(body)
            if kind == "text/event-stream":
                content = f"data: {content}\n\ndata: [DONE]\n\n"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
