"""What the docs say can be typed: every command parses, and those marked `<!-- run -->` are run
in order against a simulated server."""

import contextlib
import inspect
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.metrics.statistics import needed_samples
from journal.plan.experiment_file import parse
from journal.simulator.http import Script, running

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS: Any = typer.main.get_command(app)

Server = Callable[..., str]


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The mark (such as run) and the text of every block of code in one language."""
    fence = rf"(?:<!-- ([a-z: ]+) -->\n)?```{language}\n(.*?)```"
    return [(mark or "", text) for mark, text in re.findall(fence, page.read_text(), re.DOTALL)]


def commands(text: str) -> list[list[str]]:
    """The words of every `journal` command in a block for the shell."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words[:1] == ["journal"]:
            found.append(words[1:])
    return found


def parsed(words: list[str]) -> None:
    """Raises where there is no such command, option or value; runs nothing."""
    if words and not words[0].startswith("-"):
        COMMANDS.commands[words[0]].make_context(words[0], words[1:])


TYPED = [
    pytest.param(words, id=f"{page.name}: {shlex.join(words)}")
    for page in PAGES
    for _, text in blocks(page, "sh")
    for words in commands(text)
]
EXAMPLES = [
    pytest.param(shlex.split(re.split(r" [|>] ", line)[0])[1:], id=line)
    for command in COMMANDS.commands.values()
    for line in re.findall(r"- `(journal [^`]+)`", inspect.getdoc(command.callback) or "")
]


@pytest.mark.parametrize("words", [*TYPED, *EXAMPLES])
def test_every_command_that_is_shown_can_be_typed(words: list[str]) -> None:
    parsed(words)


def test_a_command_that_cannot_be_typed_would_be_found() -> None:
    shown = "journal run --rate 2  # a rate\njournal \\\n  plan x | cat\nls\n"
    assert commands(shown) == [["run", "--rate", "2"], ["plan", "x"]]
    for wrong in (["no-such-command"], ["run", "--no-such-option"], ["run", "--requests", "x"]):
        with pytest.raises((KeyError, typer.TyperException)):
            parsed(wrong)
    assert len(TYPED) >= 15 and len(EXAMPLES) >= 15


LINKING = [*PAGES, ROOT / "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """What a link may name of a page: its headings, as GitHub writes them, and its own marks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    marks = set(re.findall(r"<a id=\"([^\"]+)\">", page.read_text()))
    return marks | {
        re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings
    }


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_is_there(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", prose):
        where, _, part = "".join(target).partition("#")
        if not where.startswith(("http://", "https://", "mailto:")):
            there = page.parent / where if where else page
            assert there.exists(), where
            assert not part or part in anchors(there), "".join(target)


@contextlib.contextmanager
def served(page: Path) -> Iterator[Callable[[str], str]]:
    """The server that the page starts; gives what puts its address in the place of the page's."""
    texts = [text for mark, text in blocks(page, "sh") if mark == "run: server"]
    words = dict(re.findall(r"--([a-z-]+) (\S+)", texts[0])) if texts else {}
    script = Script(
        model="simulated",
        ttft_s=float(words.get("ttft-ms", 1)) / 1e3,
        itl_s=float(words.get("itl-ms", 1)) / 1e3,
        max_running=int(words.get("max-running", 4096)),
    )
    with running(script) as url:
        there = f"http://127.0.0.1:{words.get('port', 8000)}/v1"
        yield lambda text: text.replace(there, url)


@pytest.mark.slow
def test_the_page_on_load_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "load.md"
    told = []
    with served(page) as placed:
        for mark, text in blocks(page, "sh"):
            for words in commands(placed(text)) if mark == "run" else ():
                result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
                assert result.exit_code == 0, (words, result.output)
                told.append(" ".join(result.output.split()))
    with journal.open_store(Path("lab")) as store:
        closed, opened, repeated, slo, search = (
            store.runs(experiment_id=each.id) for each in store.experiments()
        )
    one, four, eight = (record.metrics["requests_per_s"].value or 0 for record in closed)
    assert one <= 10 and 2.5 * one < four <= 41 and eight <= 41
    behind = [any(doubt.name == "falls_behind" for doubt in record.doubts) for record in opened]
    assert behind == [False, True]
    assert len(repeated) == 3 and any("over 3 repeats" in text for text in told)
    assert slo[0].metrics["good_fraction"].value is not None
    assert len(search) > 4
    assert "the highest rate that holds the SLO" in told[-1]


def test_the_page_on_load_gives_the_right_counts() -> None:
    page = (ROOT / "docs" / "load.md").read_text()
    shares = (0.5, 0.9, 0.95, 0.99, 0.999)
    row = " | ".join(f"{needed_samples(share):,}" for share in shares)
    assert f"| samples needed | {row} |" in page


def test_experiments_that_are_shown_parse() -> None:
    for page in PAGES:
        for _, text in blocks(page, "toml"):
            if "[engine]" in text:
                parse(text, default_name="shown", where=page.name)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_script_in_the_readme_runs(
    name: str, fake_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, but for the server, which is one that is there already."""
    monkeypatch.chdir(tmp_path)
    ((_, text),) = blocks(ROOT / name, "python")
    assert len(text.strip().splitlines()) <= 10
    call = 'journal.run(experiment, "lab")'
    assert call in text
    server = journal.attach(fake_server(ttft_s=0.001, itl_s=0.0005))
    began_s = time.monotonic()
    exec(text.replace(call, 'journal.run(experiment, "lab", endpoint=server)'), {"server": server})
    assert time.monotonic() - began_s < 120
    assert (tmp_path / "lab" / "journal.db").is_file()
