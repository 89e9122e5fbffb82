"""The two weeks, typed from the first day to the last, against simulated servers that bear the
names of the guide's models: what needs a card or runs until Ctrl-C is only parsed."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import journal
from journal.cli.app import app
from journal.desk.fake_server import Script, running
from journal.plan.spec import load_experiment, parse

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "docs" / "two-weeks.md", ROOT / "docs" / "two-weeks.zh-CN.md"
COMMANDS: Any = typer.main.get_command(app)
UNTIL_CTRL_C = {"serve", "chat", "exporter", "ui"}
OVER_HTTP = {"ask", "watch"}
FEW = ["--output-tokens", "8", "--warmup", "0"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of the page, without `journal`."""
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "journal", line
            yield words[1:]


def days(page: Path) -> list[str]:
    return re.findall(r"^## .*?([\d、 and]*\d)", page.read_text(), re.MULTILINE)


def test_both_languages_have_the_same_days_and_commands() -> None:
    assert list(commands(ENGLISH)) == list(commands(CHINESE))
    assert [re.findall(r"\d+", day) for day in days(ENGLISH)] == [
        re.findall(r"\d+", day) for day in days(CHINESE)
    ]
    assert len(days(ENGLISH)) == 11
    mine = [
        parse(blocks(page, "toml")[0], default_name="mine", where="") for page in (ENGLISH, CHINESE)
    ]
    assert mine[0].predict == mine[1].predict
    assert mine[0].engines == mine[1].engines


def test_what_the_pages_point_to_is_there() -> None:
    for page in (ENGLISH, CHINESE):
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), target


class Learner:
    """Types what the guide says."""

    def __init__(self, servers: ExitStack) -> None:
        self.servers = servers
        self.urls: dict[str, str] = {}

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
            self.expect([*words, *once, "--endpoint", self.url("simulated")])
        else:
            rest = [word for word in rest if word != "--open"]
            self.expect([name, *rest], codes=(0, 1) if name == "doctor" else (0,))

    def run(self, rest: list[str]) -> None:
        """Every cell of an experiment, each with few requests, at servers of its models."""
        if "--endpoint" in rest:
            rest[rest.index("--endpoint") + 1] = self.url("simulated")
            self.expect(["run", *rest, "--rate", "20", "--requests", "20", *FEW])
            return
        if "--find-capacity" in rest:  # a server that has one: 2 at a time, 34 ms each
            slow = running(Script(ttft_s=0.02, itl_s=0.002, max_running=2))
            url = self.servers.enter_context(slow)
            self.expect(["run", *rest, "--endpoint", url, "--rate", "50", *FEW])
            return
        options = ["--requests", "8", "--repeats", "1", *FEW]
        if "--rate" in rest:
            options += ["--rate", "20"]
        for model in {engine.model: None for engine in load_experiment(rest[0]).engines}:
            self.expect(["run", *rest, "--endpoint", self.url(model), "--model", model, *options])

    def expect(self, words: list[str], codes: tuple[int, ...] = (0,)) -> Result:
        result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
        assert result.exit_code in codes, (words, result.output, result.exception)
        return result


@pytest.mark.slow
def test_the_two_weeks_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(blocks(ENGLISH, "toml")[0])
    with journal.open_store(Path("gpu-host/lab")):
        pass
    with ExitStack() as servers:
        learner = Learner(servers)
        for words in commands(ENGLISH):
            learner.type(words)
        done = learner.expect(["checklist"]).output
    assert "[x] Host seen" in done
    assert "[x] The API answers" in done
    assert "[x] Latency against batch" in done
    assert "[x] Models compared" in done
    assert (tmp_path / "journal-mistral.yaml").is_file()
    assert (tmp_path / "runs.csv").is_file()
    with journal.open_store(Path("lab")) as store:
        names = [each.experiment.name for each in store.experiments()]
    assert {"mistral", "prompt-length", "batch-size", "quantisation", "mine"} <= set(names)
