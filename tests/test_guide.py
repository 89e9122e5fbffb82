"""The two weeks, typed from the first day to the last in a terminal of 80 columns: in both
languages against simulated servers that bear the names of the guide's models, where what runs until
Ctrl-C is only parsed; and without a GPU, where the real vLLM serves the small model on the CPU."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from chinese_text import english_sentences
from rich.cells import cell_len
from terminal import COLUMNS, typed
from typer.testing import CliRunner, Result

import journal
from journal.cli.app import app
from journal.language import translated
from journal.plan.experiment_file import load_experiment, parse
from journal.serve.models import EMBEDDED
from journal.simulator.http import Script, running

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "docs" / "two-weeks.md", ROOT / "docs" / "two-weeks.zh.md"
PAGES = {"en": ENGLISH, "zh": CHINESE}
APART = re.compile(r"[\s(（]\d[\d.,]*\n *(?:ms|us|s|min|h|tok/s|tok|[KMGT]i?B)\b")
COMMANDS: Any = typer.main.get_command(app)
UNTIL_CTRL_C = {"serve", "chat", "exporter", "ui"}
OVER_HTTP = {"ask", "watch"}
FEW = ["--output-tokens", "8", "--warmup", "0"]
SEVERAL_MODELS = {"mistral-vs-llama3", "quantisation", "compare"}  # of which the CPU has one
ON_CPU = "--prompt-tokens 16 --output-tokens 8 --requests 6 --warmup 1".split()
ANSWERED = {  # the line under an answer
    "en": r"40 prompt \+ \d+ output tokens, TTFT [\d.]+ m?s, then [\d.]+",
    "zh": r"\d+ 个提示词 token \+ \d+ 个输出 token，TTFT [\d.]+ m?s，之后 [\d.]+",
}
# One language on the real engine in a run of all tests: the simulated server speaks both.
LANGS_ON_CPU = os.environ.get("JOURNAL_GUIDE_LANGS", "zh").split(",")
MINE = {  # what a reader without a GPU writes into mine.toml
    "mistralai/Mistral-7B-Instruct-v0.2": EMBEDDED,
    r"weights_bytes = \d+": "weights_bytes = 269030016",
    r"kv_bytes_per_token = \d+": "kv_bytes_per_token = 23040",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of the page, without `journal`."""
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "journal", line
            yield words[1:]


def to_type(page: Path) -> list[list[str]]:
    """The words of the commands of the page; those of an appendix name files of nobody."""
    appendix = page.read_text().partition("\n## 附")[2].count("\njournal ")
    every = list(commands(page))
    return every[: len(every) - appendix]


def days(page: Path) -> list[str]:
    return re.findall(r"^## .*?([\d、 and]*\d)", page.read_text(), re.MULTILINE)


def _bare(word: str) -> str:
    """A word of a command; of a sentence, which each page has in its language, an ellipsis."""
    return "…" if " " in word or not word.isascii() else word


def test_both_languages_have_the_same_days_and_commands() -> None:
    english, chinese = (
        [[_bare(word) for word in words] for words in to_type(page)] for page in (ENGLISH, CHINESE)
    )
    assert english == chinese and len(list(commands(CHINESE))) == len(chinese) + 2
    assert [re.findall(r"\d+", day) for day in days(ENGLISH)] == [
        re.findall(r"\d+", day) for day in days(CHINESE)
    ]
    assert len(days(ENGLISH)) == 11
    mine = [
        parse(blocks(page, "toml")[0], default_name="mine", where="") for page in (ENGLISH, CHINESE)
    ]
    assert mine[0].predict == mine[1].predict
    assert mine[0].engines == mine[1].engines


def shown(words: list[str], lang: str) -> str:
    """What a command of the page shows in a terminal of 80 columns, in which nothing is cut: no
    line is wider, no number stands apart from its unit, and where Chinese was asked for no sentence
    is English. A model's answer, and a command to be pasted, are as they are."""
    seen = typed(words, JOURNAL_LANG=lang)
    codes = (0, 1) if words[0] == "doctor" else (0,)
    assert seen.code in codes, (words, seen.text)
    lines = [] if "--curl" in words else seen.lines[-1:] if words[0] == "ask" else seen.lines
    assert [line for line in lines if cell_len(line) > COLUMNS or "…" in line] == [], words
    assert [pair for pair in pairwise(lines) if APART.search("\n".join(pair))] == [], words
    if lang == "zh":
        assert english_sentences("\n".join(lines)) == [], words
    return seen.text


