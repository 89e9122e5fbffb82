"""Errors in a server's answer: whether an object reports one, and the server's words on it."""

from typing import Any

from journal.load.reasons import LONGEST
from journal.redaction import hidden

_CODES = ("code", "status_code", "status")
_ERRORS = ("error", "errors", "base_resp")
_MESSAGES = (
    *("message", "detail", "error_msg", "status_msg", "msg", "error_message"),
    *("error_description", "title"),
)
_WELL = frozenset(("0", "200", "ok", "success", "none", "null", "false", "no error"))


def is_error(event: dict[str, Any]) -> bool:
    """Whether an event reports an error."""
    if "error" in event and blames(event["error"]):
        return True
    if event.get("object") == "error" or event.get("type") == "error":
        return True
    if event.get("choices") is not None:
        return False
    if event.get("errors") or event.get("error_code") or event.get("success") is False:
        return True
    own = event.get("base_resp")  # MiniMax's
    if event.get("status") in ("error", "failed") or (type(own) is dict and own.get("status_code")):
        return True
    codes = map(event.get, _CODES)
    return any(type(code) is int and 400 <= code < 600 for code in codes)


def blames(error: Any) -> bool:
    """Whether the value of an error field reports an error; some servers send it empty, or with
    words that say that all is well."""
    if isinstance(error, dict):
        if any(str(error.get(name)).lower() in _WELL for name in _CODES if name in error):
            return False
        return any(map(blames, error.values()))
    return bool(error) and str(error)[:20].strip().lower() not in _WELL


def message(event: dict[str, Any]) -> str:
    """The server's message in an error object, up to 300 characters."""
    words = error_words(event) or str(next(filter(None, map(event.get, _ERRORS)), event))
    return hidden(words[:LONGEST])[:300]


def error_words(error: Any) -> str | None:
    """The words in an error object of any form, whatever its server calls them; None where it has
    none."""
    if isinstance(error, str):
        return error or None
    if isinstance(error, list):  # as FastAPI does: each with its place and a message
        return "; ".join(filter(None, map(error_words, error))) or None
    if not isinstance(error, dict):
        return None
    if isinstance(error.get("msg"), str) and isinstance(error.get("loc"), list):
        return ".".join(map(str, error["loc"])) + f": {error['msg']}"
    words = _first_words(error, _ERRORS)
    if words is not None and not isinstance(error.get("error"), str):
        return words
    more = _first_words(error, _MESSAGES)  # beside a name, such as "Bad Request"
    words = ": ".join(dict.fromkeys(filter(None, (words, more))))
    field = error.get("param")
    if words and isinstance(field, str) and field not in words:
        return f"{words} ({field})"
    return words or None


def _first_words(error: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((words for name in names if (words := error_words(error.get(name)))), None)
