"""Keys reach nobody but the server, files are their owner's alone, and text from elsewhere is only
text."""

import ast
import asyncio
import http.server
import json
import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import typer

import journal
from journal.chat.ask import Question, ask, whole_answer
from journal.chat.several import Pending
from journal.cli.app import app
from journal.errors import EndpointError
from journal.records.engine import Access, Endpoint
from journal.records.experiment import Engine
from journal.records.notebook import Interaction
from journal.redaction import among, hidden
from journal.serve.engines.vllm.command import command
from journal.serve.probe import fetch

Server = Callable[..., str]
ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "journal"
STAND_IN = Path(__file__).parent / "serve" / "stand_in.py"
KEY, HUB_TOKEN, ENGINE_TOKEN = "k3y-0f-the-endp0int", "hf_t0kenOfTheHub", "t0ken-0f-the-engine"
PLANTED = (KEY, HUB_TOKEN, ENGINE_TOKEN)
SMALL = ("--prompt-tokens", "8", "--output-tokens", "8", "--requests", "12", "--warmup", "1")


def holds(data: bytes) -> list[str]:
    return [secret for secret in PLANTED if secret.encode() in data]


def command_lines() -> Iterator[bytes]:
    """The arguments of every process that runs now."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def watched(arguments: list[str], variables: dict[str, str]) -> tuple[int, str, list[bytes]]:
    """`journal` run with `variables`: its exit code, all that it said, and every command line in
    which a secret stood meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "journal", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | variables,
    )
    seen: list[bytes] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen.extend(line for line in command_lines() if holds(line))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        over.set()
        watcher.join()
    return process.returncode, said, seen


def written(home: Path) -> dict[Path, list[str]]:
    """The files under `home` in which a secret stands."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "journal.db" for path in files)
    assert any(path.suffix == ".html" for path in files)
    return {path: found for path in files if (found := holds(path.read_bytes()))}


# ---- secrets ---------------------------------------------------------------------------------


class Quoting(http.server.BaseHTTPRequestHandler):
    """A server that quotes the key it was given in every error, as some do. It answers the probe of
    token ids, whose first is 1000, and fails at other streams."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"object": "list", "data": [{"id": "m"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked.get("stream") and asked.get("prompt", "-")[0] != 1000:
            self.answer(500, {"error": {"message": f"bad key {self.headers['Authorization']}"}})
            return
        usage = {"prompt_tokens": len(asked["prompt"]), "completion_tokens": 1, "total_tokens": 9}
        self.answer(200, {"choices": [{"text": "x", "finish_reason": "length"}], "usage": usage})

    def answer(self, status: int, payload: object) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_key_is_in_nothing_that_a_run_writes_says_or_starts(tmp_path: Path) -> None:
    """Against a server that quotes it in its errors, over two worker processes."""
    with answering(Quoting) as url:
        arguments = ["run", "--endpoint", url, *SMALL, "--concurrency", "2", "--processes", "2"]
        code, said, seen = watched(
            [*arguments, "--home", str(tmp_path), "--json"],
            {"JOURNAL_API_KEY": KEY, "HF_TOKEN": HUB_TOKEN},
        )
        assert code == 1 and "bad key Bearer ***" in said, said
        assert (holds(said.encode()), seen, written(tmp_path)) == ([], [], {})
        shown = subprocess.run(
            [sys.executable, "-m", "journal", "show", "last", "--home", str(tmp_path)],
            capture_output=True,
        )
        assert b"***" in shown.stdout and not holds(shown.stdout + shown.stderr)


SPILLS = """
import os, sys
print("ValueError: no access with", os.environ["HF_TOKEN"], os.environ["MY_TOKEN"], flush=True)
"""


def test_tokens_of_an_engine_are_in_nothing_that_a_run_writes_says_or_starts(
    tmp_path: Path,
) -> None:
    """An engine that spills them into its log and dies."""
    home, model, python = tmp_path / "lab", tmp_path / "model", tmp_path / "python"
    model.mkdir()
    (model / "config.json").write_text('{"max_position_embeddings": 8192}')
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} {STAND_IN} "$@"\n'
        f"exec {sys.executable} -c '{SPILLS}'\n"
    )
    python.chmod(0o700)
    (tmp_path / "x.toml").write_text(
        f'[engine]\nmodel = "{model}"\npython = "{python}"\n'
        f'[engine.env]\nSTAND_IN = "{{}}"\nMY_TOKEN = "{ENGINE_TOKEN}"\n'
    )
    code, said, seen = watched(
        ["run", str(tmp_path / "x.toml"), "--home", str(home)], {"HF_TOKEN": HUB_TOKEN}
    )
    assert code == 1 and "no access with *** ***" in said, said
    assert (holds(said.encode()), seen, written(home)) == ([], [], {})
    (log,) = (home / "engines").glob("*.log")
    assert "no access with *** ***" in log.read_text()


