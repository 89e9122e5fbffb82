"""The glossary in both languages, and what the pages for learners promise: each word is linked
where it comes first, and each day says how long it takes and what it costs."""

import re
from pathlib import Path

import pytest

from journal.plan.cells import cells
from journal.plan.experiment_file import load_experiment
from journal.plan.plan import cost
from journal.report.phrases import words
from journal.serve.models import embedded_dir
from journal.theory.gpu_table import GPU_KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {"en": DOCS / "two-weeks.md", "zh": DOCS / "two-weeks.zh.md"}
GLOSSARIES = {"en": DOCS / "glossary.md", "zh": DOCS / "glossary.zh.md"}
TERMS = {  # the anchor of each: how the term is written in English and in Chinese
    "token": (r"\btokens?\b", "token"),
    "weights": (r"\bweights\b", "权重"),
    "quantisation": (r"\bquantis", "量化"),
    "kv-cache": (r"\bKV cache\b", "KV 缓存(?!池)"),
    "block": (r"\bblocks?\b", "(?<!分)块(?!钱)"),
    "kv-pool": (r"\bpool\b", "缓存池"),
    "gb-and-gib": (r"\bG[i]?B\b", r"\bGi?B\b"),
    "prefill": (r"\bprefill", "预填充"),
    "decode": (r"\bdecode", "解码"),
    "ttft": (r"\bTTFT\b", "TTFT"),
    "tpot": (r"\bTPOT\b", "TPOT"),
    "batch": (r"\bbatch(es)?\b", "批大小"),
    "continuous-batching": (r"\bcontinuous batching\b", "连续批处理"),
    "throughput": (r"\bthroughput\b", "吞吐"),
    "closed-and-open-loop": (r"\b(closed|open) loop\b", "闭环|开环"),
    "slo": (r"\bSLOs?\b", "SLO"),
    "percentile": (r"\bpercentiles?\b", "百分位"),
    "confidence-interval": (r"\bintervals?\b", "区间"),
    "doubt": (r"\bdoubts?\b", "疑点|存疑"),
    "setup": (r"\bsetups?\b", "配置"),
}
ANCHOR = {"en": r"^### (.+)$", "zh": r"^### <a id=\"([^\"]+)\"></a>"}
DAY = {
    "en": r"\*Time: about ([\d.]+) hours?, the GPU for (\d+) minutes of it \(estimate\)\. "
    r"Cost at 2 per hour: ([\d.]+)\.\*",
    "zh": r"\*时间：约 ([\d.]+) 小时，其中租用 GPU (\d+) 分钟（估计）。"
    r"费用，按每小时 2 元计：([\d.]+) 元。\*",
}
PRICE_PER_HOUR = 2.0
STARTING_S = 120.0  # of one start of an engine, at most


