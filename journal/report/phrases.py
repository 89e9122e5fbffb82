"""The log's phrases in one language: templates/en.toml and templates/zh.toml."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from journal.doubts.words import sentence
from journal.errors import UsageError
from journal.language import LANGUAGES, agreeing, translated
from journal.records.doubt import Doubt
from journal.report.document import Spoken, Text

TEMPLATES = Path(__file__).parent / "templates"


class _Forms(Formatter):
    """Fields such as {n:run~runs}, the form of a word that agrees with the number n."""

    def format_field(self, value: object, format_spec: str) -> str:
        return agreeing(value, format_spec) if "~" in format_spec else str(value)


_FORMS = _Forms()


@dataclass(frozen=True, slots=True)
class Words:
    """The phrases of one language by dotted key, with {names} for the values."""

    lang: str
    phrases: Mapping[str, str]

    def say(self, text: Text, escape: Callable[[str], str]) -> str:
        """`text` in this language, every value made safe by `escape`; a tuple becomes a list."""
        if isinstance(text, str):
            return escape(text)
        if isinstance(text, tuple):
            return self.phrases["list.between"].join(self.say(part, escape) for part in text)
        if isinstance(text, Doubt):
            return escape(sentence(text, self.lang))
        if isinstance(text, Spoken):
            return escape(translated(text.english, self.lang))
        if text.otherwise and text.key not in self.phrases:
            return self.say(text.otherwise, escape)
        values = {name: self.say(value, escape) for name, value in text.values.items()}
        phrase = self.phrases[text.key]
        return _FORMS.vformat(phrase, (), values) if "~" in phrase else phrase.format(**values)

    def paragraph(self, sentences: tuple[Text, ...], escape: Callable[[str], str]) -> str:
        """`sentences` in this language, one after the other, every value made safe by `escape`."""
        between = self.phrases["sentence.between"]
        return between.join(self.say(sentence, escape) for sentence in sentences)


@lru_cache
def words(lang: str) -> Words:
    """The phrases of `lang` (one of LANGUAGES). Raises UsageError for any other."""
    if lang not in LANGUAGES:
        raise UsageError(f"the log is not written in {lang!r}: give one of {', '.join(LANGUAGES)}")
    table = tomllib.loads((TEMPLATES / f"{lang}.toml").read_text(encoding="utf-8"))
    return Words(lang, dict(_flat(table)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
