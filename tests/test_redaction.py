"""No eight characters of a secret in any text, however it is written there, and who cut it."""

import html
import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import escapes, redaction
from journal.errors import SpecError
from journal.redaction import HIDDEN, SHORTEST, Veil, among, hidden, in_text, pattern, shown_url

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)
KEYS |= st.text(st.sampled_from("aB3-äöé日本語ñ%"), min_size=8, max_size=30)
AROUND = st.text(st.sampled_from('abz 09-_"\\%&;{}\n+é'), max_size=30)
NAMES = {"_": "&lowbar;", "/": "&sol;"}
WRITERS = {
    "plain": str,
    "quoted": lambda text: quote(text, safe=""),
    "query": quote_plus,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "a URL in JSON": lambda text: json.dumps(quote(text)),
    "every byte in a URL": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "every letter in JSON": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "JSON with \\/": lambda text: json.dumps(text).replace("/", "\\/"),
    "HTML": html.escape,
    "Python": repr,
    "lower case, joined by _": lambda text: text.lower().replace("-", "_"),
    "HTML's names": lambda text: re.sub("[_/]", lambda one: NAMES[one[0]], text),
    "UTF-16, read as UTF-8": lambda text: "\ufffd\ufffd" + "".join(f"{c}\0" for c in text),
    "UTF-32": "\0\0\0".join,
    "UTF-16 in JSON": lambda text: json.dumps("\0".join(text)),
    "nothing that is seen between": "\u200b\xad".join,
    "a terminal's colours": "\x1b[0m\u200b\x1b[38;5;2m".join,
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", set())
    for name in list(os.environ):
        if redaction.NAME.search(name):
            monkeypatch.delenv(name)


def parts(text: str) -> Iterator[str]:
    for first in range(len(text) - SHORTEST + 1):
        yield text[first : first + SHORTEST]


def readings(text: str) -> set[str]:
    """`text` and what stands in it once the writers above are undone."""
    levels = {text}
    for _ in range(3):
        levels |= {escapes.unescaped(level).text for level in levels}
    return {level.translate(redaction._ALIKE) for level in levels}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("0000000\\", "\0".join("0000000\\") + '"'),
        ("0000000\\", json.dumps("\0".join("0000000\\"))),
        ("3333ä%33", json.dumps("3333ä%33")),
        ("aaaé&lt;", json.dumps("aaaé&lt;")),
    ],
)
def test_a_sign_of_the_key_is_no_escape_of_another_kind(key: str, text: str) -> None:
    assert "***" in hidden(text, pattern([key]))


@given(KEYS, AROUND, AROUND, st.sampled_from(sorted(WRITERS)), st.data())
def test_no_part_of_a_key_stands_in_a_text_however_it_is_written_and_cut(
    key: str, before: str, after: str, writer: str, data: st.DataObject
) -> None:
    written = WRITERS[writer](key)
    text = before + written + after
    cut = data.draw(st.integers(0, len(text)))
    for shown in (hidden(text, pattern([key])), hidden(text[:cut], pattern([key]))):
        wanted = key.translate(redaction._ALIKE)
        found = [part for part in parts(wanted) for one in readings(shown) if part in one]
        # what stands around a key may happen to be a part of it
        assert all(part in one for part in found for one in readings(f"{before}{HIDDEN}{after}"))
        assert written not in shown or len(written) < SHORTEST


@given(
    KEYS, st.sampled_from(["", "u:", "Bearer "]), st.sampled_from([b64encode, urlsafe_b64encode])
)
def test_base64_of_a_key_is_left_out(key: str, before: str, encode: object) -> None:
    text = encode((before + key).encode()).decode()  # type: ignore[operator]
    left = hidden(f"Basic {text}!", pattern([key])).removeprefix("Basic ").removesuffix("!")
    assert all(len(piece) < SHORTEST + 4 for piece in left.split(HIDDEN)) and HIDDEN in left


@given(KEYS, AROUND, AROUND, st.sampled_from(sorted(WRITERS)), st.lists(st.integers(1, 9)))
def test_a_text_in_pieces_is_shown_as_it_is_in_one(
    key: str, before: str, after: str, writer: str, sizes: list[int]
) -> None:
    text = before + WRITERS[writer](key) + after
    redaction._remembered.clear()
    redaction.remember(key)
    veil, pieces, rest = Veil(), [], text
    for size in sizes:
        pieces.append(veil.take(rest[:size]))
        rest = rest[size:]
    shown = "".join([*pieces, veil.take(rest), veil.close()])
    wanted = key.translate(redaction._ALIKE)
    found = [part for part in parts(wanted) for one in readings(shown) if part in one]
    assert all(part in one for part in found for one in readings(f"{before}{HIDDEN}{after}"))


