"""Flips: answers to the same questions that differ between two builds of a model, beside those that
differ between two askings of one build."""

from dataclasses import dataclass
from math import comb
from typing import Literal

from journal.records.engine import Quality
from journal.serve.question_set import FixedQuestion, fixed_questions

# Below this chance a difference is called: with equal builds, in fewer than one of 1,000 pairs.
CHANCE = 0.001


@dataclass(frozen=True, slots=True)
class Flip:
    """A question that one build answers otherwise than the other, each alike in both askings."""

    question: FixedQuestion
    first: str
    other: str
    turn: Literal["lost", "gained", "reworded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The answers of two builds compared. `right` are the right answers of each (in both askings),
    `noise` the questions that each build answered in two ways. `lost` and `gained` count the
    discordant pairs, `worse_chance` is McNemar's exact probability of them. `changed_chance` is
    that of as many flips between the builds by the noise within them."""

    questions: int
    right: tuple[int, int]
    noise: tuple[int, int]
    flips: tuple[Flip, ...]
    worse_chance: float
    changed_chance: float

    def count(self, turn: str) -> int:
        """The number of flips of one kind."""
        return sum(flip.turn == turn for flip in self.flips)

    @property
    def verdict(self) -> Literal["worse", "better", "changed", "same"]:
        """Whether the other build answers worse or better, or only otherwise, beyond chance."""
        if self.worse_chance < CHANCE:
            return "worse" if self.count("lost") > self.count("gained") else "better"
        return "changed" if self.changed_chance < CHANCE else "same"


def flips(first: Quality, other: Quality) -> Flips | None:
    """The flips between two builds that were asked the same questions twice; None where one of them
    was not."""
    questions = fixed_questions()
    if any(len(q.answers) != 2 or len(q.answers[0]) != len(questions) for q in (first, other)):
        return None
    noise = tuple(sum(a != b for a, b in zip(*q.answers, strict=True)) for q in (first, other))
    rows = list(zip(questions, *first.answers, *other.answers, strict=True))
    steady = [(q, a, b) for q, a, again, b, later in rows if a == again and b == later]
    found = tuple(_flip(q, a, b) for q, a, b in steady if a != b)
    right = tuple(sum(q.answered_rightly(row[n]) for q, *row in steady) for n in (0, 1))
    lost = sum(flip.turn == "lost" for flip in found)
    gained = sum(flip.turn == "gained" for flip in found)
    return Flips(
        questions=len(questions),
        right=(right[0], right[1]),
        noise=(noise[0], noise[1]),
        flips=found,
        worse_chance=mcnemar(lost, gained),
        changed_chance=_beyond_noise(len(found), sum(noise), len(questions)),
    )


def _flip(question: FixedQuestion, first: str, other: str) -> Flip:
    before, after = question.answered_rightly(first), question.answered_rightly(other)
    turn: Literal["lost", "gained", "reworded"] = (
        "reworded" if before == after else "lost" if before else "gained"
    )
    return Flip(question, first, other, turn)


def mcnemar(lost: int, gained: int) -> float:
    """The two-sided exact probability of discordant pairs as uneven as these, if each falls either
    way alike.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions"; exact by the binomial distribution.
    """
    pairs = lost + gained
    tail: float = sum(comb(pairs, k) for k in range(min(lost, gained) + 1)) / 2**pairs
    return min(1.0, 2 * tail)


def _beyond_noise(found: int, noise: int, questions: int) -> float:
    """The probability of as many flips by the noise within builds, by Fisher's exact test of flips
    between builds (of `questions`) against differences within (of twice as many)."""
    within, total = 2 * questions, found + noise
    if total == 0:
        return 1.0
    every = comb(questions + within, total)
    least = range(found, min(total, questions) + 1)
    return sum(comb(questions, k) * comb(within, total - k) for k in least) / every
