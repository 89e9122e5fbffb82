"""docs/json.md and docs/schemas show the JSON of `run`, `show` and `check` as the types have it,
and what the commands print is of these types, without a key more. `make docs` writes them again."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from json_schemas import PRINTED, check, schema
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.records import as_json

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "json.md"
HEAD = """# JSON of the commands

Written by `make docs` from the types; do not edit. This is what `--json` prints. Keys may be added in a later version; none goes away, and none is ever missing unless the table says so. Durations are in s, sizes in bytes, and what was not measured is null.

The JSON Schemas: [run](schemas/run.json), [show](schemas/show.json), [check](schemas/check.json). `journal runs --json` prints a list of the same runs as `journal run --json`, which prints an object with `runs` where the experiment searched.
"""  # noqa: E501
# The types in the order of the page; the other ones follow as they are first named.
WORDLESS = {"BottleneckJson": "What limits a cell. `class` is null where it cannot be told."}
FIRST = ("RunJson", "ShownJson", "SearchedJson", "GateJson")


def page() -> str:
    """The page: a table of keys for each type."""
    forms = _forms()
    lines = [HEAD]
    for name, form in sorted(
        forms.items(), key=lambda one: FIRST.index(one[0]) if one[0] in FIRST else len(FIRST)
    ):
        lines += [
            f"## {_title(name)}",
            "",
            " ".join(form.get("description", WORDLESS.get(name, "")).split()),
            "",
        ]
        if name == "ShownJson":
            lines += ["It has all keys of a [Run](#run), and these:", ""]
        lines += ["| key | value | |", "| :--- | :--- | :--- |"]
        needed = form["required"]
        inherited = as_json.RunJson.__annotations__ if name == "ShownJson" else {}
        for key, value in form["properties"].items():
            if key in inherited:
                continue
            said = [value["description"]] if "description" in value else []
            said += [] if key in needed else ["Left out where there is none."]
            lines.append(f"| `{key}` | {_kind(value)} | {' '.join(' '.join(said).split())} |")
        lines.append("")
    return "\n".join(lines)


def _forms() -> dict[str, Any]:
    made = [schema(form, name) for name, form in PRINTED.items()]
    forms = {name: form for one in made for name, form in one.get("$defs", {}).items()}
    return forms | {"ShownJson": made[1], "GateJson": made[2]}


def _title(name: str) -> str:
    return {"ShownJson": "journal show --json", "GateJson": "journal check --json"}.get(
        name, name.removesuffix("Json")
    )


def _kind(value: dict[str, Any]) -> str:
    """A type in words, such as "number or null"."""
    if "$ref" in value:
        title = _title(value["$ref"].rsplit("/", 1)[1])
        return f"[{title}](#{title.lower()})"
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"])
    if "enum" in value:
        return ", ".join(f'"{one}"' for one in value["enum"])
    if value.get("type") == "array":
        kind = _kind(value["items"])
        return f"list of ({kind})" if " or " in kind else f"list of {kind}"
    if isinstance(inner := value.get("additionalProperties"), dict):
        return f"map to {_kind(inner)}"
    names = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = value.get("type", "any value")
    return "map" if kind == "object" else names.get(kind, kind)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("recorded") / "demo"
    journal.demo(home)
    return home


def printed(home: Path, *words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--home", str(home), "--json"])
    assert result.exit_code in (0, 1, 3), result.output
    return json.loads(result.stdout)


def test_the_page_and_the_schemas_are_what_the_types_say() -> None:
    assert PAGE.read_text() == page(), "make docs writes it again"
    for name, form in PRINTED.items():
        stored = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
        assert stored == schema(form, f"journal {name} --json"), "make docs writes it again"
        jsonschema.Draft202012Validator.check_schema(stored)


def test_the_runs_of_a_journal_are_of_their_type(home: Path) -> None:
    runs = printed(home, "runs")
    assert len(runs) == 36
    check(runs, PRINTED["run"])
    wrong = copy.deepcopy(runs)
    wrong[3]["ttft_s"]["p50"] = "0.25"
    with pytest.raises(jsonschema.ValidationError):
        check(wrong, PRINTED["run"])


def test_a_run_that_is_shown_is_of_its_type(home: Path) -> None:
    shown = printed(home, "show", "last")
    assert shown["repeats"]["means"]
    check(shown, PRINTED["show"])


def test_a_gate_is_of_its_type(home: Path) -> None:
    sides = ("--baseline", "tiny-random-mistral", "--candidate", "tiny-random-llama")
    gate = printed(home, "check", *sides)
    assert len(gate["metrics"]) == 3
    check(gate, PRINTED["check"])


def test_a_run_has_every_key_of_its_type(home: Path) -> None:
    keys = as_json.RunJson.__required_keys__
    assert all(run.keys() == keys for run in printed(home, "runs"))


if __name__ == "__main__":
    (DOCS / "schemas").mkdir(exist_ok=True)
    PAGE.write_text(page())
    for name, form in PRINTED.items():
        text = json.dumps(schema(form, f"journal {name} --json"), indent=2, ensure_ascii=False)
        (DOCS / "schemas" / f"{name}.json").write_text(text + "\n")
