"""Servers' words on what went wrong, in whichever form they come."""

from typing import Any

import pytest

from journal.load.error_words import error_words, is_error, message

FORMS: dict[str, Any] = {
    "a text": "it broke",
    "OpenAI's": {"error": {"message": "it broke", "code": 400}},
    "a text for an error": {"error": "it broke"},
    "vLLM's of before": {"object": "error", "message": "it broke", "code": 400},
    "FastAPI's text": {"detail": "it broke"},
    "FastAPI's object": {"detail": {"error": {"message": "it broke"}}},
    "errors": {"errors": ["it broke"]},
    "MiniMax's": {"base_resp": {"status_code": 1, "status_msg": "it broke"}},
    "a problem by RFC 9457": {"type": "about:blank", "title": "it broke", "status": 500},
    "a list": [{"error": {"message": "it broke"}}],
}


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
def test_error_words_are_found_in_every_form(error: Any) -> None:
    assert error_words(error) == "it broke"


def test_error_words_have_the_place_that_fastapi_gives() -> None:
    detail = [{"loc": ["body", "n"], "msg": "too large"}, {"loc": ["query"], "msg": "missing"}]
    assert error_words({"detail": detail}) == "body.n: too large; query: missing"


def test_error_words_stand_behind_the_name_of_the_error() -> None:
    assert error_words({"error": "Bad Request", "message": "it broke"}) == "Bad Request: it broke"
    assert error_words({"error": "x", "error_description": "it broke"}) == "x: it broke"
    assert error_words({"error": "same", "message": "same"}) == "same"


def test_error_words_name_the_field_that_stands_beside_them() -> None:
    assert (
        error_words({"error": {"message": "unsupported", "param": "top_k"}})
        == "unsupported (top_k)"
    )
    assert error_words({"error": {"message": "no top_k here", "param": "top_k"}}) == "no top_k here"


@pytest.mark.parametrize("nothing", [None, 7, "", [], {}, {"error": {"code": 5}}, {"message": {}}])
def test_error_words_may_be_missing(nothing: Any) -> None:
    assert error_words(nothing) is None


def test_a_message_without_words_is_the_object_itself() -> None:
    assert message({"error": {"code": 5}}) == "{'code': 5}"
    assert len(message({"error": "a" * 9999})) == 300


def test_an_error_is_told_from_news_of_success() -> None:
    assert is_error({"error": {"message": "it broke"}}) and is_error({"code": 503})
    assert not is_error({"error": {"code": 0, "message": "success"}})
    assert not is_error({"status": "queued", "errors": []})
    assert is_error({"success": False}) and not is_error({"success": True})
    assert is_error({"base_resp": {"status_code": 1004}, "status": None})
    assert not is_error({"base_resp": {"status_code": 0}})


@pytest.mark.parametrize(
    ("code", "is_one"), [(200, False), (399, False), (400, True), (599, True), (600, False)]
)
def test_a_code_of_http_tells_an_error(code: int, is_one: bool) -> None:
    assert is_error({"code": code}) is is_one
    assert not is_error({"code": str(code), "choices": []})
