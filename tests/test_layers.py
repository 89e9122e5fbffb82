"""The rooms' arrows go one way. This test fails when one turns."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "journal"

# Each room may import the rooms behind it in this list of layers, and its own modules.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"__init__"},
    {"run"},
    {"report", "monitor", "chat", "host"},
    {"tracking", "exchange"},
    {"compare"},
    {"store"},
    {"serve"},
    {"measure", "load"},
    {"plan", "doubts"},
    {"metrics"},
    {"theory"},
    {"serve.engines"},
    {"records", "redaction", "units", "errors"},
    {"simulator"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
BOTTOM = {"records", "redaction", "units", "errors"}
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
