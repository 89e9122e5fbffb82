"""The quiz poses questions from stored runs, takes answers within their tolerance and no other, and
the checklist believes none that was not worked out."""

import io
import json
import lzma
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import a_record
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.cli.quiz import quiz as quiz_command
from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.errors import NotFound, UsageError
from journal.plan.experiment_file import shipped
from journal.records.engine import EngineFacts
from journal.records.figure import Figure
from journal.report import demo
from journal.report.checklist import steps
from journal.report.phrases import LANGUAGES
from journal.report.quiz import QuizQuestion, is_right, value_of
from journal.report.quiz_kinds import Posed, posed_by
from journal.store.notes import add_note, change_note, notes
from journal.store.store import open_store
from journal.theory.model_table import find_model

ROOT = Path(__file__).parents[2]
ON_THE_PAGES = ("mistralai/Mistral-7B-Instruct-v0.2", "HuggingFaceTB/SmolLM2-135M-Instruct")
# Pages on what the program itself takes.
OF_THE_PROGRAM = ("performance.md", "scale.md", "reliability.md")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded journal, without its log."""
    home = tmp_path_factory.mktemp("recorded")
    recording = next(iter(shipped().values())).parent / demo.RECORDED
    (home / "journal.db").write_bytes(lzma.decompress(recording.read_bytes()))
    return home


@pytest.fixture
def home(recorded: Path, tmp_path: Path) -> Path:
    shutil.copy(recorded / "journal.db", tmp_path / "journal.db")
    return tmp_path


@pytest.fixture(scope="module")
def questions(recorded: Path) -> dict[str, QuizQuestion]:
    return {question.name: question for question in journal.quiz(recorded)}


def of_model(name: str) -> list[Posed]:
    """The questions of a small sweep of a model that the pages name, on an A100: the throughput is
    what Little's law makes of the latencies, and falls off from batch 8 on."""
    records = []
    for number, (batch, prompt) in enumerate([(1, 64), (8, 64), (32, 64), (1, 512)]):
        tpot_s, ttft_s = 0.01 * max(1, batch / 8), 0.02 + 0.0001 * prompt
        rate = batch * 32 / (ttft_s + 31 * tpot_s)
        figures: dict[str, float | Figure] = {
            "kv_pool_tokens": 93_184,
            "kv_pool_bytes": 93_184 * 131_072,
            "ttft_s.mean": ttft_s,
            "tpot_s.mean": tpot_s,
            "ttft_s.p50": Figure(ttft_s, 0.99 * ttft_s, 1.01 * ttft_s, 24),
            "output_tokens_per_s": Figure(rate, 0.99 * rate, 1.01 * rate, 24),
        }
        facts = EngineFacts(
            version="0.32.0",
            block_size=16,
            dtype="bfloat16",
            card="NVIDIA A100-SXM4-80GB",
            config=dict(find_model(name).config),
        )
        records.append(a_record(name, batch, prompt, number=number, metrics=figures, facts=facts))
    return list(posed_by(points(zip(records, setups_of(records), strict=True))))


def every(questions: dict[str, QuizQuestion]) -> Iterator[Posed]:
    yield from (question.posed for question in questions.values())
    for name in ON_THE_PAGES:
        yield from of_model(name)


def test_the_recorded_journal_poses_six_kinds_and_a_gpu_eight(
    questions: dict[str, QuizQuestion],
) -> None:
    assert list(questions) == [
        "weights",
        "kv_room",
        "kv_request",
        "step_floor",
        "prefill",
        "doubling",
    ]
    assert [one.name for one in of_model(ON_THE_PAGES[0])] == [
        "weights",
        "kv_room",
        "kv_request",
        "step_floor",
        "throughput",
        "prefill",
        "doubling",
        "knee",
    ]


