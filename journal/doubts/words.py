"""The words of a doubt, in English and Chinese: a template for its name, filled in with its values
when it is shown.

A doubt is stored as name and values, so that its words can change without a migration. The words
stand in the room of the rules, because that is the lowest room that knows their names; the rooms
that show them (tracking, exchange, report, the CLI) stand above it.

A template (words.en.toml, words.zh.toml) holds fields: {name}, or {name:unit} with a unit as in
`units.formatted`, or {name:wave~waves}, the form of a word that agrees with its number. Under the
field's own name its table may hold templates of the field's parts: a string chooses one of them, a
mapping the one that its "variant" names.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from journal import units
from journal.errors import UsageError
from journal.language import LANGUAGES, agreeing
from journal.records.doubt import Doubt, Value, Values

PLAIN = "sentence"  # the name of a value that is shown as it stands
VARIANT, ONLY = "variant", "text"

Templates = Mapping[str, Any]


@lru_cache
def templates(lang: str) -> Templates:
    """The templates of `lang` (one of LANGUAGES; else UsageError) by the names of the doubts.
    "list" has the words that join a list, "none" those for a value that is None."""
    if lang not in LANGUAGES:
        raise UsageError(f"doubts have no words in {lang!r}: give one of {', '.join(LANGUAGES)}")
    path = Path(__file__).with_name(f"words.{lang}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def sentence(doubt: Doubt, lang: str = "en") -> str:
    """`doubt` in the words of `lang`. A doubt without a template, such as one that another version
    stored, is shown as its name and values."""
    language = templates(lang)
    table = language.get(doubt.name, {})
    if PLAIN in doubt.values:
        text = str(doubt.values[PLAIN])
        if (known := _known(text, doubt.name)) is not None:
            return str(table[known])
        gist = table.get("gist")
        return gist.format(text=text) if gist else text
    try:
        return _filled(_chosen(table, doubt.values), doubt.values, table, language)
    except (LookupError, TypeError, ValueError):
        return f"{doubt.name}: {json.dumps(doubt.values, ensure_ascii=False)}"


def absence(values: Values, lang: str = "en") -> str:
    """An absent reading (an item of `Readings.absent`) in the words of `lang`."""
    return sentence(Doubt("absent", values), lang)


def part(name: str, field: str, word: str, lang: str = "en") -> str:
    """The words for one value of a doubt's field, such as the cause "power_limit" of
    "throttled"."""
    text: str = templates(lang)[name][field][word]
    return text


def _known(text: str, name: str) -> str | None:
    """The variant of the doubt `name` whose English words, without values, an older journal stored
    as `text`; None where it is none."""
    table = templates("en").get(name, {})
    return next((variant for variant, english in table.items() if english == text), None)


def _chosen(table: Templates, values: Values) -> str:
    template = table[str(values.get(VARIANT, ONLY))]
    if not isinstance(template, str):
        raise TypeError(f"{template!r} is no template")
    return template


def _filled(template: str, values: Values, table: Templates, language: Templates) -> str:
    """`template` with `values` in the place of its fields; `table` has the templates of its
    parts."""
    shown = []
    for literal, name, unit, _ in Formatter().parse(template):
        shown.append(literal)
        if name is None:
            continue
        value, parts = values[name], table.get(name, {})
        if unit and "~" in unit:
            shown.append(agreeing(value, unit))
        elif value is None:
            shown.append(language["none"].get(name, units.ABSENT))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            items = [_part(item, values, parts, table, language) for item in value]
            shown.append(_joined(items, {**language["list"], **parts.get("list", {})}))
        elif unit:
            shown.append(_measured(value, unit))
        else:
            shown.append(_part(value, values, parts, table, language))
    return "".join(shown)


def _part(
    item: Value, values: Values, parts: Templates, table: Templates, language: Templates
) -> str:
    """One item of a field by its template among `parts`; without a template as it stands."""
    if isinstance(item, Mapping):
        if PLAIN in item:
            return str(item[PLAIN])
        known = parts or table  # a part without templates of its own takes those of the whole
        return _filled(_chosen(known, item), item, known, language)
    if isinstance(item, str) and item in parts:
        return _filled(parts[item], values, table, language)
    return str(item)


def _joined(words: Sequence[str], between: Mapping[str, str]) -> str:
    """`words` as a list in a sentence, such as "p90, p95 and p99"."""
    return between["last"].join(filter(None, [between["between"].join(words[:-1]), *words[-1:]]))


def _measured(value: Value, unit: str) -> str:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number of {unit}")
    if unit.startswith("."):  # digits, such as .1f
        return format(value, unit)
    if unit == "MHz":
        return units.rate(value / 1e6, unit)
    return units.formatted(value, unit)
