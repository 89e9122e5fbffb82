"""The log as files: held by golden files, twice the same, safe whatever the runs are named.

`GOLDEN=write pytest tests/report` writes the golden files anew.
"""

import lzma
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from journal.errors import NotFound, UsageError
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.run import ExperimentRecord, Record
from journal.report.day import Day
from journal.report.figures import draw
from journal.report.log import as_html, as_markdown, panels, write_log
from journal.report.phrases import LANGUAGES, words
from journal.report.questions import log_page
from journal.store.store import open_store

GOLDEN = Path(__file__).parent.parent / "golden"
TODAY = date(2026, 11, 20)


def html_of(day: Day, lang: str = "en") -> str:
    whole, language = log_page(day), words(lang)
    return as_html(whole, language, {panel.name: draw(panel, language) for panel in panels(whole)})


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"see {path}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_whole_log_is_as_the_golden_one(big_day: Day, lang: str) -> None:
    check(f"log.{lang}.md", as_markdown(log_page(big_day), words(lang), "2026-11-20"))
    without = re.sub(r"<svg.*?</svg>", "<svg></svg>", html_of(big_day, lang), flags=re.DOTALL)
    check(f"log.{lang}.html", without)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_log_of_a_recorded_journal_is_as_the_golden_one(tmp_path: Path, lang: str) -> None:
    """From the database to the files: every sentence, and every line of every figure."""
    recorded = Path(__file__).parents[2] / "experiments" / "recorded" / "two-architectures.db.xz"
    (tmp_path / "journal.db").write_bytes(lzma.decompress(recorded.read_bytes()))
    with open_store(tmp_path) as store:
        files = write_log(store, tmp_path, date(2026, 11, 23), UTC, lang)
    check(f"recorded.{lang}.md", files.markdown.read_text(encoding="utf-8"))
    html = files.html.read_text(encoding="utf-8")
    without = re.sub(r"<svg.*?</svg>", "<svg></svg>", html, flags=re.DOTALL)
    check(f"recorded.{lang}.html", without)
    drawn = "".join(path.read_text(encoding="utf-8") for path in files.figures)
    check(f"recorded.{lang}.figures", sha256(drawn.encode()).hexdigest() + "\n")


def test_two_calls_write_the_same_files(tmp_path: Path, big_day: Day) -> None:
    with open_store(tmp_path) as store:
        begun = [
            store.begin_experiment(each.experiment, each.started_at, each.environment)
            for each in big_day.experiments
        ]
        for record in big_day.records:
            parent = begun[0 if record.experiment_id == "e1" else 1].id
            store.add_run(replace(record, experiment_id=parent), None)
        files = write_log(store, tmp_path, TODAY, UTC)
        first = {path: path.read_bytes() for path in (tmp_path / "log").rglob("*.*")}
        assert write_log(store, tmp_path, zone=UTC) == files, "the last day is the default"
    assert files.markdown == tmp_path / "log" / "2026-11-20.md"
    assert files.html == tmp_path / "log" / "2026-11-20.html"
    assert set(first) == {files.markdown, files.html, *files.figures}
    assert first == {path: path.read_bytes() for path in first}
    assert files.markdown.read_text().startswith("<!-- ")
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", files.markdown.read_text())
    assert {files.markdown.parent / image for image in images} == set(files.figures)


def test_a_day_without_runs_and_another_language_are_said(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(NotFound, match="nothing was run on 2026-11-20"):
            write_log(store, tmp_path, TODAY)
        with pytest.raises(UsageError, match="fr"):
            write_log(store, tmp_path, TODAY, lang="fr")
    assert not (tmp_path / "log").exists()


def test_the_html_is_one_file_that_loads_and_runs_nothing(big_day: Day) -> None:
    html = html_of(big_day)
    assert "default-src 'none'" in html
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|\burl\((?!#)", html)
    addresses = set(re.findall(r"https?://[^\"\s]+", html))
    assert all(each.startswith("http://www.w3.org/") for each in addresses), "XML names only"


EVIL = '"><script>alert(1)</script>|`$(x)`[a](javascript:x)\x00\u202e<img src=x onerror=y>'


@pytest.fixture
def hostile_day(
    record: Callable[..., Record],
    day_of: Callable[..., Day],
    experiment: Callable[..., ExperimentRecord],
) -> Day:
    """Every text that comes from elsewhere is hostile."""
    runs = [
        record(
            EVIL,
            batch,
            number=batch,
            experiment=EVIL,
            quantisation=EVIL,
            environment={EVIL: EVIL, "cpu": EVIL, "os": EVIL},
            metrics={"output_tokens_per_s": batch, "ttft_s.p50": 0.1},
            doubts=(
                Doubt("rule", {"sentence": EVIL}),
                Doubt("errors", {"failed": 1, "requests": 2, "error": EVIL}),
            ),
        )
        for batch in (1, 2)
    ]
    failed = record(EVIL, 4, number=9, status="failed", error=f"```\n{EVIL}\n```\n# not a heading")
    asked = {"name": EVIL, "question": f"{EVIL}\n\n# second\n- line", "hypothesis": EVIL}
    return day_of([*runs, failed], experiment(**asked, predict={EVIL: 1.0}))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_text_is_only_text_in_html(hostile_day: Day) -> None:
    html = html_of(hostile_day)
    tags = Tags()
    tags.feed(html)
    assert tags.tags.isdisjoint({"script", "img"})
    assert not any(name.startswith("on") for name in tags.attributes)
    assert "\x00" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;U+202E&gt;" in html


def test_hostile_text_is_only_text_in_markdown(hostile_day: Day) -> None:
    text = as_markdown(log_page(hostile_day), words("en"), "2026-11-20")
    assert "\x00" not in text
    assert "\u202e" not in text
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} <= {
        *("text", "text_special", "softbreak", "image"),
        *("strong_open", "strong_close", "em_open", "em_close"),
    }
    blocks = [token for token in tokens if token.type == "html_block"]
    ours = re.compile(r"<!-- (This file|(end of )?words new-)[^<]*-->\s*")
    assert all(ours.fullmatch(token.content) for token in blocks), "our own comments"
    fences = [token.content for token in tokens if token.type == "fence"]
    assert len(fences) == 2, "the command to try next, and the words of the failure"
    assert "# not a heading" in fences[1]


def test_the_names_of_files_come_from_safe_letters(tmp_path: Path, hostile_day: Day) -> None:
    names = [panel.name for panel in panels(log_page(hostile_day))]
    assert names
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert len(set(names)) == len(names)


def test_a_file_is_replaced_whole(tmp_path: Path, day_of: Callable[..., Day]) -> None:
    with open_store(tmp_path) as store:
        store.begin_experiment(Experiment(name="x"), day_of([]).experiments[0].started_at, {})
        files = write_log(store, tmp_path, TODAY, UTC)
        files.markdown.write_text("what was there before")
        before = files.markdown.stat().st_ino
        write_log(store, tmp_path, TODAY, UTC, lang="zh")
    assert files.markdown.stat().st_ino != before
    assert "实验日志" in files.markdown.read_text(encoding="utf-8")
    assert not list((tmp_path / "log").glob(".*"))