class Learner:
    """Types what the guide says."""

    def __init__(self, servers: ExitStack, lang: str) -> None:
        self.servers = servers
        self.lang = lang
        self.urls: dict[str, str] = {}

    def show(self, words: list[str]) -> None:
        shown(words, self.lang)

    def url(self, model: str) -> str:
        if model not in self.urls:
            script = Script(model=model, ttft_s=0.002, itl_s=0.0005)
            self.urls[model] = self.servers.enter_context(running(script))
        return self.urls[model]

    def type(self, words: list[str]) -> None:
        name, *rest = words
        if name in UNTIL_CTRL_C:
            COMMANDS.commands[name].make_context(name, rest)
        elif name == "run":
            self.run(rest)
        elif name in OVER_HTTP:
            once = ["--once"] if name == "watch" else []
            self.show([*words, *once, "--endpoint", self.url("simulated")])
        else:
            rest = [word for word in rest if word != "--open"]
            self.show([name, *rest])

    def run(self, rest: list[str]) -> None:
        """Every cell of an experiment, each with few requests, at servers of its models."""
        if "--endpoint" in rest:
            rest[rest.index("--endpoint") + 1] = self.url("simulated")
            self.show(["run", *rest, "--rate", "20", "--requests", "20", *FEW])
            return
        if "--find-capacity" in rest:  # a server that has one: 2 at a time, 34 ms each
            slow = running(Script(ttft_s=0.02, itl_s=0.002, max_running=2))
            url = self.servers.enter_context(slow)
            self.show(["run", *rest, "--endpoint", url, "--rate", "100", *FEW])
            return
        options = ["--requests", "8", "--repeats", "1", *FEW]
        if "--rate" in rest:
            options += ["--rate", "20"]
        for model in {engine.model: None for engine in load_experiment(rest[0]).engines}:
            self.show(["run", *rest, "--endpoint", self.url(model), "--model", model, *options])


