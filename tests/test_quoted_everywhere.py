"""A key in what others send or wrote, in every way of writing it: in nothing that any command shows
or writes, whether it goes as a bearer or in a header of another name."""

import asyncio
import contextlib
import itertools
import json
import logging
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import String
from test_quoted_keys import KEY, WRITERS, Refusing, Spilling, parts_in, serving, spilled

import journal
from journal import redaction
from journal.chat.ask import Question, ask
from journal.chat.several import Pending
from journal.cli.app import main
from journal.errors import JournalError
from journal.exchange.import_results import import_results
from journal.host.checks_host import check_hub
from journal.host.hub import ask_hub
from journal.monitor.exporter import Exporter
from journal.records.engine import Access
from journal.redaction import remember
from journal.serve.probe import fetch
from journal.store.store import open_store
from journal.store.tables import Row

DATA = Path(__file__).parent / "exchange" / "data"
LOG = Path(__file__).parent / "data" / "engine" / "not_in_cache.log"
Command = Callable[..., bytes]
EVERY = " ".join(f"x {write(KEY)}" for write in WRITERS).replace("\0", "\x01")  # no store takes NUL


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOURNAL_API_KEY", "HF_TOKEN", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """All that a command says, run within this process."""

    def call(*words: object) -> bytes:
        monkeypatch.setattr("sys.argv", ["journal", *map(str, words)])
        with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit):
            main()
            raise SystemExit(0)
        out, error = capfd.readouterr()
        assert "Traceback" not in error, error
        assert out + error, words
        return (out + error).encode()

    return call


def quoted(number: int, before: str = "") -> str:
    return f"{before} {WRITERS[number % len(WRITERS)](KEY)} "


def test_the_log_of_an_engine(said: Command, tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    lines = [f"{line}{quoted(n)}" for n, line in enumerate(LOG.read_text().splitlines())]
    for number in range(len(WRITERS)):
        path.write_text("\n".join([*lines, f"ValueError: {quoted(number)}"]))
        for options in ([], ["--json"], ["--lang", "zh"]):
            assert parts_in(said("explain", path, *options)) == set()


def test_a_result_of_another_tool_and_all_that_shows_it(said: Command, tmp_path: Path) -> None:
    home, result = tmp_path / "lab", tmp_path / "result.json"
    whole = json.loads((DATA / "vllm-errors.json").read_text())
    every = " ".join(map(quoted, range(len(WRITERS))))
    whole |= {"model_id": f"m{every}"[:500], "tokenizer_id": every[-500:], "backend": every[:500]}
    cut = enumerate(whole["errors"])
    whole["errors"] = [one and f"{'x' * (113 + n % 9)}{quoted(n)}{every}" for n, one in cut]
    result.write_text(json.dumps(whole))
    at = ["--home", home]
    texts = [said("import", result, *at), said("runs", *at), said("runs", "--json", *at)]
    texts += [said("show", "last", *at), said("show", "last", "--json", *at), said("sync", *at)]
    texts += [said("export", home / "r.jsonl", "--raw", *at), said("export", *at)]
    texts += [said("verify", *at), said("log", "2026-11-23", *at), said("recompute", *at)]
    texts += [said("compare", "last", f"model:m{KEY}", *at)]
    texts += [said("check", "--baseline", "last", "--candidate", f"model:{every}", *at)]
    assert spilled(home, *texts) == {}
    assert [*home.rglob("*.html")] and b"***" in texts[0]


def test_an_experiment_file_that_is_wrong(said: Command, tmp_path: Path) -> None:
    path, engine = tmp_path / "x.toml", '[engine]\nmodel = "m"\n'
    for number in range(len(WRITERS)):
        words = json.dumps(quoted(number))
        for text in (
            f"{engine}dtype = {words}\n",
            f"{engine}[engine.env]\nMY_TOKEN = {json.dumps(KEY)}\n[load]\nrequests = []\n",
            f'question = {words}\n[load]\nrequests = "{"x" * 100}\n',
            f"{words} = 3\n",
        ):
            path.write_text(text)
            assert parts_in(said("plan", path)) == set(), text


class Hub(Spilling):
    """A hub whose every answer holds the token."""

    def do_GET(self) -> None:
        if self.path.endswith("config.json") and "open" in self.path:
            self.answer({"model_type": self.key("llama"), "hidden_size": self.key()})
        elif self.path.endswith("index.json"):
            self.answer({"weight_map": {"a": self.key("../..")}})
        else:
            self.answer({"error": self.key("no access with")}, 403)

    do_HEAD = do_GET


def test_a_hub(said: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        for model, _ in itertools.product(("open/m", "closed/m"), WRITERS):
            texts = [said("fit", model, "--gpu", "L4")]
            try:
                ask_hub(model)
            except JournalError as error:
                texts.append(f"{error} {error!r}".encode())
            assert parts_in(b"".join(texts)) == set()
    monkeypatch.setenv("HF_ENDPOINT", f"http://me:{KEY[:9]}@127.0.0.1:9/?token={KEY}")
    assert parts_in(str(check_hub({"HF_ENDPOINT": f"http://127.0.0.1:9/{KEY}"})).encode()) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["watch"],
        ["chat"],
        ["exporter"],
        ["doctor"],
        ["runs", "--home"],
        ["log"],
        ["verify", "--home"],
    ],
)
@pytest.mark.parametrize(
    "address", [f"http://me:{KEY}@127.0.0.1:9/v1", f"postgresql://me:{KEY}@h/x", "http://me:pw1@h"]
)
def test_an_address_where_a_command_takes_none(
    words: list[str], address: str, said: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JOURNAL_API_KEY")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.chdir(tmp_path)
    text = said(*words, address)
    assert parts_in(text) == set() and b"pw1" not in text
    assert [*tmp_path.iterdir()] == []


def test_the_doctor(said: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub, an interpreter and a home that hold or quote the key."""
    with serving(Hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", f"{url}?token={KEY}")
        python = tmp_path / f"python-{KEY.replace('/', '-')}"
        assert parts_in(said("doctor", "--home", tmp_path, "--python", python)) == set()


def test_the_exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows that another program wrote, and servers that quote the key in all that they send."""
    prometheus_client = pytest.importorskip("prometheus_client")
    import_results(DATA / "vllm-closed.json", tmp_path)
    every = " ".join(map(quoted, range(len(WRITERS))))
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.execute("UPDATE runs SET model = ?, quantisation = ?", (every, every))
        database.commit()
    with serving(Spilling) as url, open_store(tmp_path) as store:
        registry = prometheus_client.CollectorRegistry()
        with pytest.raises(JournalError) as refused:
            Exporter(store, tmp_path, [f"http://me:{KEY}@127.0.0.1:9/v1"])
        registry.register(Exporter(store, tmp_path, [url, f"http://127.0.0.1:9/v1?key={KEY}"]))
        pages = [prometheus_client.generate_latest(registry) for _ in WRITERS]
    assert parts_in(b"".join([*pages, str(refused.value).encode()])) == set()
    assert b"journal_run" in pages[0] and b"***" in pages[0]


KEPT = ("id", "status", "outcome", "name", "severity", "api", "source", "identity", "requests_file")
WORDS = ("api", "kind", "status", "state", "source", "tokenizer", "severity")  # known ones, in JSON


def spilling(tree: object, under: str = "") -> object:
    """`tree` with the key in all its texts."""
    if isinstance(tree, dict):
        return {name: spilling(item, name) for name, item in tree.items()}
    if isinstance(tree, list):
        return [spilling(item, under) for item in tree]
    return f"{tree} {EVERY}" if isinstance(tree, str) and under not in WORDS else tree


def spill_into(database: sqlite3.Connection) -> None:
    """Put the key into every text of every table, but for ids, and for notes, which are kept byte
    for byte."""
    for table in Row.metadata.tables.values():
        for column in table.columns if table.name not in ("notes", "tags") else ():
            if not isinstance(column.type, String) or column.name.removeprefix("run_") in KEPT:
                continue
            place = f'"{table.name}" SET "{column.name}" = ?'
            for row, text in database.execute(
                f'SELECT rowid, "{column.name}" FROM "{table.name}"'
            ).fetchall():
                spilt = f"{text or ''} {EVERY}"
                if text and text[0] in "{[":
                    spilt = json.dumps(spilling(json.loads(text)))
                if text or column.name in ("error", "mlflow_error"):
                    database.execute(f"UPDATE {place} WHERE rowid = ?", (spilt, row))


def test_rows_of_another_program(said: Command, tmp_path: Path) -> None:
    """Rows with the key in every text, in all that shows them or gives them out."""
    home, out = tmp_path / "lab", tmp_path / "out"
    for name in ("vllm-closed.json", "vllm-open.json"):
        import_results(DATA / name, home)
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as database, database:
        runs = [f"run:{name}" for (name,) in database.execute("SELECT id FROM runs ORDER BY id")]
        ids = "mlflow_run_id = 'm'"
        database.execute(f"UPDATE experiments SET {ids}, mlflow_experiment_id = '1'")
        database.execute(f"UPDATE runs SET {ids}")
        spill_into(database)
    at = ["--home", home]
    texts = [said(command, *at) for command in ("runs", "verify", "log", "checklist", "quiz")]
    texts += [said(*command, *at) for command in (("show", "last"), ("log", "2026-11-23"))]
    texts += [said(command, "--json", *at) for command in ("runs", "verify", "show", "quiz")]
    reports = ["--junit", out / "gate.xml", "--markdown", out / "gate.md"]
    texts += [said("check", "--baseline", runs[0], "--candidate", runs[1], *reports, *at)]
    for options in ([], ["--json"], ["--html", out / "page.html"]):
        texts.append(said("compare", runs[0], runs[1], *options, *at))
    texts += [said("whatif", "--slo-ttft-ms", 50, *more, *at) for more in ([], ["--json"])]
    for name, options in (("a.csv", []), ("a.jsonl", ["--raw"]), ("r", ["--to", "llm-d"])):
        texts.append(said("export", out / name, *options, *at))
    texts += [said("export", *at), said("recompute", *at), said("sync", *at)]
    assert [spilled(folder) for folder in (out, home / "log")] == [{}, {}]
    assert parts_in(b"".join(texts)) == set()
    made = {path.suffix for folder in (out, home / "log") for path in folder.rglob("*.*")}
    assert made >= {".csv", ".jsonl", ".json", ".html", ".md", ".xml"}


class Tracking(Spilling):
    """A tracking server of MLflow that quotes its token in every refusal."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"error_code": self.key("BAD"), "message": self.key("x" * 285)}, 400)

    do_POST = do_GET


def test_a_tracking_server(said: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where a program that uses the library shows the log of MLflow."""
    monkeypatch.setattr(logging.getLogger("mlflow"), "handlers", [logging.StreamHandler()])
    with serving(Tracking) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url.removesuffix("/v1"))
        texts = [said("import", DATA / "vllm-closed.json", "--home", tmp_path)]
        texts += [said("sync", "--home", tmp_path) for _ in WRITERS]
    assert spilled(tmp_path, *texts) == {}
    assert b"0 logged" in texts[-1]


@pytest.mark.mlflow
@pytest.mark.parametrize("file", [".mlflow/credentials", ".netrc"])
def test_a_password_for_a_tracking_server_that_stands_in_a_file(
    file: str, said: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("JOURNAL_API_KEY", "HF_TOKEN", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(redaction, "_remembered", set())
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    password = KEY.replace("%", "%%") if file.startswith(".mlflow") else json.dumps(KEY)
    path.write_text(
        f"[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = {password}\n"
        if file.startswith(".mlflow")
        else f"machine 127.0.0.1\nlogin me\npassword {password}\n"
    )
    path.chmod(0o600)
    monkeypatch.setattr(Spilling, "key", lambda _, padding="": quoted(next(COUNT), padding))
    with serving(Tracking) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url.removesuffix("/v1"))
        texts = [said("import", DATA / "vllm-closed.json", "--home", tmp_path / "lab")]
        texts += [said("sync", "--home", tmp_path / "lab") for _ in WRITERS]
    assert spilled(tmp_path / "lab", *texts) == {}
    assert b"0 logged" in texts[-1] and b"***" in b"".join(texts)


@pytest.mark.parametrize("name", ["X-Api-Key", "api-key", "Authorization", "X-Whatever", "Cookie"])
@pytest.mark.parametrize("handler", [Spilling, Refusing])
def test_a_key_in_a_header(
    name: str,
    handler: type[Spilling],
    said: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("JOURNAL_API_KEY")
    monkeypatch.setattr(Spilling, "key", lambda _, padding="": quoted(next(COUNT), padding))
    header = ["--header", f"{name}: Bearer {KEY}"]
    with serving(handler) as url:
        to = ["--endpoint", url, "--model", "m", "--home", tmp_path]
        texts = [said("ask", "so?", *to, *header), said("ask", "so?", "--raw", *to, *header)]
    assert spilled(tmp_path, *texts) == {}
    access = Access(None, ((name, f"Bearer {KEY}"),))
    assert KEY in "".join(access.secrets)


COUNT = itertools.count()


@pytest.mark.parametrize("handler", [Spilling, Refusing])
def test_the_chat_page_and_the_library(handler: type[Spilling]) -> None:
    said = []
    with serving(handler) as url:
        asked = ({"role": "user", "content": "two words"},)
        for _ in WRITERS:
            page = Pending(Question(base_url=url, model="m", messages=asked, api_key=KEY))
            asyncio.run(page.read())
            said += [repr(page.so_far), *map(repr, ask(page.question))]
            said.append(fetch(url + "/nothing", access=Access(KEY)).message())
    assert parts_in("\n".join(said).encode()) == set()


def test_the_check_can_fail() -> None:
    remember(KEY)
    for number in range(len(WRITERS)):
        assert parts_in(quoted(number).encode()), number
    assert journal.__version__
