"""Plain text for the database: canonical JSON and back, without secrets and unstorable
characters."""

import dataclasses
import json
import re
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from journal import redaction
from journal.errors import StoreError
from journal.records.experiment import Engine
from journal.redaction import Hide, Secret

T = TypeVar("T")


class Json(str):
    """JSON whose values hold no secrets any more. Nothing may be cut out of its text: that would
    take quotes and commas for a part of a key."""

    __slots__ = ()


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def secret_of(engines: Iterable[Engine]) -> Secret:
    """The engines' keys and tokens: the values of variables and of flags whose names mean a
    secret. None where there are no secrets."""
    each = (redaction.secrets_of_engine(engine.env, engine.flags) for engine in engines)
    return redaction.pattern(value for secret in each for value in secret or ())


def starred(text: str | None, secret: Secret) -> str | None:
    """`text` with every match of `secret` starred out."""
    return redaction.hidden(text, secret) if text else text


def storable(text: str, hide: Hide = redaction.hidden) -> str:
    """`text` without the secrets that `hide` hides, and with U+FFFD for characters that no database
    can hold: NUL and lone surrogates. Json is without both already."""
    if isinstance(text, Json):
        return str(text)
    return _UNSTORABLE.sub("\ufffd", hide(text))


def to_json(value: object, secret: Secret = None) -> Json:
    """`value` (record types, mappings, sequences, scalars) as canonical JSON, with every match of
    `secret` starred out. Raises StoreError for a value that JSON cannot hold, such as an infinite
    number."""
    try:
        text = json.dumps(
            _tree(value, redaction.hiding(secret)),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"the {type(value).__name__} cannot be stored ({error})") from error
    return Json(_UNSTORABLE.sub("\ufffd", text))


def _tree(value: object, hide: Hide) -> object:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _tree(getattr(value, field.name), hide) for field in fields}
    if isinstance(value, Mapping):
        return {
            hide(key) if isinstance(key, str) else key: _tree(item, hide)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_tree(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value


def from_json(kind: type[T], text: str) -> T:
    """The record of type `kind` that `to_json` wrote as `text`. Values are not validated, since
    every stored record must stay readable, and a field that `kind` no longer has is passed over.
    Raises TypeError for a value of another type, which `to_json` did not write."""
    made: T = _made(kind, json.loads(text))
    return made


def _made(kind: Any, tree: Any) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _made(get_args(kind)[0], tree)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        _check_type(tree, dict)
        hints = _hints(kind)
        before: Mapping[str, Any] = getattr(kind, "STORED_BEFORE", {})
        known = {**before, **{name: item for name, item in tree.items() if name in hints}}
        return kind(**{name: _made(hints[name], item) for name, item in known.items()})
    if origin is tuple:
        _check_type(tree, list)
        return tuple(_made(get_args(kind)[0], item) for item in tree)
    if origin in (Union, types.UnionType) and tree is not None:
        arms = get_args(kind)
        built = (arm for arm in arms if get_origin(arm) or dataclasses.is_dataclass(arm))
        arm = next(built, None)
        if arm is None:
            _check_type(tree, *(arm for arm in arms if isinstance(arm, type)))
        return _made(arm, tree)
    if kind in (int, float, bool, str):
        _check_type(tree, kind)
    return tree


def _check_type(value: Any, *kinds: type) -> None:
    """Raise TypeError for a value of none of `kinds`; every number is an int and a float."""
    numbers = (int, float) if int in kinds or float in kinds else ()
    if type(value) not in (*kinds, *numbers):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{value!r:.40} is not {names}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