def expect(words: list[str]) -> Result:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    codes = (0, 1) if words[0] == "doctor" else (0,)
    assert result.exit_code in codes, (words, result.output, result.exception)
    return result


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_two_weeks_can_be_typed(
    lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGES[lang]
    (tmp_path / "mine.toml").write_text(blocks(page, "toml")[0])
    with journal.open_store(Path("gpu-host/lab")):
        pass
    with ExitStack() as servers:
        learner = Learner(servers, lang)
        for words in to_type(page):
            learner.type(words)
        done = expect(["checklist"]).output
    assert "[x] Host seen" in done
    assert "[x] The API answers" in done
    assert "[x] Latency against batch" in done
    assert "[x] Models compared" in done
    assert (tmp_path / "journal-mistral.yaml").is_file()
    assert (tmp_path / "runs.csv").is_file()
    with journal.open_store(Path("lab")) as store:
        names = [each.experiment.name for each in store.experiments()]
    assert {"mistral", "prompt-length", "batch-size", "quantisation", "mine"} <= set(names)
    check_logs(lang, Path("lab"))


def check_logs(lang: str, home: Path) -> None:
    """No log of `home` is without words of its language; what a Chinese one quotes is apart."""
    logs = sorted((home / "log").glob("*.md"))
    assert logs
    if lang == "zh":
        for log in logs:
            assert english_sentences(log.read_text()) == [], log.name


class LearnerOnTheCpu:
    """Types what the guide says, at a server that `journal serve` keeps up. Commands without a
    method of their own need no server, and are typed as they stand."""

    def __init__(self, url: str, lang: str) -> None:
        self.url = url
        self.lang = lang

    def type(self, words: list[str]) -> None:
        method = getattr(self, words[0], None)
        if method is not None:
            method(words)
        else:
            shown([word for word in words if word != "--open"], self.lang)

    def ask(self, words: list[str]) -> None:
        said = shown([*words, "--max-tokens", "24"], self.lang)
        if "--curl" not in words:
            assert re.search(ANSWERED[self.lang], said)
            return
        said = said[said.index("curl ") :].replace("\r\n", "\n")
        assert self.url in said
        if shutil.which("curl"):
            done = subprocess.run(["sh", "-c", said], capture_output=True, text=True, timeout=120)
            assert "data: [DONE]" in done.stdout

    def watch(self, words: list[str]) -> None:
        seen = shown([*words, "--once"], self.lang)
        assert f"{self.url}  {EMBEDDED}  vLLM" in seen
        assert all(
            translated(row, self.lang) in seen for row in ("KV cache in use", "resident memory")
        )
        # where a model ends its answer is another place on another processor
        endless = ["--body", "ignore_eos=true", "--max-tokens", "4096"]
        story = [sys.executable, "-m", "journal", "ask", "Tell a long story.", *endless]
        with subprocess.Popen(story, stdout=subprocess.PIPE) as asking:
            assert asking.stdout is not None and asking.stdout.read(1)
            told = json.loads(expect([*words, "--once", "--json"]).stdout)
            asking.terminate()
        assert (told["answers"], told["running"], told["waiting"]) == (True, 1, 0)
        assert told["output_tokens_per_s"] > 0 and told["itl_mean_s"] > 0

    def run(self, words: list[str]) -> None:
        """All at the server that is up, but the experiment of the learner's own: that starts an
        engine."""
        load = ["--rate", "2"] if "--rate" in words else ["--concurrency", "1,2"]
        # of a search, what ends it soon: an SLO that no rate holds
        load += ["--slo-tpot-ms", "1"] if "--find-capacity" in words else ["--repeats", "1"]
        if "--endpoint" in words:
            words[words.index("--endpoint") + 1] = self.url
        elif "mine.toml" not in words:
            load += ["--endpoint", self.url, "--model", EMBEDDED]
        shown([*words, *ON_CPU, *load], self.lang)

    def exporter(self, words: list[str]) -> None:
        with until_ctrl_c([*words, "--port", "0"]) as address:
            page = fetched(address)
        assert f'journal_server_resident_bytes{{base_url="{self.url}",model="{EMBEDDED}"}}' in page
        assert re.search(r'journal_run_output_tokens_per_second{.*experiment="batch-size"', page)

    def chat(self, words: list[str]) -> None:
        given = [self.url if word.startswith("http") else word for word in words]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        with until_ctrl_c([*given, "--port", port]) as address:
            assert "journal chat" in fetched(address)


@contextmanager
def until_ctrl_c(words: list[str]) -> Iterator[str]:
    """The address that a command prints which runs until it is ended."""
    command = [sys.executable, "-m", "journal", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address is not None, "see what it said above"
            yield address[0]
        finally:
            process.terminate()


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.engine
@pytest.mark.timing
@pytest.mark.parametrize("lang", LANGS_ON_CPU)
def test_the_two_weeks_can_be_typed_without_a_gpu(
    lang: str, kept_up: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, url = kept_up  # by the guide's `journal serve`
    page = PAGES[lang]
    monkeypatch.setenv("JOURNAL_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    mine = blocks(page, "toml")[0]
    for written, instead in MINE.items():
        mine = re.sub(written, instead, mine)
    (tmp_path / "mine.toml").write_text(mine)
    with journal.open_store(Path("gpu-host/lab")):
        pass
    learner = LearnerOnTheCpu(url, lang)
    for words in to_type(page):
        if words[0] not in ("serve", "ui") and not SEVERAL_MODELS & set(words):
            learner.type(words)
    steps = {step["step"]: step for step in json.loads(expect(["checklist", "--json"]).stdout)}
    assert [name for name, step in steps.items() if step["done"]] == ["host", "api", "latency"]
    assert steps["api"]["evidence"] == f"{EMBEDDED} answered"
    check_logs(lang, home)
    assert urlsplit(url).netloc in Path("watch/prometheus/prometheus.yml").read_text()
