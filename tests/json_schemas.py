"""The schemas of what `run`, `show` and `check` print with --json, made from the types of
journal/records/as_json.py, and a strict check of a value against one of them."""

from typing import Any

import jsonschema
from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from journal.records import as_json

PRINTED: dict[str, Any] = {
    "run": list[as_json.RunJson] | as_json.SearchedJson,
    "show": as_json.ShownJson,
    "check": as_json.GateJson,
}

for _form in vars(as_json).values():
    if is_typeddict(_form):
        _form.__pydantic_config__ = {"use_attribute_docstrings": True}


def schema(form: Any, title: str) -> dict[str, Any]:
    """The JSON Schema of a type, without the titles that pydantic gives to single keys."""
    made = TypeAdapter(form).json_schema()
    of_runs = {
        key: value["description"]
        for base in (as_json.FixedRunJson, as_json.RunJson)
        for key, value in TypeAdapter(base).json_schema()["properties"].items()
        if "description" in value
    }
    for part in (made, *made.get("$defs", {}).values()):
        keys = part.get("properties", {})
        if "doubt_rules" in keys:  # pydantic knows the words of a type's own keys alone
            for key, text in of_runs.items():
                keys[key].setdefault("description", text)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return head | {key: value for key, value in _untitled(made).items() if key != "title"}


def _untitled(part: Any) -> Any:
    if isinstance(part, list):
        return [_untitled(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: _untitled(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in part.items()
        if key != "title" or not isinstance(value, str)
    }


def check(value: Any, form: Any) -> None:
    """Raise jsonschema.ValidationError where `value` is not of `form`, or has a key more."""
    jsonschema.validate(value, _closed(TypeAdapter(form).json_schema()))


def _closed(part: Any) -> Any:
    if isinstance(part, list):
        return [_closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    closed = {key: _closed(value) for key, value in part.items()}
    return {"additionalProperties": False} | closed if "properties" in part else closed
