"""Servers that quote the key wherever they can, in every way of writing it: none of it is kept or
shown, by any command."""

import html
import http.server
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from journal.chat.ask import Question, ask
from journal.errors import JournalError
from journal.records.engine import Access
from journal.serve.probe import fetch

KEY = 'sk-Qx7/Zp"2v+Lm&9=Rk%4Tw_8Yd'
PART = 8
# What stands between letters unseen, and what it becomes where that is shown or stored.
SHAPELESS = re.compile(
    r"\[0m|[\x00\x01\x1b\u200b\ufffd\u2400\u2401\u241b ]|\\+(u000[01]|x0[01]|u200b|u001b|x1b)"
)
NO_HEADER = re.compile(r"\x1b\[0m|[^ -~]")
WRITERS: tuple[Callable[[str], str], ...] = (
    str,
    lambda key: quote(key, safe=""),
    lambda key: json.dumps(key)[1:-1],
    lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    lambda key: b64encode(f"me:{key}".encode()).decode(),
    lambda key: html.escape(key),
    lambda key: "xx" + key + "yy",  # it touches letters
    lambda key: key.encode("utf-16").decode("utf-8", "replace"),
    "\u200b\x1b[0m".join,
)  # fmt: skip


def parts_in(data: bytes) -> set[str]:
    """The parts of KEY in `data`, plainly or in any of the ways above."""
    text = data.decode("utf-8", "replace")
    readings = {text, html.unescape(text), unquote(text), text.replace('\\"', '"')}
    readings |= {re.sub(r"\\+u00([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)}
    readings |= {SHAPELESS.sub("", one) for one in readings}
    keys = [KEY, b64encode(f"me:{KEY}".encode()).decode()[4:-4]]
    grams = {key[first : first + PART] for key in keys for first in range(len(key) - PART + 1)}
    return {gram for gram in grams for reading in readings if gram in reading}


class Spilling(http.server.BaseHTTPRequestHandler):
    """A server that works, and puts the key into every text that it sends."""

    protocol_version = "HTTP/1.1"
    ways = itertools.cycle(WRITERS)
    failing = False  # whether it refuses to stream

    def key(self, padding: str = "") -> str:
        assert self.headers["Authorization"] in (None, f"Bearer {KEY}")
        return f"{padding} {next(self.ways)(KEY)} "

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/models"):
            self.answer({"data": [{"id": "m"}, {"id": self.key("other")}]})
        elif path.endswith("/version"):
            self.answer({"version": self.key("0.1")})
        elif "/metrics" in path:
            names = "vllm:num_requests_running", "vllm:cache_config_info"
            page = "".join(f"{n}{{model_name={json.dumps(self.key())}}} 1\n" for n in names)
            self.send(200, page.encode(), "text/plain")
        else:
            self.send(404, self.key("nothing at").encode(), "text/plain")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked.get("stream") and self.failing:
            self.answer({"error": {"message": self.key("x" * 285), "type": self.key()}}, 401)
        elif asked.get("stream"):
            self.stream()
        else:
            usage = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
            choice = {"text": self.key(), "finish_reason": "length", "index": 0}
            choice["message"] = {"role": "assistant", "content": self.key()}
            self.answer({"choices": [choice], "usage": usage})

    def stream(self) -> None:
        words = [*itertools.batched(self.key("so "), 5)] if sys.version_info >= (3, 12) else None
        text = self.key("so ")
        pieces = ["".join(one) for one in words] if words else re.findall(r".{1,5}", text)
        deltas = [{"text": piece, "delta": {"content": piece}, "index": 0} for piece in pieces]
        end = {"text": "", "delta": {}, "index": 0, "finish_reason": self.key("stop")}
        events = [{"choices": [choice]} for choice in (*deltas, end)]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.send(200, body.encode(), "text/event-stream")

    def answer(self, payload: object, status: int = 200) -> None:
        self.send(status, json.dumps(payload).encode(), "application/json")

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status, NO_HEADER.sub("", self.key("because")))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Key", NO_HEADER.sub("", self.key()))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Refusing(Spilling):
    failing = True


class Redirecting(Spilling):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(307)
        where = f"http://me:{quote(KEY)}@elsewhere/{quote(KEY)}/models?token={KEY}#{KEY}"
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET


class NotHttp(Spilling):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.wfile.write(f"{self.key()}\r\n\r\n".encode())
        self.close_connection = True

    do_POST = do_GET


@contextmanager
def serving(handler: type[Spilling]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said_by(arguments: list[str], **variables: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "journal", *arguments],
        capture_output=True,
        env=os.environ | {"JOURNAL_API_KEY": KEY} | variables,
        timeout=100,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.stdout + done.stderr


def spilled(home: Path, *said: bytes) -> dict[str, set[str]]:
    """The parts of the key in what commands `said`, and in the files of `home`."""
    files = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    texts = {**files, **{f"output {n}": text for n, text in enumerate(said)}}
    return {name: found for name, text in texts.items() if (found := parts_in(text))}


SMALL = ("--prompt-tokens", "4", "--output-tokens", "4", "--requests", "12", "--warmup", "1")


@pytest.mark.mlflow
@pytest.mark.parametrize("handler", [Spilling, Refusing, Redirecting, NotHttp])
def test_a_run_keeps_and_shows_no_part_of_a_key(handler: type[Spilling], tmp_path: Path) -> None:
    with serving(handler) as url:
        given = ["--endpoint", url, "--model", "m", "--home", str(tmp_path)]
        said = [said_by(["run", *given, *SMALL, "--concurrency", "2", "--json"])]
        if handler is Spilling:
            assert (tmp_path / "mlflow.db").exists(), said[0].decode()
            said += [said_by(["show", "last", "--home", str(tmp_path)])]
    assert spilled(tmp_path, *said) == {}


@pytest.mark.mlflow
@pytest.mark.parametrize("handler", [Spilling, Refusing, Redirecting, NotHttp])
def test_other_commands_keep_and_show_no_part_of_a_key(
    handler: type[Spilling], tmp_path: Path
) -> None:
    with serving(handler) as url:
        home = ["--home", str(tmp_path)]
        said = [
            said_by([*arguments, "--endpoint", url, *home])
            for arguments in (
                ["ask", "two words", "--model", "m"],
                ["ask", "two words", "--model", "m", "--raw", "--completions"],
                ["watch", "--once", "--json"],
                ["run", "--model", "of-another-name"],
            )
        ]
    assert spilled(tmp_path, *said) == {}
    assert b"***" in b"".join(said) or handler is NotHttp


@pytest.mark.mlflow
@pytest.mark.parametrize("handler", [Spilling, Refusing, Redirecting, NotHttp])
def test_the_library_tells_no_part_of_a_key(handler: type[Spilling]) -> None:
    said = []
    with serving(handler) as url:
        for path in ("/models", "/nothing", "/chat/completions"):
            try:
                said.append(fetch(url + path, access=Access(KEY)).message())
            except JournalError as error:
                said.append(f"{error} {error!r}")
        asking = {"role": "user", "content": "two words"}
        question = Question(base_url=url, model="m", messages=(asking,), api_key=KEY)
        said += [f"{one.answer} {one.error} {one.finish_reason}" for one in ask(question)]
    assert parts_in("\n".join(said).encode()) == set()
