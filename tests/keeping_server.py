"""A server that keeps what it was sent: the path, the bytes and the time of every request."""

import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "keeper"
BLOCK_TOKENS = 16


@dataclass(frozen=True)
class Kept:
    """One request for tokens, as it came; `at_s` on the monotonic clock."""

    path: str
    body: bytes
    at_s: float

    @property
    def fields(self) -> Mapping[str, Any]:
        return json.loads(self.body)

    @property
    def streamed(self) -> bool:
        """Whether its answer is a stream."""
        return bool(self.fields.get("stream"))

    @property
    def text(self) -> str:
        """The prompt, or the last message."""
        fields = self.fields
        return str(fields["prompt"] if "prompt" in fields else fields["messages"][-1]["content"])


@dataclass
class Keeper:
    """A running server, and the requests that it was sent so far, in the order of their arrival."""

    url: str
    kept: list[Kept] = field(default_factory=list)

    def loads(self) -> list[Kept]:
        """The requests of loads, without probes, which ask for one token."""
        return [one for one in self.kept if one.fields.get("max_tokens") != 1]


def natural_length(text: str, longest: int) -> int:
    """The tokens of the answer to `text` where its end is the server's: some number below `longest`
    that the text decides."""
    return 1 + zlib.crc32(text.encode()) % max(1, longest - 1)


@contextmanager
def keeping(*, token_s: float = 0.001, token_prompts: bool = True) -> Iterator[Keeper]:
    """A server of one model, which answers each request with as many tokens as it asks for, or with
    `natural_length` of them where it may end them itself."""
    keeper = Keeper("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._whole({"data": [{"id": MODEL, "max_model_len": 4096}]})
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            one = Kept(self.path, body, time.monotonic())
            keeper.kept.append(one)
            fields = one.fields
            prompt = fields.get("prompt", one.text)
            if isinstance(prompt, list) and not token_prompts:
                self._whole({"error": {"message": "no token ids"}}, status=400)
                return
            count = len(prompt) if isinstance(prompt, list) else len(str(prompt).split())
            longest = fields.get("max_tokens", fields.get("max_completion_tokens", 16))
            length = longest if fields.get("ignore_eos") else natural_length(one.text, longest)
            usage = {"prompt_tokens": count, "completion_tokens": length}
            usage["total_tokens"] = count + length
            if one.streamed:
                self._stream(length, longest, usage)
            else:
                self._whole({"choices": [{"text": "w", "finish_reason": "length"}], "usage": usage})

        def _stream(self, length: int, longest: int, usage: Mapping[str, int]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            chat = self.path.endswith("chat/completions")
            for number in range(length):
                time.sleep(token_s)
                last = number == length - 1
                reason = ("length" if length == longest else "stop") if last else None
                piece = {"delta": {"content": "w "}} if chat else {"text": "w "}
                self._event({"choices": [{"index": 0, **piece, "finish_reason": reason}]})
            self._event({"choices": [], "usage": usage})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")

        def _event(self, payload: object) -> None:
            self._chunk(b"data: " + json.dumps(payload).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

        def _whole(self, payload: object, status: int = 200) -> None:
            body = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    keeper.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield keeper
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
