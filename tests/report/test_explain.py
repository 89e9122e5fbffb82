"""`journal explain` and its words: a file, standard input, JSON, and both languages."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import journal
from journal.errors import UsageError
from journal.records.explanation import Explanation, Phrase, RankMemory
from journal.report.explain_words import (
    GLYPHS,
    WIDTH,
    chinese_causes,
    explanation_text,
    memory_parts,
    phrase,
    terminal_columns,
)
from journal.report.phrases import TEMPLATES
from journal.serve.engines.vllm import failure
from journal.serve.engines.vllm.failure_causes import CAUSES
from journal.serve.engines.vllm.start_wordings import PHASES

DATA = Path(__file__).parents[1] / "data" / "engine"
CASES = {
    case["id"]: "\n".join(case["lines"]) if "lines" in case else case["log"]
    for name in ("start-logs", "failure-logs")
    for case in json.loads((DATA / "public" / f"{name}.json").read_text())
}
KEYS = (
    "engine_version weights_bytes kv_pool_bytes kv_pool_tokens activation_bytes graph_bytes "
    "context_bytes phases ranks cause remedy"
).split()
GIB = 2**30


def of(case: str) -> Explanation:
    return journal.explain(CASES[case].splitlines())


def run(*arguments: str, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "journal", "explain", *arguments]
    return subprocess.run(command, input=text, capture_output=True, timeout=60)


def test_json_has_exactly_its_keys_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(CASES["L27"])
    told = json.loads(run(str(log), "--json").stdout)
    assert list(told) == KEYS
    assert told["weights_bytes"] == round(14.26 * GIB)
    assert told["cause"] is None
    assert json.loads(run("-", "--json", text=CASES["L27"].encode()).stdout) == told
    nothing = json.loads(run("-", "--json", text=b"\xff\x00\xfe").stdout)
    assert nothing == dict.fromkeys(KEYS)


def test_a_file_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        journal.explain(tmp_path / "none.log")
    with pytest.raises(UsageError, match="cannot be read"):
        journal.explain(tmp_path)
    assert journal.explain([]) == Explanation()


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("case", CASES)
def test_every_line_fits_a_terminal_of_80_columns(case: str, lang: str) -> None:
    text = explanation_text(of(case), lang)
    assert text
    assert all(terminal_columns(line) <= 80 for line in text.splitlines()), text


def test_the_user_is_told_where_the_memory_went_in_both_languages() -> None:
    english, chinese = explanation_text(of("L27")), explanation_text(of("L27"), "zh")
    assert "1.7 requests of 131,072 tokens at once" in english
    assert "Memory of a GPU: 23.6 GiB" in english
    assert "一块 GPU 的显存：23.6 GiB" in chinese
    bars = [line for line in english.splitlines() if len(set(line)) <= 6 and len(line) == WIDTH]
    assert len(bars) == 1
    assert bars[0].count("█") == round(14.26 / 23.56 * WIDTH)
    with pytest.raises(UsageError, match="nothing is explained in 'fr'"):
        explanation_text(of("L27"), "fr")


def test_alike_gpus_share_a_bar_and_others_have_their_own() -> None:
    assert explanation_text(of("L26")).count("Memory of a GPU") == 2
    alike = Explanation(
        ranks={name: RankMemory(weights_bytes=GIB) for name in ("a pid=1", "b pid=2")}
    )
    assert "each of 2 (a pid=1, b pid=2)" in explanation_text(alike)


def test_the_parts_of_a_gpu_sum_to_it_with_the_graphs_once() -> None:
    rank = RankMemory(
        weights_bytes=10 * GIB,
        kv_pool_bytes=5 * GIB,
        activation_bytes=3 * GIB,
        graph_estimate_bytes=GIB,
        graph_bytes=GIB,
        total_bytes=24 * GIB,
    )
    parts = memory_parts(rank)
    assert parts["activations"] == 2 * GIB
    assert sum(parts.values()) == 24 * GIB
    assert set(parts) <= set(GLYPHS)


def test_a_terminal_without_blocks_gets_letters() -> None:
    explanation_text(of("L27"), ascii_only=True).encode("ascii")


def test_a_failure_says_what_to_do_in_both_languages() -> None:
    assert "To do: lower max_model_len to 79104" in explanation_text(of("F01"))
    assert "建议：把 max_model_len 降到 79104" in explanation_text(of("F01"), "zh").replace(
        "\n", ""
    )
    assert "To do: not known" in explanation_text(of("F27"))


def test_every_cause_and_remedy_has_chinese_words_with_the_same_values() -> None:
    fixed = [failure.NO_REASON, failure.PROCESS_VANISHED, *failure.KILLED_BY_KERNEL]
    templates = {words.template for words in fixed}
    templates |= {
        failure.ENDED_BY_ITSELF,
        failure.PROCESS_CRASHED,
        failure.CRASHED_ON_THE_BUS,
        failure.SHARED_MEMORY[1],
    }
    for known in CAUSES:
        templates |= {known.cause, known.remedy, *(one.remedy for one in known.reckoned)}
    assert set(chinese_causes()) == templates
    values = tuple(f"<{n}>" for n in range(6))
    for english, chinese in chinese_causes().items():
        marks = [value for value in values if value in english.format(*values)]
        assert [value for value in values if value in chinese.format(*values)] == marks
    own = Phrase(failure.OWN_WORDS, ("KeyError: 'a'",))
    assert phrase(own, "zh") == "KeyError: 'a'"


def test_a_start_that_is_not_over_says_how_far_it_came() -> None:
    told = journal.explain(["INFO 01-02 03:04:05 [x.py:1] Starting to load model m..."])
    assert "it was last fetching the weights" in explanation_text(told).replace("\n", " ")
    assert "最后一步是获取权重" in explanation_text(told, "zh")
    english = tomllib.loads((TEMPLATES / "explain_en.toml").read_text())
    assert all(phase in english for _, phase in PHASES)


def test_both_languages_have_the_same_words() -> None:
    english, chinese = (
        tomllib.loads((TEMPLATES / f"explain_{lang}.toml").read_text()) for lang in ("en", "zh")
    )
    assert english.keys() == chinese.keys()
