"""Places for the user's own words: exact, whatever else was done to the file."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.report.regions import UNSEALED, marked_place, read_log, sealed

BYTES = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
WORDS = st.text(max_size=60) | BYTES
LINES = st.lists(st.sampled_from(["", "a", "<!-- x -->", "| 1 |", "## b", " \t"]), max_size=4)


def a_file(*words: tuple[str, str], between: str = "text") -> str:
    places = [marked_place(name, text, "hint") for name, text in words]
    return sealed(
        "\n".join([f"<!-- top {UNSEALED} -->", *(f"{between}\n{p}" for p in places), "end"])
    )


def texts(file: str) -> dict[str, str]:
    return {words.name: words.text for words in read_log(file).words}


@given(st.lists(WORDS, max_size=3), LINES)
@settings(max_examples=200, deadline=None)
def test_words_come_back_byte_for_byte(words: list[str], lines: list[str]) -> None:
    named = [(f"{n:016x}", text) for n, text in enumerate(words)]
    file = a_file(*named, between="\n".join(lines))
    contents = read_log(file)
    assert contents.sealed
    assert [(each.name, each.text) for each in contents.words] == named
    assert not any(each.changed for each in contents.words)


@given(WORDS, WORDS)
@settings(max_examples=200, deadline=None)
def test_changed_words_are_seen_and_leave_the_seal_whole(before: str, after: str) -> None:
    file = a_file(("one", before))
    start = file.index("-->\n", file.index("words one")) + 4
    edited = file[:start] + after + file[start + len(before) :]
    (words,) = read_log(edited).words
    assert words.text == after
    assert words.changed == (after != before)
    assert words.were(before)
    assert read_log(edited).sealed


@given(st.integers(0, 400), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_change_elsewhere_breaks_the_seal_and_nothing_else(at: int, typed: str) -> None:
    file = a_file(("one", "mine"), ("new-day", ""), between="some text\nover lines")
    at %= len(file)
    edited = file[:at] + typed + file[at:]
    typed_into_a_place = texts(edited).keys() == {"one", "new-day"} and texts(edited) != texts(file)
    assert read_log(edited).sealed == typed_into_a_place


@pytest.mark.parametrize(
    "harmless",
    [
        lambda file: file.replace("\n", "\r\n"),
        lambda file: "\ufeff" + file,
        lambda file: file + "\n\n",
        lambda file: file.replace("some text", "some text   "),
    ],
    ids=["windows", "byte order mark", "blank lines at the end", "blanks at the end of a line"],
)
def test_what_editors_do_by_themselves_is_no_change(harmless) -> None:  # type: ignore[no-untyped-def]
    file = a_file(("one", "a\nb\n"), ("new-day", ""), between="some text")
    contents = read_log(harmless(file))
    assert contents.sealed
    assert [(words.text, words.changed) for words in contents.words] == [
        ("a\nb\n", False),
        ("", False),
    ]


def test_lines_that_only_windows_ends_so_in_a_unix_file_are_kept() -> None:
    assert texts(a_file(("one", "a\r\nb\r"))) == {"one": "a\r\nb\r"}


def test_words_may_hold_marks_of_other_places() -> None:
    inner = marked_place("two", "inner", "hint")
    file = a_file(("one", inner), ("two", "outer"))
    assert texts(file) == {"one": inner, "two": "outer"}
    assert read_log(file).sealed


def test_a_damaged_place_breaks_the_seal() -> None:
    file = a_file(("one", "mine"))
    for gone in ("<!-- end of words one -->", "<!-- words one"):
        contents = read_log(file.replace(gone, ""))
        assert (contents.words, contents.sealed) == ((), False)
    twice = read_log(f"{file}\n{marked_place('one', 'again', 'hint')}")
    assert (texts(file), twice.sealed) == ({"one": "mine"}, False)
    assert [words.text for words in twice.words] == ["mine"]


def test_a_place_emptied_with_its_line_is_empty() -> None:
    file = re.sub(r"mine\n", "", a_file(("one", "mine")))
    assert texts(file) == {"one": ""}
    assert read_log(file).sealed


def test_a_file_from_elsewhere_has_no_seal() -> None:
    assert read_log("") == read_log("# A title\n")
    assert not read_log("").sealed
    assert not read_log(f"<!-- {UNSEALED} -->\nx").sealed
