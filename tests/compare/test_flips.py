"""Flips between two builds: none is called between equal ones, and a coarse one is found."""

import math
from dataclasses import replace

import numpy as np
import pytest

from journal.compare.flips import flips, mcnemar
from journal.records.engine import Quality
from journal.report.phrases import LANGUAGES, words
from journal.report.sections.quantisation import _sentences
from journal.serve.question_set import fixed_questions
from journal.store.plain import from_json, to_json

QUESTIONS = fixed_questions()
RIGHT = (
    "12.",
    "54",
    "63",
    "There are seven days.",
    "8",
    "Tokyo",
)


def built(random: np.random.Generator, noise: float, like: Quality | None) -> Quality:
    """A build with answers of its own, or with those of `like`. In each asking it gives its second
    answer with a chance of `noise`, and to every fifth question with one of a half."""
    base = like.outputs if like else tuple(f"{random.random()} {n}" for n in range(40))
    askings = tuple(
        tuple(
            f"second {text}" if random.random() < (noise if n % 5 else noise and 0.5) else text
            for n, text in enumerate(base)
        )
        for _ in range(2)
    )
    return Quality(outputs=base, answers=askings)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_no_flips_are_called_in_200_pairs_of_equal_builds(noise: float) -> None:
    random = np.random.default_rng(20_261_130)
    for _ in range(200):
        first = built(random, noise, None)
        found = flips(first, built(random, noise, first))
        assert found is not None and found.verdict == "same"


def test_a_build_that_says_other_things_is_found() -> None:
    random = np.random.default_rng(3)
    seen = 0
    for _ in range(200):
        first, other = (built(random, 0.02, None) for _ in range(2))
        found = flips(first, other)
        assert found is not None
        seen += found.verdict != "same"
    assert seen >= 190


def right_answer(rule: str) -> str:
    return rule.partition("|")[0].replace(" ?", "")


def test_a_build_that_loses_its_answers_is_worse() -> None:
    known = tuple(right_answer(question.right) for question in QUESTIONS)
    first = Quality(answers=(known, known))
    lost = tuple("no idea" if n % 3 else text for n, text in enumerate(known))
    found = flips(first, Quality(answers=(lost, lost)))
    assert found is not None
    assert (found.verdict, found.count("lost"), found.count("gained")) == ("worse", 26, 0)
    assert found.right == (40, 14)
    back = flips(Quality(answers=(lost, lost)), first)
    assert back is not None and back.verdict == "better"
    for lang in LANGUAGES:
        text = words(lang).paragraph(tuple(_sentences(Quality(answers=(lost, lost)), first)), str)
        assert "26" in text and "no idea" in text


def test_only_questions_that_both_builds_answer_alike_twice_can_flip() -> None:
    """Of the first four questions one is answered in two ways by the first build, one by the other,
    one by neither, but otherwise, and one alike."""
    known = tuple(right_answer(question.right) for question in QUESTIONS)
    once = Quality(answers=(("x", *known[1:]), ("y", *known[1:])))
    other = (known[0], "z", "no idea", *known[3:])
    again = (known[0], "w", "no idea", *known[3:])
    found = flips(once, Quality(answers=(other, again)))
    assert found is not None
    assert [(flip.question, flip.turn) for flip in found.flips] == [(QUESTIONS[2], "lost")]
    assert (found.noise, found.right, found.questions) == ((1, 1), (38, 37), 40)
    assert (found.worse_chance, found.verdict) == (1.0, "same")
    # of one flip and two differences within, among 40 and 80: none of three is none between
    none = math.comb(80, 3) / math.comb(120, 3)
    assert found.changed_chance == pytest.approx(1 - none)


@pytest.mark.parametrize(
    ("lost", "gained", "chance"), [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (8, 1, 0.0390625)]
)
def test_mcnemar_is_the_binomial_of_the_discordant_pairs(
    lost: int, gained: int, chance: float
) -> None:
    assert mcnemar(lost, gained) == mcnemar(gained, lost) == pytest.approx(chance)


def test_questions_are_in_both_languages_and_their_rules_hold() -> None:
    assert {question.lang for question in QUESTIONS} == {"en", "zh"}
    assert len({question.ask for question in QUESTIONS}) == len(QUESTIONS) == 40
    for question, answer in zip(QUESTIONS, RIGHT, strict=False):
        assert question.answered_rightly(answer)
    for question in QUESTIONS:
        assert question.answered_rightly(f" {right_answer(question.right).upper()} ")
        assert not question.answered_rightly("no idea\n" + right_answer(question.right))
    assert not QUESTIONS[0].answered_rightly("120"), "a number counts as a whole"


def test_old_checks_have_no_answers() -> None:
    assert flips(Quality(), Quality()) is None
    stored = to_json(replace(Quality(), answers=(("a",), ("b",))))
    assert from_json(Quality, stored).answers == (("a",), ("b",))
