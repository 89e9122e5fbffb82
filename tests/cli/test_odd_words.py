"""Any word at all where a command takes one: it is taken, or refused in one short sentence, at once
and without a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journal.cli.app import app
from journal.errors import JournalError

DATA = Path(__file__).parents[1] / "exchange" / "data"
WORDS = ["nan", "1e400", "-1", "9" * 5000, "٣", "", "\0", "x" * 5000, "1," * 3000, "../..", "%41"]
PLAN = ("plan", "batch-size", "--model", "m")
# Options and arguments, each with the words before it; {} is the odd word.
PLACES: list[tuple[str, ...]] = [
    *((*PLAN, f"--{name}={{}}") for name in ("concurrency", "rate", "requests", "mix", "body")),
    *((*PLAN, f"--{name}={{}}") for name in ("prompts", "trace", "seed", "slo-ttft-ms")),
    ("check", "--baseline", "last", "--candidate", "last", "--max-regression=ttft_s.p50={}"),
    ("compare", "{}", "last"),
    ("show", "{}"),
    ("tag", "{}", "last"),
    ("tag", "name", "--day={}"),
    ("quiz", "{}"),
    ("answer", "throughput", "{}"),
    ("log", "{}"),
    ("try", "last", "--set=engine.max_num_seqs={}"),
    ("whatif", "--slo-ttft-ms={}"),
    ("compact", "--older-than={}"),
    ("export", "--run={}"),
    ("fit", "llama-3-8b", "--vram={}"),
]


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refusal(*words: str | Path) -> str | None:
    """What a command says that ends with an error; None where it does its work."""
    with within(60):
        done = CliRunner().invoke(app, [str(word) for word in words], input="")
    if isinstance(done.exception, JournalError):
        return str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return None if done.exit_code == 0 else done.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert refusal("import", DATA / "vllm-closed.json", "--home", home) is None
    return home


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_any_word_is_taken_or_refused_in_a_short_sentence(
    place: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    own = [] if place[0] in ("plan", "fit") else ["--home", str(home)]
    for odd in WORDS:
        said = refusal(*(word.replace("{}", odd) for word in place), *own)
        assert said is None or len(said) < 3000, said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PLAN, f"--body=a={'[' * 20_000}"), "what follows a= is not JSON"),
        (("compact", "--older-than=2147483648"), "is not a number of days"),
        (("demo", "--no-open", "--home=file"), "cannot be written"),
        (("rent", "batch-size", "--gpu=L4", "--out=folder"), "no task of ours"),
        (("rent", "batch-size", "--gpu=L4", "--out=pipe"), "no task of ours"),
        (("explain", "/dev/zero"), "is a device"),
    ],
)
def test_a_word_that_cannot_be_used_is_named(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert said in (refusal(*words) or "")
    assert Path("file").read_text() == "mine"


LONG = "x" * 5000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [LONG, f"{LONG}.toml", "file/x"], ids=["long", "toml", "in a file"]
)
@pytest.mark.parametrize(
    "words",
    [
        *(("import", "{}"), ("explain", "{}"), ("plan", "{}"), ("merge", "{}"), ("serve", "{}")),
        *((*PLAN, "--prompts={}"), (*PLAN, "--trace={}"), (*PLAN, "--mix=1:@{}:4")),
        *(("fit", "{}", "--gpu=L4"), ("dashboards", "{}"), ("demo", "--no-open", "--home={}")),
        *(("export", "{}", "--format=csv"), ("rent", "batch-size", "--gpu=L4", "--out={}")),
        *((name, "--home={}") for name in ("log", "runs", "verify", "quiz", "compact")),
    ],
    ids=lambda words: words[0],
)
def test_a_path_that_cannot_be_looked_up_is_named(
    words: tuple[str, ...], name: str, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    own = ["--home", str(home)] if words[0] in ("import", "merge", "export") else []
    said = refusal(*(word.replace("{}", name) for word in words), *own)
    assert said and len(said) < 3000


def test_a_path_that_is_no_plain_file_is_written_to_and_not_replaced(
    home: Path, tmp_path: Path
) -> None:
    """Neither a pipe nor what stands for an open file, such as /dev/stdout."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for words in (["export", "--format=csv"], ["show", "last", "--figure"]):
        reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
        assert refusal(*words, pipe, "--home", home) is None
        read = reader.communicate(timeout=30)[0]
        assert len(read) > 100 and pipe.is_fifo() and [*tmp_path.iterdir()] == [pipe]
    with (tmp_path / "out").open("wb") as out:
        opened = f"/proc/self/fd/{out.fileno()}"
        command = [sys.executable, "-m", "journal", "export", opened, "--format=csv"]
        subprocess.run([*command, "--home", home], pass_fds=[out.fileno()], check=True)
    assert "started_at" in (tmp_path / "out").read_text().split("\n")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a?b=c#d", "%41;e", "-x", "new\nline", "日本 'é\"", "~"])
def test_a_home_of_any_name_holds_all_that_is_written(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        *(["import", str(DATA / "vllm-closed.json")], ["tag", "base", "last"], ["quiz"], ["runs"]),
        *(["answer", "throughput", "--show"], ["whatif", "--slo-ttft-ms=300"], ["verify"]),
        *(["log", "2026-11-23"], ["show", "last"], ["note", "so"], ["checklist"]),
    ]
    for words in commands:
        assert refusal(*words, f"--home={name}") is None, words
    assert [path.name for path in tmp_path.iterdir()] == [name]
