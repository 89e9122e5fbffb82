"""The rooms' arrows go one way. This test fails when one turns."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from test_architecture_page import layers

from journal.cli.app import app

PACKAGE = Path(__file__).parent.parent / "journal"

# docs/architecture.md has the arrows: each room may import the rooms on the lines below its own.
LAYERS = layers()
RANK = {room: rank for rank, rooms in enumerate([*LAYERS, {"simulator"}]) for room in rooms}
BOTTOM = LAYERS[-1]
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """The room of `journal.<module>`; what is known of each engine is a room within serve."""
    parts = module.split(".")
    return "serve.engines" if parts[:2] == ["serve", "engines"] else parts[0]


def room_of_file(path: Path) -> str:
    return room_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def imported_rooms(path: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "journal":
                known = len(parts) > 1 and parts[1] in RANK
                rooms.add(room_of(".".join(parts[1:])) if known else "__init__")
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_go_one_way(path: Path) -> None:
    room = room_of_file(path)
    assert room in RANK, f"{room} is a new room: give it a layer"
    for other in imported_rooms(path) - {room}:
        if {room, other} <= BOTTOM or (room, other) == ("simulator", "errors"):
            continue
        assert RANK[other] > RANK[room], f"{path.name} ({room}) must not import {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_vllm_is_a_subprocess_and_never_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not any(name.split(".")[0] == "vllm" for name in names)


def test_only_the_top_package_re_exports() -> None:
    for init in PACKAGE.rglob("__init__.py"):
        if init.parent != PACKAGE:
            assert init.read_text().strip() == "", f"{init} must be empty"


def test_no_file_outgrows_four_hundred_lines() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_no_function_outgrows_forty_lines() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                code = node.body[1:] if ast.get_docstring(node) else node.body
                size = (code[-1].end_lineno or 0) - code[0].lineno + 1 if code else 0
                assert size <= 40, f"{path.name}: {node.name} has {size} lines"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {name_of(path): imported_modules(path) for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """What `path` imports when it runs: all but what only a type checker reads. The top package's
    names are loaded when they are used."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    known = {name_of(module) for module in MODULES}
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        for name in (f"{node.module}.{alias.name}", f"{node.module}")
    }
    return (names & known) - {"journal", name_of(path)}


def test_no_file_name_stands_twice() -> None:
    """A file of the command line may mirror the one that it calls."""
    names = Counter(path.name for path in MODULES if path.parent != PACKAGE / "cli")
    assert not [name for name, count in names.items() if count > 1 and name != "__init__.py"]


# Public names that stand in more than one module, the command line aside, each with its reason.
HOMONYMS = {
    "main": "the entry points of programs: the command, the guard, the process that tells MLflow",
    "serve": "a verb of the library; the simulator, a product of its own, has the same",
}


def test_no_public_function_or_type_has_the_name_of_another() -> None:
    """A command of the command line bears the name of the function that it calls."""
    commands = {
        command.callback.__name__ for command in app.registered_commands if command.callback
    }
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        names = set(public_names(path))
        if path.parent == PACKAGE / "cli":
            names -= commands
        for name in names:
            homes.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    repeated = {name: found for name, found in homes.items() if len(found) > 1}
    assert repeated.keys() == HOMONYMS.keys(), repeated


def public_names(path: Path) -> list[str]:
    """The functions and classes at the top of a module that others may use."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    body = ast.parse(path.read_text()).body
    return [node.name for node in body if isinstance(node, kinds) and node.name[0] != "_"]


# Files of report/sections whose blocks go into the sections of others.
PARTS_OF_SECTIONS = {"links.py", "own_words.py"}


def test_the_function_that_makes_a_section_of_the_log_is_called_section() -> None:
    for path in (PACKAGE / "report" / "sections").glob("[!_]*.py"):
        sections = [name for name in public_names(path) if name.endswith("_section")]
        assert len(sections) == (path.name not in PARTS_OF_SECTIONS), path.name