def test_known_answers(questions: dict[str, QuizQuestion]) -> None:
    """By hand: 65,536 tokens in blocks of 128, one kept back; 768 + 32 tokens take 7 blocks."""
    assert questions["kv_room"].posed.answer == (65_536 - 128) // (7 * 128)
    assert questions["kv_request"].posed.answer == 7 * 128 * 4096
    known = {one.name: one for one in of_model(ON_THE_PAGES[0])}
    assert known["kv_room"].answer == (93_184 - 16) // 1568  # 3 x 512 + 32, 98 blocks of 16
    assert known["prefill"].answer == pytest.approx(0.0001)
    assert known["knee"].answer == 8
    read = 7_241_732_096 * 2 - 2 * 32_000 * 4096
    assert known["step_floor"].answer == pytest.approx((read + 64 * 64 * 131_072) / 2.039e12)


def test_the_worked_answer_is_within_the_tolerance_and_shown_as_it_is(
    questions: dict[str, QuizQuestion],
) -> None:
    for one in every(questions):
        assert is_right(one, one.simple), one
        assert is_right(one, value_of(str(one.values["result"]), one.unit)), one


@given(share=st.floats(-1, 1), off=st.floats(0.2, 3), up=st.booleans())
def test_within_the_tolerance_is_right_and_20_percent_off_is_not(
    questions: dict[str, QuizQuestion], share: float, off: float, *, up: bool
) -> None:
    for question in questions.values():
        one = question.posed
        assert is_right(one, one.answer * (1 + share * one.tolerance))
        assert not is_right(one, one.answer * (1 + off if up else 1 / (1 + off) - 1e-9))
        assert not is_right(one, one.answer * (1.2 if up else 0.8))


def test_no_page_holds_an_answer(questions: dict[str, QuizQuestion]) -> None:
    pages = {*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")}
    pages -= {ROOT / "docs" / name for name in OF_THE_PROGRAM}
    numbers = {
        path: set(re.findall(r"\d[\d,.]*\d(?: [A-Za-z/]+)?", path.read_text())) for path in pages
    }
    for one in every(questions):
        if one.unit == "1":  # a bare number stands anywhere
            continue
        written = {str(one.values["result"]), f"{one.answer:.0f}", f"{one.answer:,.0f}"}
        for path, found in numbers.items():
            assert not {text for text in written & found if len(text) > 3}, (one.name, path)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_question_its_hint_and_its_worked_answer_are_whole(
    questions: dict[str, QuizQuestion], lang: str
) -> None:
    for question in questions.values():
        for text in (question.text(lang), question.hint(lang), question.worked(lang)):
            assert text and "{" not in text
        assert str(question.posed.values["result"]) not in question.text(lang)
        assert question.as_json(lang)["answer"] is None
        assert question.as_json(lang)["worked"] is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("93,184", "1", 93_184),
        ("171 requests", "1", 171),
        ("171 个", "1", 171),
        ("1.5x", "1", 1.5),
        ("12 GiB", "bytes", 12 * 2**30),
        ("12GB", "bytes", 12e9),
        ("524288", "bytes", 524_288),
        ("３ ｍｓ", "s", 0.003),
        ("94.5 us/token", "s", 94.5e-6),
        (" 0.5 s ", "s", 0.5),
        ("1e3 tok/s", "tok/s", 1000),
    ],
)
def test_numbers_are_read_with_their_units(text: str, unit: str, value: float) -> None:
    assert value_of(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"), [("3", "s"), ("3 ms", "bytes"), ("many", "1"), ("", "1"), ("3 GiB", "tok/s")]
)
def test_another_text_is_refused_with_an_example(text: str, unit: str) -> None:
    with pytest.raises(UsageError, match="write a number and its unit, such as"):
        value_of(text, unit)


def structure(home: Path) -> tuple[bool, object]:
    with open_store(home) as store:
        step = next(step for step in steps(store) if step.name == "structure")
    return step.done, step.as_json()["evidence"]


