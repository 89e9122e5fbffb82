"""docs/library.md shows every public name of `import journal` with its signature, its docstring and
what it holds, as the code has them. `make docs` writes it again."""

import dataclasses
import inspect
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.host import checks_engine
from journal.host.checks_engine import Build
from journal.records.engine import Endpoint
from journal.serve import standing

DOCS = Path(__file__).parents[1] / "docs"
PAGE, EXAMPLES = DOCS / "library.md", DOCS / "examples" / "library.py"
HEAD = """# The Python library

Written by `make docs` from the code; do not edit. `import journal` costs next to nothing: each
name is loaded when it is first used. Times are in seconds, sizes in bytes and rates per second
unless a name says otherwise (`_ms`), and what could not be measured is `None`. A
function that takes a `home` raises StoreError for a journal that cannot be read or written; `plan`
goes on without its durations.

The examples are parts of [one script](examples/library.py), which a test runs from top to bottom:
`records`, `endpoint` and the like are those of the examples before.
[A notebook](examples/recorded.ipynb) goes the same way with the recorded journal alone.
"""
LONG = 88
# Only parts of other records in the examples, or the results of engine starts.
NO_VALUE = {"Cell", "Cost", "Engine", "Grid", "Load", "Slo", "Workload", "Needed", "Tried"}


def page() -> str:
    """The page in Markdown: the functions, the records that they take and give, and the errors."""
    names = {name: getattr(journal, name) for name in journal.__all__}
    errors = {n: o for n, o in names.items() if isinstance(o, type) and issubclass(o, Exception)}
    records = {n: o for n, o in names.items() if isinstance(o, type) and n not in errors}
    functions = {n: o for n, o in names.items() if n not in records and n not in errors}
    lines = [HEAD]
    for title, group in (("Functions", functions), ("Records", records), ("Errors", errors)):
        lines += [f"## {title}", ""]
        for name, thing in group.items():
            lines += [f"### journal.{name}", "", *_entry(name, thing, errors=group is errors)]
            lines += ["```python", example(name), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def examples() -> dict[str, str]:
    """The parts of the script of examples by the names of their headings."""
    parts = re.split(r"^# (journal\..+)\n", EXAMPLES.read_text(), flags=re.MULTILINE)[1:]
    return {
        name.removeprefix("journal."): code.strip()
        for heading, code in zip(parts[::2], parts[1::2], strict=True)
        for name in heading.split(", ")
    }


def example(name: str) -> str:
    assert name in examples(), f"{EXAMPLES.name} has no part that is headed by journal.{name}"
    return examples()[name]


def _entry(name: str, thing: Any, *, errors: bool) -> list[str]:
    lines = [] if errors else ["```python", signature(name, thing), "```", ""]
    text = inspect.getdoc(thing)
    assert text, f"journal.{name} has no docstring"
    lines += [text, ""]
    for member, sentence in properties(thing):
        lines.append(f"- `.{member}`: {sentence}")
    return [*lines, ""] if lines[-1] else lines


def signature(name: str, thing: Any) -> str:
    """The call as one would type it, on several lines where it is long."""
    parameters = inspect.signature(thing).parameters.values()
    parts = [_part(parameter) for parameter in parameters]
    if any(p.kind is p.KEYWORD_ONLY for p in parameters) and not isinstance(thing, type):
        parts.insert([p.kind is p.KEYWORD_ONLY for p in parameters].index(True), "*")
    returned = inspect.signature(thing).return_annotation
    end = "" if isinstance(thing, type) else f" -> {_plain(inspect.formatannotation(returned))}"
    call = f"journal.{name}({', '.join(parts)}){end}"
    if len(call) <= LONG:
        return call
    return f"journal.{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _part(parameter: inspect.Parameter) -> str:
    """A parameter as one would type it; `...` stands for a default that has no short spelling."""
    text = parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_plain(inspect.formatannotation(parameter.annotation))}"
    if parameter.default is parameter.empty:
        return text
    default = repr(
        str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
    )
    short = len(default) <= LONG and not default.startswith("<")
    return f"{text} = {default if short else '...'}"


def _plain(text: str) -> str:
    """A type or a default without the module that it is from."""
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z_])", "", text)
    return re.sub(r"^'(.*)'$", r"\1", text)


def properties(thing: Any) -> list[tuple[str, str]]:
    """The properties and methods of a record that have a docstring of their own."""
    if not dataclasses.is_dataclass(thing):
        return []
    found = []
    for member, value in vars(thing).items():
        text = (
            inspect.getdoc(value)
            if isinstance(value, property) or inspect.isfunction(value)
            else None
        )
        if text and not member.startswith("_"):
            found.append((member, " ".join(text.split("\n\n")[0].split())))
    return found


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "make docs writes it again"


def test_every_public_name_is_on_it() -> None:
    text = PAGE.read_text()
    assert [name for name in journal.__all__ if f"### journal.{name}\n" not in text] == []


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the examples expect in the working directory, and an engine that needs no
    weights for `journal.serve`, nor an import of vLLM for `journal.doctor`."""
    shutil.copy(DOCS / "examples" / "start.log", tmp_path)
    results = Path(__file__).parent / "exchange" / "data" / "vllm-closed.json"
    shutil.copy(results, tmp_path / "bench.json")
    there = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    monkeypatch.setattr(standing.engines, "start", lambda *_, **__: nullcontext(there))
    monkeypatch.setattr(checks_engine, "build", lambda _: Build("python", error="no vLLM"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside")
def test_the_examples_run_from_top_to_bottom(fake_server: Callable[..., str]) -> None:
    url = fake_server(ttft_s=0.01, itl_s=0.001)
    code = EXAMPLES.read_text().replace("http://127.0.0.1:8000/v1", url)
    known: dict[str, Any] = {}
    exec(compile(code, str(EXAMPLES), "exec"), known)
    values = [one for value in known.values() for one in (value, _first(value))]
    for name in sorted({*journal.__all__} - NO_VALUE):
        thing = getattr(journal, name)
        if dataclasses.is_dataclass(thing):
            assert any(type(value) is thing for value in values), f"no example has a {name}"
    assert known["events"] and known["result"].records and known["fit"].answer


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and value else None


if __name__ == "__main__":
    PAGE.write_text(page())
