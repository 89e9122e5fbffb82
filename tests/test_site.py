"""The site of docs/ builds without a warning, in both languages, asks no other host for anything,
and finds the public names where it is opened as a file."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[1]
# What a browser loads by itself: a link that a reader may follow is not among it.
LOADED = r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    out = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return out


def test_each_page_is_there_in_both_languages(site: Path) -> None:
    english = {str(page.relative_to(site)) for page in site.rglob("*.html")}
    assert {"index.html", "two-weeks.html", "commands.html", "library.html"} <= english
    for page in (ROOT / "docs").glob("*.md"):
        if not page.name.endswith(".zh.md"):
            assert {f"{page.stem}.html", f"zh/{page.stem}.html"} <= english
    assert "两周" in (site / "zh" / "two-weeks.html").read_text()


def test_every_title_of_the_navigation_is_in_chinese_too() -> None:
    settings, _, navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")
    titles = re.findall(r"^ +- ([^:\n]+):", navigation, re.MULTILINE)
    assert len(titles) > 25
    chinese = dict(re.findall(r"^ {12}([^:\n]+): (.*[\u4e00-\u9fff].*)$", settings, re.MULTILINE))
    assert [title for title in titles if title not in chinese] == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = ["".join(match) for match in re.findall(LOADED, page.read_text())]
        assert loaded
        assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == [], page


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("load_experiment", "library.html#journalload_experiment"),
        ("--shared-prefix", "commands.html#journal-run"),
        ("rate_not_achieved", "metrics.html#doubts"),
        ("疑点", "zh/glossary.html#doubt"),
    ],
)
def test_the_search_of_a_page_that_was_opened_as_a_file(
    site: Path, browser: Any, asked: str, page: str
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    links = (
        "return [...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    )
    browser.get(f"{(site / 'index.html').as_uri()}?q={quote(asked)}")
    found = WebDriverWait(browser, 20).until(lambda chrome: chrome.execute_script(links))
    assert (site / page).as_uri().replace("%23", "#") in {
        re.sub(r"\?[^#]*", "", link) for link in found
    }