@pytest.mark.parametrize(
    "name",
    "HF_TOKEN api-key APIKEY AWS_SECRET_ACCESS_KEY client_secret PGPASSWORD DB_PASSWD CREDENTIALS"
    .split(),
)  # fmt: skip
def test_a_variable_that_is_named_so_is_a_secret(name: str) -> None:
    said = hidden(f"it was {KEY}!", among({name: KEY, "KEYBOARD": "it was"}))
    assert said == "it was ***!"


class Refusing(Quoting):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(400, {"error": {"message": f"not with {self.headers['Authorization']}"}})


def test_what_is_told_of_a_key_in_an_exception_is_nothing() -> None:
    with answering(Refusing) as url:
        with pytest.raises(EndpointError) as raised:
            journal.attach(url, "m", KEY)
        assert "not with Bearer ***" in str(raised.value)
        assert not holds(repr(Endpoint(base_url=url, model="m", api_key=KEY)).encode())


def asked_by_hand(url: str) -> list[Interaction]:
    """A question as `journal ask` asks it, streamed and whole, and as the chat page does."""
    said = {"role": "user", "content": "two words"}
    question = Question(base_url=url, model="m", messages=(said,), api_key=KEY)
    page = Pending(question)
    asyncio.run(page.read())
    return [list(ask(question))[-1], whole_answer(question)[0], page.so_far]


def test_a_key_that_a_server_quotes_is_in_no_answer_that_is_kept() -> None:
    with answering(Refusing) as url:
        for told in asked_by_hand(url):
            assert told.error is not None and "not with Bearer ***" in told.error


@contextmanager
def redirecting() -> Iterator[tuple[str, list[str]]]:
    """A server that redirects all to another one, and the paths that this one was asked for."""
    met: list[str] = []

    class Elsewhere(Quoting):
        def do_GET(self) -> None:
            met.append(self.path)
            self.answer(200, {})

        do_POST = do_GET

    with answering(Elsewhere) as elsewhere:

        class Redirecting(Quoting):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(307)
                self.send_header("Location", elsewhere + "/models")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

        with answering(Redirecting) as url:
            yield url, met


def test_a_redirect_does_not_carry_the_key_to_another_host(tmp_path: Path) -> None:
    with redirecting() as (url, met):
        with pytest.raises(EndpointError, match="redirects to"):
            fetch(url + "/models", access=Access(KEY))
        endpoint = Endpoint(base_url=url, model="m", api_key=KEY, has_metrics=True)
        grid = journal.Grid(batch=(1,), prompt_tokens=(4,), output_tokens=(2,))
        asked = journal.Experiment(
            name="redirected", grid=grid, load=journal.Load(requests=3, warmup=1)
        )
        (record,) = journal.run(asked, tmp_path, endpoint=endpoint).records
        assert record.status == "failed" and "redirects are not followed" in str(record.error)
        for told in asked_by_hand(url):
            assert told.error is not None and "redirects to" in told.error
    assert met == []


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.mlflow
def test_whatever_a_run_makes_is_its_owners_alone(fake_server: Server, tmp_path: Path) -> None:
    """Even in a home that others may read, and where nothing is masked."""
    home = tmp_path / "lab"
    home.mkdir()
    home.chmod(0o755)
    before = os.umask(0)
    try:
        endpoint = journal.attach(fake_server(ttft_s=0.01, itl_s=0.001))
        asked = journal.Experiment(
            name="private",
            grid=journal.Grid(batch=(1, 2), prompt_tokens=(4,), output_tokens=(4,)),
            load=journal.Load(requests=12, warmup=1),
        )
        assert journal.run(asked, home, endpoint=endpoint).ok
    finally:
        os.umask(before)
    made = sorted(home.rglob("*"))
    assert {"journal.db", "mlflow.db", "log", "run.lock"} <= {path.name for path in made}
    open_to_others = [
        path
        for path in made
        if stat.S_IMODE(path.stat().st_mode) & 0o077
        and not any(
            stat.S_IMODE(parent.stat().st_mode) == 0o700
            for parent in path.parents
            if home in parent.parents
        )
    ]
    assert open_to_others == []


def test_no_name_leads_out_of_the_home(fake_server: Server, tmp_path: Path) -> None:
    name = "../../../escaped/\x1b[31m\x00name"
    url = fake_server(ttft_s=0.01, itl_s=0.001, model="../../up/and/away")
    endpoint = journal.attach(url)
    asked = journal.Experiment(
        name=name.replace("\x00", ""),
        question="../../../../etc/passwd",
        grid=journal.Grid(batch=(1, 2), prompt_tokens=(4,), output_tokens=(4,)),
        load=journal.Load(requests=12, warmup=1),
    )
    inner = tmp_path / "a" / "b" / "c"
    result = journal.run(asked, inner / "lab", endpoint=endpoint)
    assert result.ok
    outside = [path for path in tmp_path.rglob("*") if inner / "lab" not in (path, *path.parents)]
    assert sorted(outside) == [tmp_path / "a", tmp_path / "a" / "b", inner]


