"""The questions by hand in the log of their day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journal.errors import NotFound
from journal.records.notebook import Interaction
from journal.report.day import collect, last_day
from journal.report.log import write_log
from journal.report.sections.asked_by_hand import MOST
from journal.store.interactions import add_interaction
from journal.store.store import Store, open_store

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def ask(store: Store, number: int, text: str, **changes: object) -> None:
    given: dict[str, object] = {
        "id": f"q{number}",
        "source": "ask",
        "asked_at": NOON + timedelta(minutes=number),
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "a|b",
        "api": "chat",
        "messages": ({"role": "system", "content": "brief"}, {"role": "user", "content": text}),
    }
    add_interaction(store, Interaction(**given | changes))  # type: ignore[arg-type]


def test_a_day_on_which_only_questions_were_asked_has_a_log(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(NotFound, match="nothing was run yet"):
            write_log(store, tmp_path)
        figures = {"ttft_s": 0.25, "duration_s": 1.25, "output_tokens": 11, "prompt_tokens": 40}
        ask(store, 1, "Why <b>so</b>?\n\x1b[2J", **figures)
        ask(store, 2, "And? " * 40, source="chat", error="the server | is gone")
        assert last_day(store, UTC) == NOON.date()
        files = write_log(store, tmp_path, zone=UTC)
        assert collect(store, NOON.date(), UTC).questions[1].source == "chat"
    assert "\n2 questions asked by hand.\n" in files.markdown.read_text()
    text, html = files.markdown.read_text(), files.html.read_text()
    first = "| 12:01 (journal ask) | a\\|b | Why &lt;b&gt;so&lt;/b&gt;? ␛\\[2J | 40 | 11 | 250 ms |"
    assert f"{first} 10 tok/s |" in text
    assert "| 12:02 (chat page) |" in text
    assert "And? And? And?" in text and "… (the server \\| is gone) | – | – | – | – |" in text
    assert "<b>so</b>" not in html
    assert "Why &lt;b&gt;so&lt;/b&gt;?" in html


def test_the_last_of_many_questions_are_shown(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for number in range(MOST + 3):
            ask(store, number, f"question {number}.")
        text = write_log(store, tmp_path, lang="zh", zone=UTC).markdown.read_text()
    assert "question 2." not in text
    assert text.count("question ") == MOST
    assert f"\n手动提问：{MOST + 3} 个问题。\n" in text
    assert f"共 {MOST + 3} 个问题，这里是最后 {MOST} 个。" in text
