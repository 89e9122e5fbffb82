"""The defaults that the transformers library gives to fields that a config.json leaves out, against
the library itself where it is installed. Run as a program, this file writes them anew."""

import dataclasses
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from journal.theory import config_fields
from journal.theory.config_fields import KEPT, NEVER_BY_DEFAULT, TEXT_PARTS, WINDOWED
from journal.theory.families import FAMILIES

PATH = Path(config_fields.__file__).with_name("library_defaults.json")


def of_a_class(cls: type) -> dict[str, Any]:
    """The defaults of the fields of a config class that sizes depend on."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        value = field.default
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if field.name in KEPT - NEVER_BY_DEFAULT and isinstance(value, int | float | str):
            values[field.name] = value
    return values


def of_the_library() -> dict[str, dict[str, Any]]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    types: dict[str, dict[str, Any]] = {}
    for kind in sorted(CONFIG_MAPPING):
        try:
            cls = CONFIG_MAPPING[kind]
        except Exception:  # noqa: BLE001 - a type whose module needs what is not installed
            continue
        text = next((cls.sub_configs[name] for name in TEXT_PARTS if name in cls.sub_configs), None)
        text_type = getattr(text, "model_type", "")
        values = of_a_class(cls)
        if not kind.startswith(WINDOWED):
            values.pop("sliding_window", None)
        if text_type in FAMILIES and text_type != kind:
            types[kind] = {"text": text_type}
        elif kind in FAMILIES:
            types[kind] = values
    return types


def test_the_defaults_are_those_of_the_library() -> None:
    transformers = pytest.importorskip("transformers")
    stored = json.loads(PATH.read_text())
    if transformers.__version__ != stored["transformers"]:
        pytest.skip(f"the table is that of transformers {stored['transformers']}")
    assert stored["types"] == of_the_library()


if __name__ == "__main__" and find_spec("transformers"):
    import transformers

    whole = {"transformers": transformers.__version__, "types": of_the_library()}
    PATH.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{len(whole['types'])} types\n")