# ---- text from elsewhere ---------------------------------------------------------------------


def test_a_models_name_does_nothing_to_the_terminal(fake_server: Server, tmp_path: Path) -> None:
    name = "evil\x1b[2J\x07\x9b31m\u202e[/b][link=http://x]"
    url = fake_server(ttft_s=0.01, itl_s=0.001, model=name)
    home = ["--home", str(tmp_path)]
    said = []
    for arguments in (
        ["run", "--endpoint", url, *SMALL, *home],
        ["run", "--endpoint", url, "--model", "other\x1b[2J", *home],
        ["runs", *home],
        ["show", "last", *home],
        ["show", "\x1b[2J", *home],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "journal", *arguments], capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, done.stderr
        said.append(done.stdout + done.stderr)
    assert not [char for char in "".join(said) if char in "\x1b\x07\x9b\u202e"]
    assert "evil\\x1b[2J\\x07\\x9b31m\\x202e[/b]" in said[2] + said[3]


TEMPLATES = list(PACKAGE.rglob("*.j2"))


def test_no_template_calls_anything_safe() -> None:
    assert len(TEMPLATES) >= 2
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|\{%-?\s*raw", text), path


def test_every_page_of_jinja_escapes() -> None:
    """`select_autoescape` leaves files that end in .j2 unescaped, so it is not used."""
    made = 0
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "select_autoescape" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Environment"):
                if "jinja2" not in text:
                    continue
                made += 1
                assert "autoescape" in {keyword.arg for keyword in node.keywords}, path
    assert made >= 1


# ---- what is not done at all -----------------------------------------------------------------

FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "shelve.open",
    "tempfile.mktemp",
    "ssl._create_unverified_context",
}


def test_nothing_dangerous_is_called() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in FORBIDDEN, f"{path}:{node.lineno}"
                for keyword in node.keywords:
                    value = keyword.value
                    fixed = value.value if isinstance(value, ast.Constant) else None
                    assert not (keyword.arg == "shell" and fixed), f"{path}:{node.lineno}"
                    assert not (keyword.arg == "verify" and fixed is False), f"{path}:{node.lineno}"


def test_every_server_listens_on_loopback_unless_told() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    listening = {
        name: parameter.default
        for name, one in commands.items()
        for parameter in one.params
        if parameter.name == "host"
    }
    assert {"ui", "fake-server"} <= set(listening)
    assert set(listening.values()) == {"127.0.0.1"}, listening


def argv(engine: Engine) -> list[str]:
    return command(
        engine,
        python="python",
        model="m",
        name="n",
        host="127.0.0.1",
        port=1,
        version="0.32.0",
        on_cpu=False,
    )


def test_vllm_is_given_loopback_no_key_and_no_strangers_code() -> None:
    plain = argv(Engine(model="m", env={"VLLM_API_KEY": KEY}))
    assert plain[plain.index("--host") + 1] == "127.0.0.1"
    assert "--trust-remote-code" not in plain and not holds(" ".join(plain).encode())
    assert "--trust-remote-code" in argv(Engine(model="m", trust_remote_code=True))


FLOORS = {
    "jinja2": (3, 1, 6),  # sandbox escapes before
    "mlflow": (3, 17),
    "mlflow-skinny": (3, 17),
    "vllm": (0, 32),
    "gradio": (6, 7),  # reads any file on Windows before, and any host's before 6.6
    "pyarrow": (23, 0, 1),  # writes to freed memory before
    "ray": (2, 52),  # a page of any site runs jobs on a cluster before (CVE-2025-62593)
    "starlette": (0, 49, 1),  # a Range header costs quadratic time before (CVE-2025-62727)
    "aiohttp": (3, 13, 3),  # unpacks a bomb, and more, before (CVE-2025-69223)
}


def test_dependencies_have_floors_without_known_holes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(each for extra in extras for each in extra)]
    matches = [re.match(r"([\w-]+)(?:\[[\w,]+\])?(?:[>=]=([\d.]+))?", each) for each in asked]
    for name, least in FLOORS.items():
        floors = [match[2] for match in matches if match and match[1] == name]
        assert floors and None not in floors, name
        parts = [tuple(map(int, floor.split("."))) for floor in floors if floor]
        assert min(parts) >= least, name


def test_what_is_installed_is_above_the_floors() -> None:
    for name, least in FLOORS.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        assert tuple(map(int, re.findall(r"\d+", installed)[: len(least)])) >= least, name
