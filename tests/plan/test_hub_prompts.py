"""Prompts of a data set on the hub: the split and the column that are chosen, what is kept, and
what cannot be fetched."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from journal.errors import MissingExtra, SpecError
from journal.plan import hub_prompts
from journal.plan.cells import cells
from journal.plan.hub_prompts import full_name, hub_file
from journal.plan.own_prompts import with_workload
from journal.plan.prompt_file import read_lines
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Load
from journal.records.workload import Workload


class Rows:
    """A stream of rows, as the library gives one."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.column_names = rows, list(rows[0]) if rows else None

    def take(self, count: int) -> Iterator[dict[str, Any]]:
        return islice(iter(self.rows), count)

    def select_columns(self, names: list[str]) -> "Rows":
        return Rows([{name: row[name] for name in names} for row in self.rows])


CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "Why not?"},
]
SPLITS = {
    "test": Rows(
        [{"id": 1, "prompt": "one"}, {"id": 2, "prompt": ""}, {"id": 3, "prompt": "three"}]
    ),
    "train": Rows([{"id": 1, "messages": CHAT, "prompt": "the same as text"}]),
    "odd": Rows([{"rows": 1}]),
    "empty": Rows([{"prompt": None}, {"prompt": 7}]),
}


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The repositories that were asked for, each of which has SPLITS."""
    asked: list[str] = []

    def splits(name: Any) -> dict[str, Rows]:
        asked.append(name.repository)
        return SPLITS

    monkeypatch.setenv("JOURNAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_prompts, "_splits", splits)
    return asked


def test_train_and_the_best_column_are_taken_and_named(fetched: list[str]) -> None:
    assert full_name("hub:acme/asks") == "hub:acme/asks:train:messages"
    assert full_name("hub:acme/asks/main:test") == "hub:acme/asks/main:test:prompt"
    assert full_name("hub:acme/asks::prompt") == "hub:acme/asks:train:prompt"
    (line,) = read_lines(hub_file("hub:acme/asks"))
    assert [one["content"] for one in line.fields["messages"]] == ["Be brief.", "Why?"]


def test_what_was_fetched_is_kept(fetched: list[str]) -> None:
    short, full = full_name("hub:acme/asks"), full_name("hub:acme/asks:train:messages")
    assert hub_file("hub:acme/asks") == hub_file(full) == hub_file(short)
    assert fetched == ["acme/asks"]
    assert hub_file("hub:acme/asks").stat().st_mode & 0o077 == 0


def test_a_data_set_is_a_workload_that_is_named_in_full() -> None:
    asked = Workload(prompts="hub:acme/asks:test")
    experiment = with_workload(Experiment(name="x", workload=asked, load=Load(warmup=0)))
    (cell,) = cells(experiment, model="here")
    assert cell.workload.name == "hub:acme/asks:test:prompt"
    server = Endpoint(base_url="http://127.0.0.1:1/v1", model="here")
    sent = [json.loads(one.content)["prompt"] for one in requests(cell, server, "run")]
    assert sent == ["one", "three"]  # and not the row without one


def test_chats_are_held_as_conversations() -> None:
    asked = Workload(prompts="hub:acme/asks", turns=4)
    experiment = with_workload(Experiment(name="x", workload=asked, load=Load(warmup=0)))
    assert experiment.load.requests == 2  # the turns of the one chat


def test_no_more_is_taken_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPLITS, "many", Rows([{"text": f"n{n}"} for n in range(100)]))
    monkeypatch.setattr(hub_prompts, "MOST_ROWS", 10)
    assert len(list(read_lines(hub_file("hub:acme/asks:many")))) == 10
    monkeypatch.setattr(hub_prompts, "MOST_BYTES", 40)
    assert len(list(read_lines(hub_file("hub:acme/other:many")))) == 2  # of 17 bytes each


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hub:asks", "is no name of a data set: write hub:OWNER/NAME"),
        ("hub:a/b/c/d", "is no name of a data set"),
        ("hub:acme/asks:dev", r"has no split 'dev' \(it has: test, train, odd, empty\)"),
        ("hub:acme/asks:odd", r"has no column messages or .*\(it has: rows\)"),
        ("hub:acme/asks:train:answer", r"no column answer: name one .*\(it has: id, messages"),
        ("hub:acme/asks:empty", "has no row with a prompt that can be sent"),
    ],
)
def test_what_cannot_be_sent_is_one_sentence(name: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        full_name(name)


def test_a_folder_is_not_taken_for_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fetched: list[str]
) -> None:
    (tmp_path / "acme" / "asks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="there is a folder acme/asks here"):
        full_name("hub:acme/asks")
    assert fetched == []


def test_the_extra_is_named_where_its_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_prompts, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"hub:acme/asks needs .*serving-journal\[datasets\]"):
        full_name("hub:acme/asks")


class Hub(BaseHTTPRequestHandler):
    """A hub with one data set, acme/asks, whose splits are files of JSON lines."""

    FILES: ClassVar = {
        "train.jsonl": b'{"question": "what is 1?"}\n{"question": "what is 2?"}\n',
        "test.jsonl": b'{"question": "what is 3?"}\n',
    }

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        content = self._content(urlsplit(self.path).path)
        self.send_response(404 if content is None else 200)
        self.send_header("X-Repo-Commit", "1" * 40)
        self.send_header("ETag", '"1"')
        self.send_header("X-Error-Code", "EntryNotFound" if "asks" in self.path else "RepoNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET" and content:
            self.wfile.write(content)

    def _content(self, path: str) -> bytes | None:
        if "/resolve/" in path:
            return self.FILES.get(path.rpartition("/")[2])
        if "/tree/" in path:
            listed = [
                {"type": "file", "path": name, "size": len(text), "oid": "0" * 40}
                for name, text in self.FILES.items()
            ]
            return json.dumps(listed).encode() if path.endswith("1" * 40) else None
        if path.startswith("/api/datasets/acme/asks"):
            return json.dumps({"id": "acme/asks", "sha": "1" * 40}).encode()
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_the_library_reads_a_hub_on_this_machine(tmp_path: Path) -> None:
    """Both names in one process, as the library takes seconds to import and reads its settings
    then."""
    code = """
from journal.errors import SpecError
from journal.plan.hub_prompts import full_name, hub_file
print(full_name("hub:acme/asks"), hub_file("hub:acme/asks").read_text().split("\\n")[:2])
try:
    full_name("hub:acme/none")
except SpecError as error:
    print(error)
"""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    places = {"HF_HOME": tmp_path / "hf", "JOURNAL_CACHE": tmp_path / "cache"}
    env = {**os.environ, **{name: str(place) for name, place in places.items()}}
    env |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("hub:acme/asks:train:question ")
    assert "what is 1?" in first
    assert "what is 2?" in first
    assert second.startswith("hub:acme/none could not be fetched from the hub (404")
