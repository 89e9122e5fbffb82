"""Prose in a terminal: every width keeps every word whole."""

import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from journal.cli.prose import in_lines

WORDS = st.lists(
    st.sampled_from(
        ("93,184", "12 GiB", "/a/very/long/path/to/a/log.html", "批大小", "，", "（", "x）")
    ),
    min_size=1,
    max_size=40,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(WORDS, st.sampled_from((60, 80, 100)))
def test_lines_fit_and_no_word_is_cut(words: list[str], width: int) -> None:
    text = " ".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        lines = in_lines(text, io.StringIO()).split("\n")
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)
    for word in re.findall(r"[!-~]+", text):
        assert any(word in line for line in lines)


def test_a_word_wider_than_the_terminal_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert in_lines("see /tmp/log/2026-11-23.html", io.StringIO()).split("\n") == [
        "see",
        "/tmp/log/2026-11-23.html",
    ]


def test_chinese_breaks_between_letters_and_not_before_a_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert in_lines("吞吐量变为 954，变了。", Terminal()) == "吞吐量变为\n954，变\n了。"


def test_an_error_in_a_pipe_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert in_lines("word " * 100, sys.stderr) == "word " * 100


def test_a_pipe_without_columns_gets_lines_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert in_lines("word " * 100, io.StringIO()) == "word " * 100
