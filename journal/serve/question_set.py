"""Fixed questions of the quality check, in English and Chinese, with rules for right answers."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("questions.toml")
ANSWER_TOKENS = 12
FORMS = {"en": "Question: {ask}\nAnswer:", "zh": "问题：{ask}\n回答："}


@dataclass(frozen=True, slots=True)
class FixedQuestion:
    """A question in `lang` ("en" or "zh"). `right` is a regular expression for the words of a right
    answer."""

    lang: str
    ask: str
    right: str

    @property
    def prompt(self) -> str:
        """The question as a text that a model continues with an answer."""
        return FORMS[self.lang].format(ask=self.ask)

    def answered_rightly(self, answer: str) -> bool:
        """Whether the first line of `answer` has the right words, in any case; a number or a word
        of Latin letters counts as a whole only."""
        lines = answer.strip().splitlines()
        edges = r"(?<![a-z0-9])(?:{})(?![a-z0-9])"
        return bool(lines and re.search(edges.format(self.right), lines[0].lower()))


@lru_cache
def fixed_questions() -> tuple[FixedQuestion, ...]:
    """All fixed questions, in the order in which they are asked."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(FixedQuestion(**row) for row in table["question"])
