"""Servers of the OpenAI API with the dialects of real ones, each a function of the request."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request; `body` is empty for a GET."""

    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def words(self) -> int:
        """The words of its prompt; of token ids their number."""
        prompt = self.body.get("prompt")
        if isinstance(prompt, list):
            return len(prompt)
        text = self.body["messages"][0]["content"] if prompt is None else prompt
        return len(text.split())


@dataclass(frozen=True)
class Told:
    """One answer: `content` is bytes, or JSON."""

    status: int
    content: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


Answers = Callable[[Asked], Told]


def refused(status: int, words: str, **headers: str) -> Told:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Told(status, {"error": {"message": words}}, named)


def answered(asked: Asked, *, usage: bool = True) -> Told:
    """An answer of as many tokens as were asked for, streamed where that was."""
    body = asked.body
    tokens = body.get("max_tokens", body.get("max_completion_tokens", 4))
    counts = {"prompt_tokens": asked.words, "completion_tokens": tokens}
    text = asked.path.endswith("/chat/completions")
    if not body.get("stream"):
        choice: dict[str, Any] = {"finish_reason": "length"}
        choice |= {"message": {"content": "a" * tokens}} if text else {"text": "a" * tokens}
        return Told(200, {"choices": [choice], "usage": counts})
    chunks = []
    for k in range(tokens):
        reason = "length" if k == tokens - 1 else None
        said = {"delta": {"content": "a "}} if text else {"text": "a "}
        chunks.append({"choices": [{**said, "finish_reason": reason}]})
    wanted = usage and (body.get("stream_options") or {}).get("include_usage")
    chunks += [{"choices": [], "usage": counts}] if wanted else []
    data = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    return Told(200, data + b"data: [DONE]\n\n", {"Content-Type": "text/event-stream"})


def listing(*names: str) -> Told:
    return Told(200, {"data": [{"id": name} for name in names]})


def chatting(asked: Asked, **how: Any) -> Told:
    """A server of the model `m` with chat alone, below /v1."""
    if asked.path == "/v1/models":
        return listing("m")
    if asked.path == "/v1/chat/completions":
        return answered(asked, **how)
    return refused(404, "Not Found")


@contextmanager
def scripted(answers: Answers, tls: Any = None) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server that gives `answers`, without a path, and all that it was asked."""
    met: list[Asked] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(path, query, headers, body)
            met.append(asked)
            told = answers(asked)
            content = told.content
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(told.status)
            for name, value in {"Content-Length": str(len(data)), **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass  # a client that does not like the certificate goes away

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_port}", met
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hub(status: int) -> Iterator[str]:
    """The address of a model hub that answers every HEAD request with `status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
