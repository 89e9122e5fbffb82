"""The language in which people are spoken to, and the Chinese of what the code says in English.

A text is looked up as gettext does it, by the English that stands in the code: the files in
chinese/ have it with {0}, {1} and so on for its values on the left, and the Chinese on the right.
So the code reads as it prints, an error stays one string for scripts, and a translator edits
nothing but these files. tests/test_language.py names each text that has no entry."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from journal.errors import UsageError

LANGUAGES = ("en", "zh")
VARIABLE = "JOURNAL_LANG"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts, as POSIX has it
CATALOGUES = Path(__file__).parent / "chinese"
FIELD = re.compile(r"\{(\d+)\}")
MARKS = (("; ", "；"), (": ", "："), (", ", "，"))
RANGE = "to"  # the letters of a text that is one by its numbers alone
DEPTH = 4  # values are texts themselves, such as a cause within an error within a line


def language(given: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """One of LANGUAGES: `given` (an option), else JOURNAL_LANG, else that of the locale; English
    where none says. zh_CN, zh-CN and zh_CN.UTF-8 are zh. Raises UsageError for another language
    that was asked for; a locale of another one is English."""
    return chosen(given, environment) or _of_locale(environment)


def chosen(given: str | None = None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The language that was asked for by `given` or JOURNAL_LANG; None where neither says. Raises
    UsageError as `language` does."""
    for name, text in (("--lang", given), (VARIABLE, environment.get(VARIABLE, "").strip())):
        if not text:
            continue
        if (code := _code(text)) not in LANGUAGES:
            raise UsageError(f"{name} {text[:60]!r} is not a language: give en or zh")
        return code
    return None


def _of_locale(environment: Mapping[str, str]) -> str:
    locale = next((value for name in LOCALE if (value := environment.get(name))), "")
    return "zh" if _code(locale) == "zh" else "en"


def _code(text: str) -> str:
    """The language of a code such as zh_CN.UTF-8 or en-GB."""
    return re.split(r"[-_.@]", text.strip().lower(), maxsplit=1)[0]


def agreeing(number: object, forms: str) -> str:
    """The form of a word that agrees with `number`: of `forms`, such as "wave~waves", the first for
    one and the second for any other. English alone needs them."""
    one, _, many = forms.partition("~")
    return one if str(number) in ("1", "1.0") else many


def translated(text: str, lang: str | None = None) -> str:
    """`text`, which is English, in `lang` (None: that of `language()`); as it is where there are
    no other words for it, such as a name or another program's own words."""
    if (lang or language()) == "en" or not text.strip():
        return text
    return "\n".join(_line(line) for line in text.split("\n")) if "\n" in text else _line(text)


def label(text: str, lang: str | None = None) -> str:
    """A heading or a label of one word or more, by its whole text alone."""
    return catalogue().get(text, text) if (lang or language()) == "zh" else text


@lru_cache
def _shipped() -> Mapping[str, str]:
    return tomllib.loads((CATALOGUES / "experiments.toml").read_text(encoding="utf-8"))


def shipped_text(text: str, lang: str) -> str:
    """A question or a hypothesis in `lang` where it is one of an experiment that ships; any other
    text as it is."""
    return _shipped().get(" ".join(text.split()), text) if lang == "zh" else text


def _line(text: str) -> str:
    known = _known(text, 0)
    return text if known is None else known


@lru_cache(maxsize=4096)
def _known(text: str, depth: int) -> str | None:
    """The Chinese of `text`, or of its parts around a colon or a semicolon; None where neither it
    nor a part has any."""
    known = catalogue()
    if text in known:
        return known[text].replace("{{", "{").replace("}}", "}")
    for english, literals in _patterns():
        if all(literal in text for literal in literals) and (
            match := _pattern(english).fullmatch(text)
        ):
            if _letters(literals) == RANGE and any(value[:1].isalpha() for value in match.groups()):
                continue
            values = {name: _value(value, depth) for name, value in _named(match)}
            return "".join(
                values[part] if at % 2 else part.replace("{{", "{").replace("}}", "}")
                for at, part in enumerate(FIELD.split(known[english]))
            )
    return _joined(text, depth) if depth < DEPTH else None


def _joined(text: str, depth: int) -> str | None:
    """The Chinese of two texts that a mark joins, such as a file and what is wrong in it; None
    where neither has any."""
    for mark, chinese in MARKS:
        for at in (found.start() for found in re.finditer(re.escape(mark), text)):
            parts = text[:at], text[at + len(mark) :]
            known = [_known(part, depth + 1) if " " in part.strip() else None for part in parts]
            if any(known):
                return chinese.join(new or old for new, old in zip(known, parts, strict=True))
    return None


def _value(text: str, depth: int) -> str:
    """A value within a text: what more than one word says may have an entry of its own."""
    known = _known(text, depth + 1) if " " in text and depth < DEPTH else None
    return text if known is None else known


def _named(match: re.Match[str]) -> Iterator[tuple[str, str]]:
    for name, value in match.groupdict().items():
        yield name.removeprefix("v"), value


@lru_cache
def catalogue() -> Mapping[str, str]:
    """The Chinese of every English text, of all catalogues. A text of several lines is in it line
    by line too, as `translated` looks it up."""
    table: dict[str, str] = {}
    for path in sorted(CATALOGUES.glob("*.toml")):
        table |= tomllib.loads(path.read_text(encoding="utf-8"))
    several = [(english, chinese) for english, chinese in table.items() if "\n" in english]
    for english, chinese in several:
        table |= zip(english.split("\n"), chinese.split("\n"), strict=True)
    return table


@lru_cache
def _patterns() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The texts with values, and what stands between these; those that say most come first."""
    texts = ((english, _literals(english)) for english in catalogue() if FIELD.search(english))
    said = ((english, literals) for english, literals in texts if any(map(str.strip, literals)))
    return tuple(sorted(said, key=lambda text: -sum(map(len, text[1]))))


def _letters(literals: tuple[str, ...]) -> str:
    return "".join(char for literal in literals for char in literal if char.isalpha())


def _literals(english: str) -> tuple[str, ...]:
    parts = FIELD.split(english)[::2]
    return tuple(part.replace("{{", "{").replace("}}", "}") for part in parts if part)


@lru_cache(maxsize=1024)
def _pattern(english: str) -> re.Pattern[str]:
    parts, seen = FIELD.split(english), set[str]()
    pattern = ""
    for at, part in enumerate(parts):
        if at % 2 == 0:
            pattern += re.escape(part.replace("{{", "{").replace("}}", "}"))
        else:
            pattern += f"(?P=v{part})" if part in seen else f"(?P<v{part}>.*?)"
            seen.add(part)
    return re.compile(pattern, re.DOTALL)
