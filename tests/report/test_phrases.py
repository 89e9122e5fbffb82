import re
import string

import pytest

from journal.errors import UsageError
from journal.records.doubt import Doubt
from journal.report.document import say
from journal.report.phrases import LANGUAGES, TEMPLATES, words

SOURCES = [path.read_text() for path in TEMPLATES.parent.rglob("*.py")]
SOURCES += [path.read_text() for path in TEMPLATES.glob("*.j2")]


def fields(phrase: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(phrase) if name}


def test_both_languages_say_the_same_things() -> None:
    english, chinese = (words(lang).phrases for lang in LANGUAGES)
    assert list(english) == list(chinese)
    for key, phrase in english.items():
        if not key.startswith("count."):
            assert fields(phrase) == fields(chinese[key]), key


def test_a_count_of_one_has_no_plural() -> None:
    english = words("en")
    for n, said in (("1", "1 of 1 run is valid."), ("12", "12 of 12 runs are valid.")):
        assert english.say(say("first.all_valid", n=n), str) == f"None: {said}"
    assert english.say(say("first.unchanged", cells="1"), str).endswith(
        "1 cell that was measured before."
    )


def test_a_doubt_is_in_the_language_of_the_log_and_escaped() -> None:
    doubt = Doubt("no_warmup", {})
    assert words("en").say(doubt, str.upper).startswith("THERE WAS NO WARM-UP")
    assert words("zh").say(doubt, str.upper).startswith("没有预热")
    within = say("doubt", name="no_warmup", text=doubt, places=("<a>",))
    assert words("zh").say(within, str.upper).endswith("LOAD.WARMUP 设为 1 或更大。（<A>）")


def test_every_phrase_that_is_asked_for_exists() -> None:
    used = {key for text in SOURCES for key in re.findall(r'(?:say|phrase)\(\s*"([^"]+)"', text)}
    assert used
    assert used <= set(words("en").phrases)


def test_every_phrase_is_used() -> None:
    """By its own key, or by the beginning or the end of one that is put together."""
    text = "\n".join(SOURCES)
    built = set(re.findall(r'f"([a-z_.]+\.)\{', text)) | {"month.", "weekday.", "at.", "brief."}
    for key in words("en").phrases:
        assert f'"{key}"' in text or any(key.startswith(prefix) for prefix in built), key


@pytest.mark.parametrize("lang", LANGUAGES)
def test_phrases_carry_no_markup(lang: str) -> None:
    for key, phrase in words(lang).phrases.items():
        assert not re.search(r"[<>&|`*\\]", phrase), key


def test_values_are_escaped_however_deep() -> None:
    text = say("at.both", a=("<a>", say("at.batch", n="<b>")), b="<c>")
    assert words("en").say(text, str.upper) == "<A>, batch <B> · <C>"
    assert words("zh").say(text, str.upper) == "<A>、批大小 <B> · <C>"


def test_an_unknown_language_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"'fr'.*en, zh"):
        words("fr")