def prose(page: Path) -> str:
    """The page without headings, blocks of code, and code in a sentence."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^#.*$|`[^`\n]*`", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("lang", PAGES)
def test_each_of_the_twenty_words_has_its_entry(lang: str) -> None:
    text = GLOSSARIES[lang].read_text()
    _, *entries = re.split(r"^(?=### )", text, flags=re.MULTILINE)
    anchors = [re.findall(ANCHOR[lang], entry, re.MULTILINE)[0] for entry in entries]
    assert [each.lower().replace(" ", "-") for each in anchors] == list(TERMS)
    assert len(TERMS) == 20
    for entry in entries:
        _, _, said = entry.partition("\n\n")
        assert 40 <= len(said.split("\n##")[0]) <= 400, entry


@pytest.mark.parametrize("lang", PAGES)
@pytest.mark.parametrize("term", TERMS)
def test_a_word_is_linked_where_it_comes_first(lang: str, term: str) -> None:
    text = prose(PAGES[lang])
    written = re.compile(TERMS[term][lang == "zh"], re.IGNORECASE)
    bare = re.sub(r"\]\([^)]*\)", lambda target: "]" + " " * (len(target[0]) - 1), text)
    first = written.search(bare)
    assert first is not None
    links = re.finditer(rf"\[([^\]]+)\]\({GLOSSARIES[lang].name}#{term}\)", text)
    spans = [link.span(1) for link in links]
    assert any(start <= first.start() < end for start, end in spans), text[first.start() - 40 :][
        :80
    ]


def test_the_log_names_the_glossary_of_its_language() -> None:
    for lang, page in GLOSSARIES.items():
        assert f"docs/{page.name}" in words(lang).phrases["footer"]


def days(lang: str) -> list[tuple[float, int, float]]:
    found = re.findall(DAY[lang], PAGES[lang].read_text())
    return [(float(hours), int(minutes), float(cost)) for hours, minutes, cost in found]


@pytest.mark.parametrize("lang", PAGES)
def test_each_day_says_how_long_it_takes_and_what_it_costs(lang: str) -> None:
    assert days(lang) == days("en") and len(days(lang)) == 11
    for hours, minutes, price in days(lang):
        assert minutes <= hours * 60
        assert price == round(minutes / 60 * PRICE_PER_HOUR, 2)
    rented_h = sum(minutes for _, minutes, _ in days(lang)) / 60
    text = PAGES[lang].read_text()
    assert f" {rented_h:.1f} " in text and f" {rented_h * PRICE_PER_HOUR:.2f}" in text
    assert f" {24 * PRICE_PER_HOUR:.0f} " in text  # a day that the machine was forgotten


def fastest_s(name: str) -> float:
    """The time of the requests of a shipped experiment on an A100 80GB: 7.24e9 parameters of 2
    bytes are read at its full bandwidth for each token, and prompts at half of its computing."""
    (gpu,) = (kind for kind in GPU_KINDS if kind.name == "A100 80GB")
    parameters, total = 7.24e9, 0.0
    for cell in cells(load_experiment(name)):
        assert cell.batch is not None
        step_s, steps = 2 * parameters / gpu.bandwidth, cell.load.requests * cell.output_tokens
        read_s = 2 * parameters / (gpu.fp16_flops / 2)
        total += steps / cell.batch * step_s + cell.load.requests * cell.prompt_tokens * read_s
    return total


@pytest.mark.parametrize("lang", PAGES)
def test_the_minutes_beside_a_run_are_those_of_its_plan(lang: str) -> None:
    beside = re.findall(
        r"^journal run ([\w-]+) +# \D*(\d+) ", PAGES[lang].read_text(), re.MULTILINE
    )
    assert len(beside) == 5
    for name, minutes in beside:
        starts = cost(cells(load_experiment(name))).engine_starts
        least_s = fastest_s(name)
        assert least_s < int(minutes) * 60 < 1.5 * least_s + starts * STARTING_S, name


LINK = r"(?<!!)\[([^\]]+)\]\(([^)#]+\.md)[^)]*\)(（英文）)?"


@pytest.mark.parametrize("page", [ROOT / "README.zh-CN.md", *sorted(DOCS.glob("*.zh.md"))], ids=str)
def test_a_page_that_is_in_english_only_is_marked_in_chinese(page: Path) -> None:
    for name, target, marked in re.findall(LINK, page.read_text()):
        linked = page.parent / target
        chinese = linked.name.endswith(".zh.md") or linked.with_suffix(".zh.md").is_file()
        if not target.startswith("http") and "英文" not in name and name != "English":
            assert bool(marked) != chinese, (name, target)


@pytest.mark.engine
def test_the_tokens_that_are_shown_are_those_of_the_small_model(kept_up: tuple[Path, str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(embedded_dir() / "tokenizer.json"))
    for page in PAGES.values():
        shown = re.findall(r"```text\n(.*\|.*)\n```", page.read_text())
        assert len(shown) == 2
        for line in shown:
            text = line.replace("|", "")
            offsets = tokenizer.encode(text, add_special_tokens=False).offsets
            assert [text[start:end] for start, end in offsets] == line.split("|")
    question = "天空为什么是蓝色的？"
    count = len(tokenizer.encode(question, add_special_tokens=False).ids)
    assert f"“{question}”只有十个字符，却要 {count} 个 token" in PAGES["zh"].read_text()
    assert len(question) == 10
