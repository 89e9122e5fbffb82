"""The language in which people are spoken to: how it is chosen, and that nothing is left out of the
Chinese catalogues."""

import ast
import inspect
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import journal.errors
from journal.cli.app import app
from journal.cli.in_chinese import chinese_help
from journal.errors import UsageError
from journal.language import CATALOGUES, FIELD, catalogue, language, shipped_text, translated
from journal.plan.experiment_file import load_experiment
from journal.report.phrases import words
from journal.serve.engines.vllm.vllm import VLLM

ROOMS = Path(journal.errors.__file__).parent
RAISED = {name for name, kind in vars(journal.errors).items() if isinstance(kind, type)}
RAISED |= {"_Unusable", "Refused", "_Odd", "unreadable", "Unbounded", "refusal"}
SHOWN = {"echo", "Check"}
PROMPTED = "simulator"  # what the simulated server says is its API, as OpenAI words it
FORBIDDEN = ("应验", "读者", "施加", "卡片", "显卡", "首个令牌")


def commands(command: Any) -> Iterator[Any]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)


def template(node: ast.AST) -> str | None:
    """The text of a literal as the catalogues have it: {0}, {1} for the values of an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{", "{{").replace("}", "}}")
    if not isinstance(node, ast.JoinedStr):
        return None
    text, count = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value).replace("{", "{{").replace("}", "}}")
        else:
            text, count = f"{text}{{{count}}}", count + 1
    return text


def is_prose(text: str) -> bool:
    bare = FIELD.sub("", text)
    return " " in bare.strip() and len(re.findall(r"[a-z]{2,}", bare)) >= 2


def literals(tree: ast.AST) -> Iterator[str]:
    """The texts of `tree`, without the pieces of an f-string."""
    if (text := template(tree)) is not None:
        yield text
        values = tree.values if isinstance(tree, ast.JoinedStr) else ()
        for value in values:
            if isinstance(value, ast.FormattedValue):
                yield from literals(value.value)
        return
    for child in ast.iter_child_nodes(tree):
        yield from literals(child)


def spoken() -> Iterator[tuple[str, str]]:
    """Each text that an error, an event or a command says: where, and its template."""
    for path in sorted(ROOMS.rglob("*.py")):
        room = path.relative_to(ROOMS).parts[0]
        if room == PROMPTED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in RAISED or name == "Event" or (name in SHOWN and room in ("cli", "host")):
                for text in literals(node):
                    if is_prose(text):
                        yield str(path.relative_to(ROOMS)), text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "C"}, "zh"),
        ({"JOURNAL_LANG": "zh_CN", "LANG": "C"}, "zh"),
        ({"JOURNAL_LANG": "zh-CN"}, "zh"),
        ({"JOURNAL_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
    ],
    ids=lambda value: str(value),
)
def test_the_language_is_the_one_asked_for_else_that_of_the_locale(
    environment: dict[str, str], expected: str
) -> None:
    assert language(None, environment) == expected
    assert language("en", environment) == "en"


def test_a_language_that_nobody_speaks_here_is_refused() -> None:
    with pytest.raises(UsageError, match=r"JOURNAL_LANG 'fr' is not a language: give en or zh"):
        language(None, {"JOURNAL_LANG": "fr"})
    with pytest.raises(UsageError, match=r"--lang 'fr'"):
        language("fr", {})


def test_every_text_of_the_help_has_its_entry() -> None:
    missing = set()
    for command in commands(typer.main.get_command(app)):
        texts = [command.help, command.epilog, *(getattr(p, "help", "") for p in command.params)]
        for text in texts:
            for part in inspect.cleandoc(text or "").split("\n\n"):
                english = " ".join(part.split())
                if english and not english.startswith("- `") and english not in catalogue():
                    missing.add(english)
    assert not missing, "add them to journal/chinese/help.toml"


def test_every_error_event_and_line_has_its_entry() -> None:
    assert len(dict(spoken())) > 50
    missing = {(where, text) for where, text in spoken() if text not in catalogue()}
    assert not missing, "add them to journal/chinese/errors.toml or output.toml"


def test_every_entry_of_the_errors_is_said_somewhere() -> None:
    source = {
        text for path in ROOMS.rglob("*.py") for text in literals(ast.parse(path.read_text()))
    }
    for name in ("errors.toml", "output.toml"):
        table = tomllib.loads((CATALOGUES / name).read_text(encoding="utf-8"))
        assert not {english for english in table if english not in source}, name


def test_both_languages_have_the_same_values() -> None:
    for english, chinese in catalogue().items():
        if "{" in english and "{{:g}}" not in english:
            assert fields(english) == fields(chinese), english
        assert chinese.strip(), english


def test_the_words_of_the_list_are_used() -> None:
    said = {**catalogue(), **words("zh").phrases}
    assert not {key for key, chinese in said.items() if any(one in chinese for one in FORBIDDEN)}


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_shipped_experiments_ask_in_both_languages() -> None:
    for path in sorted((ROOMS.parent / "experiments").glob("*.toml")):
        asked = load_experiment(path)
        for text in (asked.question, asked.hypothesis):
            assert not text or shipped_text(text, "zh") != text, f"{path.name}: {text}"
    assert shipped_text("My own question?", "zh") == "My own question?"


def test_an_error_is_put_into_chinese_with_its_values_as_they_are() -> None:
    assert translated("there is no run 'my model': `journal runs` lists the ids", "zh") == (
        "没有运行 'my model'：`journal runs` 会列出各个 id"
    )
    assert translated("there is no run 'x': `journal runs` lists the ids", "en").startswith("there")


def test_texts_within_a_text_are_put_into_chinese_too() -> None:
    reason = "it needs one of prompt, messages and body, and has 2"
    whole = translated(f"journal: a b.toml: line 3 cannot be sent: {reason}", "zh")
    assert whole.startswith("journal：a b.toml：第 3 行无法发送：它应含有")
    assert translated("nobody wrote this sentence", "zh") == "nobody wrote this sentence"


def test_the_cell_that_is_measured_is_named_in_chinese() -> None:
    said = "cell 2 of 12: Mistral-7B, batch 4, 512 + 128 tokens, adapter"
    assert translated(said, "zh") == (
        "第 2 个测点，共 12 个：Mistral-7B，批大小 4，512 + 128 token，adapter"
    )


def test_the_phases_of_a_start_are_put_into_chinese() -> None:
    for phase in (f"starting {VLLM.name}", *(name for _, name in VLLM.phases)):
        assert translated(f"org/m: {phase}", "zh").startswith("org/m：正在"), phase


def test_braces_of_a_text_stay_braces() -> None:
    text = "--body 'a' is not KEY=JSON, such as top_p=0.9"
    assert "{" not in translated(text, "zh")
    assert translated("x: {0}", "zh") == "x: {0}"


def test_help_keeps_its_examples() -> None:
    text = "List the runs of this journal, the newest last.\n\nExamples:\n\n- `journal runs -n 20`"
    assert (
        chinese_help(text)
        == "列出实验记录中的运行，最新的在最后。\n\n示例：\n\n- `journal runs -n 20`"
    )


def test_a_text_of_several_lines_is_translated_line_by_line() -> None:
    text = "log/2026-11-23.html\nlook around with --home demo: journal runs, show last, log, ui"
    assert translated(text, "zh").splitlines() == [
        "log/2026-11-23.html",
        "用 --home demo 四处看看：journal runs、show last、log、ui",
    ]


@pytest.mark.parametrize(
    "page",
    [
        *sorted((ROOMS.parent / "docs").glob("*.zh.md")),
        ROOMS.parent / "README.zh-CN.md",
        ROOMS / "doubts" / "words.zh.toml",
    ],
    ids=lambda page: page.name,
)
def test_a_chinese_page_uses_the_words_of_the_list(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [one for one in FORBIDDEN if one in text]


def test_a_chinese_page_marks_the_english_pages_that_it_links() -> None:
    pages = [*(ROOMS.parent / "docs").glob("*.zh.md"), ROOMS.parent / "README.zh-CN.md"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for name, target, after in re.findall(r"\[([^\]]+)\]\(([^)#]+\.md)[^)]*\)(.{0,4})", text):
            own = (page.parent / target).with_suffix(".zh.md")
            known = ".zh" in target or own.exists()  # the site takes the Chinese one
            assert known or after.startswith("（英文）") or name == "English", (page.name, target)
