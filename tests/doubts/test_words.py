"""The words of doubts: an example of each template in English, and in Chinese without English
prose."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from journal.doubts.rules import RULES
from journal.doubts.words import LANGUAGES, part, sentence, templates
from journal.errors import UsageError
from journal.records.doubt import Doubt

# One line for each template: a doubt, and its sentence.
EXAMPLES = [
    json.loads(line)
    for line in Path(__file__).with_name("examples.jsonl").read_text(encoding="utf-8").splitlines()
]
DOUBTS = [Doubt(one["name"], one["values"], one["severity"]) for one in EXAMPLES]
NAMES = [doubt.name for doubt in DOUBTS]
SENTENCES = list(zip(DOUBTS, (one["sentence"] for one in EXAMPLES), strict=True))
# Words that are the same in Chinese and in English: names, units, and words quoted or typed.
ALIKE = set(
    "TTFT TPOT HTTP DONE KV PCIe GPU token id ms min s MHz MiB GiB NVIDIA NVML MIG SM UUID WSL Xid "
    "AIPerf GuideLLM batch metrics version vllm modprobe nvidia dev dmesg cgroup nvidia-smi usage "
    "p90 p95 p99 tiny big gpus TGI journal explain fit".split()
)


def leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every template of a language by its dotted key, without the words that join lists."""
    for key, value in table.items():
        if isinstance(value, str):
            yield key, value
        elif key not in ("list", "none"):
            yield from ((f"{key}.{below}", text) for below, text in leaves(value))


def of_doubts(lang: str) -> dict[str, str]:
    return {k: text for k, text in leaves(templates(lang)) if not k.endswith(".gist")}


def fields(template: str) -> set[tuple[str, str]]:
    """The fields of a template with their units, without those that are forms of a word."""
    every = ((name, unit or "") for _, name, unit, _ in Formatter().parse(template) if name)
    return {(name, unit) for name, unit in every if "~" not in unit}


def english_prose(text: str) -> list[str]:
    """The English words of a text without addresses, flags, identifiers and the words of ALIKE."""
    without = re.sub(
        r"https?://\S+?/\w+|--gpus all|--[a-z-]+|[\w-]*[_.=][\w.=-]*", " ", text, flags=re.ASCII
    )
    return [word for word in re.findall(r"[A-Za-z][A-Za-z0-9-]*", without) if word not in ALIKE]


@pytest.mark.parametrize(("doubt", "words"), SENTENCES, ids=NAMES)
def test_the_english_of_a_doubt_is_that_of_its_example(doubt: Doubt, words: str) -> None:
    assert sentence(doubt) == words


def test_every_rule_has_an_example() -> None:
    assert set(NAMES) == {rule.name for rule in RULES} | {"absent"}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_template_is_shown_by_an_example(lang: str) -> None:
    shown = [sentence(doubt, lang) for doubt in DOUBTS]
    for key, template in of_doubts(lang).items():
        literals = [literal for literal, _, _, _ in Formatter().parse(template)]
        assert any(all(one in text for one in literals) for text in shown), key


def test_both_languages_have_the_same_templates_with_the_same_values() -> None:
    english, chinese = map(of_doubts, LANGUAGES)
    assert list(english) == list(chinese)
    for key, template in english.items():
        assert fields(template) == fields(chinese[key]), key
    assert templates("en")["none"].keys() == templates("zh")["none"].keys()


@pytest.mark.parametrize("doubt", DOUBTS, ids=NAMES)
def test_the_chinese_of_a_doubt_has_no_english_prose(doubt: Doubt) -> None:
    text = sentence(doubt, "zh").replace("HTTP 500: out of memory", "")
    assert text.endswith("。") or "E_1" in text
    assert english_prose(text) == []
    assert re.search("[\u4e00-\u9fff]{4}", text)


def ones(value: Any) -> Any:
    """A value of which every whole number is one."""
    if isinstance(value, dict):
        return {name: ones(part) for name, part in value.items()}
    if isinstance(value, list):
        return [ones(part) for part in value]
    return 1 if type(value) is int else value


PLURAL = re.compile(r"(?<![\d.,])1 (?!is|was|has|does|makes|gives|holds|says)[a-z]{2,}s\b")


@pytest.mark.parametrize("doubt", DOUBTS, ids=NAMES)
def test_a_count_of_one_has_no_plural(doubt: Doubt) -> None:
    assert PLURAL.findall(sentence(Doubt(doubt.name, ones(doubt.values)))) == []
    assert PLURAL.search("1 waves of requests") and not PLURAL.search("11 waves, 1 ms, 1 has")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_templates_carry_no_markup(lang: str) -> None:
    for key, template in of_doubts(lang).items():
        assert not re.search(r"[<>|`\\]", template), key


def test_english_prose_is_noticed() -> None:
    assert english_prose("运行中途 the host 休眠了 90 s") == ["the", "host"]


def test_a_doubt_that_was_stored_in_words_keeps_them() -> None:
    old = Doubt("drift", {"sentence": "It drifted by {9}%."})
    assert sentence(old) == "It drifted by {9}%."
    assert sentence(old, "zh") == "运行期间数值有漂移，结果取决于跑了多久：It drifted by {9}%."
    assert sentence(Doubt("mine", {"sentence": "So it is."}), "zh") == "So it is."


def test_every_rule_has_a_gist_for_old_words() -> None:
    gists = {key for key, value in templates("zh").items() if "gist" in value}
    assert gists == {rule.name for rule in RULES} | {"absent"}


@pytest.mark.parametrize(
    "doubt",
    [
        Doubt("of_another_version", {"batch": 4}),
        Doubt("drift", {"metric": "tpot_s"}),
        Doubt("swapping", {"swapped_bytes": "many"}),
        Doubt("throttled", {"variant": "causes"}),
        Doubt("few_readings", {"lasted_s": 1.0, "few": [{"variant": "other"}]}),
    ],
    ids=lambda doubt: doubt.name,
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_doubt_without_a_template_shows_its_values(doubt: Doubt, lang: str) -> None:
    text = sentence(doubt, lang)
    assert text == f"{doubt.name}: {json.dumps(doubt.values)}"


def test_a_value_is_never_taken_for_a_template() -> None:
    doubt = Doubt("errors", {"failed": 1, "requests": 2, "error": "{failed} {0} {missing}"})
    assert "(most often: {failed} {0} {missing})" in sentence(doubt)


def test_a_value_that_is_absent_is_a_dash() -> None:
    doubt = Doubt("preemptions", {"preemptions": None})
    assert sentence(doubt).startswith("The server preempted requests – times")


def test_a_part_of_a_doubt_has_words_of_its_own() -> None:
    assert part("throttled", "causes", "power_limit") == "its power limit"
    assert part("throttled", "causes", "power_limit", "zh") == "功耗上限"


def test_an_unknown_language_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"'fr'.*en, zh"):
        sentence(DOUBTS[0], "fr")


def test_an_old_sentence_that_has_no_values_is_reworded() -> None:
    english = templates("en")["absent"]["no_driver"]
    old = Doubt("absent", {"sentence": english})
    assert sentence(old) == english
    assert sentence(old, "zh") == templates("zh")["absent"]["no_driver"]
