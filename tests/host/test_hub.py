"""A model by its name on the hub, against a server on loopback that answers as the hub does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from builders_gguf import gguf_file

from journal.errors import JournalError, NotFound, SpecError
from journal.host.fit import fit
from journal.host.hub import ask_hub

SMALL = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}


SMALL_GGUF = {
    "general.architecture": "llama",
    "tokenizer.ggml.tokens": ["a", "b"],
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 4096,
}


def safetensors(tensors: dict[str, tuple[str, list[int], int]], padding: int = 0) -> bytes:
    """A file with these tensors: dtype, shape and bytes of each."""
    header: dict[str, object] = {"__metadata__": {"note": "x" * padding}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(at)


MATRIX = ("BF16", [1000, 100], 200_000)
ONE = {"model.layers.0.w": MATRIX, "model.layers.2.mtp": MATRIX, "mtp.fc.weight": MATRIX}
FILES = {
    "open/one": {
        "config.json": json.dumps(SMALL).encode(),
        "model.safetensors": safetensors(ONE),
    },
    "open/long-header": {
        "config.json": json.dumps(SMALL).encode(),
        "model.safetensors": safetensors({"w": MATRIX}, padding=150_000),
    },
    "open/shards": {
        "config.json": json.dumps({**SMALL, "model_type": "unheard-of"}).encode(),
        "model.safetensors.index.json": json.dumps(
            {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        ).encode(),
        "model-1.safetensors": safetensors({"a": ("F32", [1000, 100], 400_000)}),
        "model-2.safetensors": safetensors({"b": MATRIX}),
    },
    "open/pickled": {"config.json": json.dumps({**SMALL, "model_type": "unheard-of"}).encode()},
    "open/packed": {
        "m-Q4_K_M-00001-of-00002.gguf": gguf_file(
            SMALL_GGUF, {"token_embd.weight": (12, [64, 256])}
        ),
        "m-Q4_K_M-00002-of-00002.gguf": gguf_file(
            {}, {"output.weight": (12, [64, 256]), "output_norm.weight": (0, [64])}
        ),
        "m-Q8_0.gguf": gguf_file(SMALL_GGUF, {"token_embd.weight": (8, [64, 256])}),
        "mmproj-F16.gguf": gguf_file({}, {}),
    },
    "gated/one": {"config.json": json.dumps(SMALL).encode()},
}


class Hub(BaseHTTPRequestHandler):
    """The hub's answers to requests for files; large ones lie on another host."""

    protocol_version = "HTTP/1.1"
    store = ""
    seen: ClassVar[list[tuple[str, str | None, int]]] = []

    def do_GET(self) -> None:
        self.answer(self.file())

    def do_HEAD(self) -> None:
        self.answer(self.file(), head=True)

    def file(self) -> bytes | int:
        if self.path.startswith("/api/models/"):
            files = FILES.get(self.path.removeprefix("/api/models/"))
            names = [{"rfilename": file} for file in files or ()]
            return json.dumps({"siblings": names}).encode() if files else 404
        owner, name, _, _, file, *_ = (self.path.strip("/").split("/") + [""] * 5)[:6]
        token = self.headers.get("Authorization")
        if owner == "gated" and token != "Bearer right":
            return 401 if token is None else 403
        return FILES.get(f"{owner}/{name}", {}).get(file, 404)

    def answer(self, body: bytes | int, *, head: bool = False) -> None:
        if isinstance(body, int):
            self.send_response(body)
            code = {404: "EntryNotFound", 401: "RepoNotFound", 403: "GatedRepo"}[body]
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.store and self.path.endswith(".safetensors") and not head:
            self.send_response(302)
            self.send_header("Location", self.store + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        part = body
        if wanted is not None:
            first, last = wanted.removeprefix("bytes=").split("-")
            part = body[int(first) : int(last) + 1]
        type(self).seen.append((self.path, self.headers.get("Authorization"), len(part)))
        self.send_response(200 if wanted is None else 206)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if not head:
            self.wfile.write(part)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """The hub on one port, its store of large files on another."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    store = type("Store", (Hub,), {"seen": [], "store": ""})
    there = ThreadingHTTPServer(("127.0.0.1", 0), store)
    front = type("Front", (Hub,), {"seen": store.seen})
    here = ThreadingHTTPServer(("127.0.0.1", 0), front)
    front.store = f"http://127.0.0.1:{there.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{here.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for each in (here, there):
        threading.Thread(target=each.serve_forever, args=(0.01,), daemon=True).start()
    yield front
    assert not (tmp_path / "cache").exists()  # nothing is kept
    for each in (here, there):
        each.shutdown()
        each.server_close()


def test_sizes_come_from_the_config_and_the_headers(server: type[Hub]) -> None:
    advice = fit("open/one", vram_bytes=8 * 2**30)
    assert advice.known_from.startswith("its config.json and the headers of its safetensors files")
    weights = {c.precision: c.weight_bytes for c in advice.places[0].fit.choices}
    rotations = 2 * 4096 * 16  # which the engine makes; without what guesses ahead
    assert weights["fp16"] == pytest.approx(200_000 + rotations, rel=0.01)
    assert advice.kv_bytes_per_token == 2 * 2 * 2 * 16 * 2
    assert sum(size for _, _, size in server.seen) < 500_000


def test_a_family_that_is_not_known_is_sized_by_its_headers(server: type[Hub]) -> None:
    advice = fit("open/shards", vram_bytes=8 * 2**30)
    (choice,) = advice.places[0].fit.choices
    assert choice.weight_bytes == 400_000  # of 32 bits, as engines convert them


def test_a_header_that_is_longer_than_the_first_look(server: type[Hub]) -> None:
    tensors = ask_hub("open/long-header").tensors
    assert tensors is not None
    assert [tensor.bytes for tensor in tensors] == [200_000]


def test_a_token_opens_what_is_gated(server: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JournalError, match="set HF_TOKEN, or check the name"):
        ask_hub("gated/one")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(JournalError, match="shows gated/one to no holder of this HF_TOKEN"):
        ask_hub("gated/one")
    monkeypatch.setenv("HF_TOKEN", "right")
    found = ask_hub("gated/one")
    assert (found.config["hidden_size"], found.tensors) == (64, None)


def test_a_token_is_not_sent_to_the_store_of_files(
    server: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "right")
    ask_hub("open/one")
    assert {token for path, token, _ in server.seen if path.endswith("tensors")} == {None}


def test_a_refusal_says_what_is_missing_and_asks_for_nothing_that_was_given(
    server: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="has no model open/none with a config"):
        ask_hub("open/none")
    with pytest.raises(SpecError, match="'unheard-of' model are not counted here, and http") as why:
        fit("open/pickled", gpu="T4")
    assert "folder" not in str(why.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SpecError, match="HF_HUB_OFFLINE forbids asking the hub"):
        fit("open/one", gpu="T4")


def test_a_folder_is_sized_by_its_headers(tmp_path: Path) -> None:
    for file, body in FILES["open/shards"].items():
        (tmp_path / file).write_bytes(body)
    advice = fit(str(tmp_path), vram_bytes=8 * 2**30)
    assert "headers" in advice.known_from
    assert advice.places[0].fit.choices[0].weight_bytes == 400_000
    for file in FILES["open/shards"]:
        if file != "config.json":
            (tmp_path / file).unlink()
    with pytest.raises(SpecError, match="holds no whole safetensors checkpoint"):
        fit(str(tmp_path), vram_bytes=8 * 2**30)
    (tmp_path / "config.json").unlink()
    with pytest.raises(SpecError, match=r"holds no config.json: name the folder of a model"):
        fit(str(tmp_path), vram_bytes=8 * 2**30)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(SpecError, match=r"model.gguf is not a complete GGUF file"):
        fit(str(tmp_path), vram_bytes=8 * 2**30)


def test_a_gguf_file_on_the_hub_is_sized_by_the_beginning_of_its_parts(server: type[Hub]) -> None:
    advice = fit("open/packed:Q4_K_M", vram_bytes=8 * 2**30)
    (choice,) = advice.places[0].fit.choices
    assert (choice.precision, advice.kv_bytes_per_token) == ("gguf", 2 * 2 * 2 * 16 * 2)
    packed = 2 * (256 * 64 // 256 * 144) + 64 * 2  # norms are of 16 bits in an engine
    rotations = 2 * 4096 * 16
    assert choice.weight_bytes == pytest.approx(packed + rotations, rel=0.01)
    assert sum(size for _, _, size in server.seen) < 50_000
    assert fit("open/packed/m-Q8_0.gguf", vram_bytes=8 * 2**30).batch == 1
    with pytest.raises(NotFound, match=r"holds m-Q4_K_M-00001-of-00002.gguf, .*name one of them"):
        fit("open/packed:Q2_K", vram_bytes=8 * 2**30)
    with pytest.raises(SpecError, match=r"It holds GGUF files: name one, such as open/packed/m-Q4"):
        fit("open/packed", vram_bytes=8 * 2**30)