def test_right_answers_about_each_part_earn_the_step(
    home: Path, questions: dict[str, QuizQuestion]
) -> None:
    wrong = journal.answer_quiz("kv_room", f"{1.2 * questions['kv_room'].posed.answer}", home)
    assert not wrong.right and "whole blocks" in wrong.text()
    with open_store(home) as store:
        assert not notes(store)
    assert structure(home) == (False, "")
    for name in ("weights", "kv_room"):
        judged = journal.answer_quiz(name, str(questions[name].posed.values["result"]), home)
        assert judged.right and judged.text().startswith("Right. ")
    assert structure(home) == (
        False,
        "quiz answered rightly: weights (weights), KV cache (kv_room); not yet: token",
    )
    journal.answer_quiz("doubling", str(questions["doubling"].posed.values["result"]), home)
    assert structure(home)[0]
    solved = [question.name for question in journal.quiz(home) if question.solved]
    assert solved == ["weights", "kv_room", "doubling"]


def test_an_answer_that_was_shown_first_earns_nothing(
    home: Path, questions: dict[str, QuizQuestion]
) -> None:
    shown = journal.answer_quiz("kv_room", None, home)
    assert str(questions["kv_room"].posed.values["result"]) in shown.text()
    assert journal.answer_quiz("kv_room", str(questions["kv_room"].posed.answer), home).right
    assert structure(home) == (False, "")
    question = next(one for one in journal.quiz(home) if one.name == "kv_room")
    assert question.shown and not question.solved
    assert question.as_json()["answer"] == questions["kv_room"].posed.answer


def test_a_note_that_was_changed_by_hand_is_judged_again(
    home: Path, questions: dict[str, QuizQuestion]
) -> None:
    journal.answer_quiz("kv_room", str(questions["kv_room"].posed.answer), home)
    with open_store(home) as store:
        kept = notes(store)[0]
        change_note(store, kept, "journal answer kv_room '12'")
        add_note(store, replace(kept, id="other", text="journal answer knee soon"))
    assert structure(home) == (False, "")


def test_a_question_that_is_not_posed_and_an_empty_journal(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no question 'x' on that day: there are weights, kv_room"):
        journal.answer_quiz("x", "1", home)
    with pytest.raises(NotFound, match="there are no runs to ask about"):
        journal.quiz(tmp_path / "empty")


def test_the_commands_ask_and_judge(home: Path, questions: dict[str, QuizQuestion]) -> None:
    def typed(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*words, "--home", str(home)])
        return result.exit_code, result.output

    code, text = typed("quiz")
    assert code == 0 and "[ ] kv_room: tiny-random-llama had room for 65,536 tokens" in text
    listed = json.loads(typed("quiz", "--json")[1])
    assert [one["name"] for one in listed] == list(questions)
    assert typed("answer", "kv_room", "12")[0] == 1
    assert typed("answer", "kv_room", "73 requests") == (
        0,
        "Right. 800 tokens take 7 blocks, which hold 896 tokens; 65,408 usable tokens / 896 = 73 "
        "requests. Left out: requests that share the beginning of their prompts share its blocks, "
        "and while requests are short of their full length more of them fit.\n",
    )
    assert "[x] kv_room" in typed("quiz")[1]
    assert typed("answer", "weights", "--show", "--lang", "zh")[1].endswith("以及引擎的填充。\n")
    assert isinstance(CliRunner().invoke(app, ["answer", "weights"]).exception, UsageError)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_until_a_line_is_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("\nmany\n12\n73\n\n\n\n\n"))
    monkeypatch.setattr(sys, "stdout", said)
    quiz_command(home=home)
    assert [one.name for one in journal.quiz(home) if one.solved] == ["kv_room"]
    text = said.getvalue()
    assert text.index("'many' is not an answer") < text.index("That is not within 5% of it.")
    assert text.index("That is not within") < text.index("Right. 800 tokens")