def test_an_escape_that_ends_a_piece_is_waited_for() -> None:
    redaction.remember("3ä333333")
    veil = Veil()
    shown = [veil.take(piece) for piece in ('"', '\\"3\\\\', 'u00e4333333\\""')]
    assert "".join([*shown, veil.close()]) == f'"\\"{HIDDEN}\\""'


@given(AROUND)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    redaction._remembered.clear()
    redaction.remember("quite-another-key-0123")
    veil = Veil()
    assert hidden(text) == text == "".join([*map(veil.take, text), veil.close()])


def test_a_short_key_is_left_out_as_a_word_only() -> None:
    assert hidden("EMPTY is EMPTYING (EMPTY)", pattern(["EMPTY"])) == "*** is EMPTYING (***)"


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_a_key_deep_in_escapes_of_a_long_text_is_left_out(depth: int) -> None:
    key = "sk-Zq83hfKwPx71LmVb"
    percents, slashes = f"%{'25' * (depth - 1)}", "\\" * 2 ** (depth - 1)
    for written in (
        "".join(f"{percents}{ord(char):02X}" for char in key),
        "".join(f"{slashes}u{ord(char):04x}" for char in key),
    ):
        text = "x" * 70_000 + written + "y" * 70_000
        assert written not in hidden(text, pattern([key])), written
        assert HIDDEN in hidden(text, pattern([key]))


def test_hostile_text_is_read_in_linear_time() -> None:
    redaction.remember("sk-0123456789abcdef")
    for text in (
        "\\" * 60_000,
        "%25" * 20_000,
        "&#37;" * 12_000,
        "a" * 60_000,
        "%u" * 30_000,
        "\0" * 60_000,
        "\x1b[" * 30_000,
        "&no;" * 15_000,
    ):
        assert hidden(text) == text
    assert HIDDEN in hidden("sk-01234567" * 90_000)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://name:s3cret@host/v1", "https://***@host/v1"),
        ("https://ghp_t0ken@host", "https://***@host"),
        ("postgresql+psycopg://me:s3/cr@et#x?y@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://h/db?password=s3cret&sslmode=require", "postgresql://h/db?password=***&sslmode=***"),
        ("https://login/sso?next=/v1#access_token=s3cret", "https://login/sso?next=***#***"),
        ("me:s3cret@host:80", "me:***@host:80"),
        ("http://[::1:bad/?s3cret", "http://[::1:bad/?***"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret", "mssql+pyodbc:///?odbc_connect=***"),
        ("sqlite:////data/journal.db", "sqlite:////data/journal.db"),
    ],
    ids=map(str, range(10)),  # pytest puts names into the environment, where secrets are looked for
)  # fmt: skip
def test_a_url_is_shown_without_what_it_may_hide(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text(max_size=60))
def test_any_text_can_be_shown_as_a_url(text: str) -> None:
    shown_url(text)
    redaction.in_url(text)


def test_a_secret_that_changes_in_the_environment_is_known_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_TOKEN", "one-key-0123456")
    assert hidden("one-key-0123456 zwei-abcdefgh") == "*** zwei-abcdefgh"
    monkeypatch.setenv("A_TOKEN", "zwei-abcdefgh")
    assert hidden("one-key-0123456 zwei-abcdefgh") == "one-key-0123456 ***"
    monkeypatch.setattr("os.environ", {"A_TOKEN": "drittes9876"})
    assert hidden("drittes9876") == "***"


def test_the_secrets_of_addresses_in_the_environment_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOURNAL_DB", "postgresql://me:p%40ssw0rd-of-db@host/journal")
    monkeypatch.setenv("HTTPS_PROXY", "http://t0ken-of-the-proxy@proxy:3128")
    monkeypatch.setenv("all_proxy", "me:w0rd-of-the-other@proxy:3128")
    monkeypatch.setenv("EMAIL", "somebody.somewhere@host")
    said = "p@ssw0rd-of-db p%40ssw0rd-of-db t0ken-of-the-proxy w0rd-of-the-other"
    assert hidden(said) == "*** *** *** ***" and hidden("somebody.somewhere") != HIDDEN
    assert str(SpecError(f"cannot use {said}")) == "cannot use *** *** *** ***"
    assert among({"PWD": "/some/long/path", "MONKEY": "banana-banana"}) is None


def test_secrets_are_found_in_a_damaged_file() -> None:
    text = '[engine.env]\nMY_TOKEN = "t0ken-0f-mine"\napi-key = t0ken-0f-yours\n'
    text += '{"apiKey":"abc-\\"12345"'
    assert in_text(text) == ["t0ken-0f-mine", "t0ken-0f-yours", 'abc-\\"12345']
    assert in_text("the time of a token: approximately that of a step") == []
