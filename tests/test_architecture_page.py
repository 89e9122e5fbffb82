"""docs/architecture.md shows the tree as it is on the disk, and the arrows that the layer test
holds. `make docs` writes its list of files again."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "journal"
PAGE = ROOT / "docs" / "architecture.md"


def part(name: str) -> str:
    """What stands between the marks of `name` on the page."""
    return PAGE.read_text().split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]


def layers() -> list[set[str]]:
    """The rooms of each line of the page's arrows, the topmost first."""
    return [set(line.split()) for line in part("arrows").splitlines() if "`" not in line]


def listing() -> str:
    """Every module by its folder, with the first sentence of its docstring."""
    lines, folder = [], None
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name)):
        text = path.read_text()
        if not text.strip():
            continue
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"**`{folder.relative_to(ROOT)}/`**", ""]
        docstring = ast.get_docstring(ast.parse(text)) or ""
        first = " ".join(docstring.split("\n\n")[0].split())
        lines.append(f"- `{path.name}`: {re.split(r'(?<=[.]) ', first)[0].rstrip(':.')}")
    return "\n".join(lines) + "\n\n"


def test_the_list_of_files_is_that_of_the_disk() -> None:
    assert part("files") == listing(), "make docs writes it again"


def test_the_page_names_every_room_and_no_other() -> None:
    table = PAGE.read_text().split("## Rooms")[1].split("## Arrows")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    on_disk = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    on_disk |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert named == on_disk | {"serve.engines"}
    assert named == set().union(*layers()) - {"__init__", "__main__"} | {"simulator"}


def test_the_files_that_the_page_speaks_of_are_there() -> None:
    for name in re.findall(r"`([a-z_/]+\.py)`", PAGE.read_text().split("## Files")[0]):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_the_types_that_flow_are_made_where_the_page_says() -> None:
    table = PAGE.read_text().split("## The types that flow")[1].split("## Files")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    assert rows
    for _, types, makers, *_ in rows:
        for maker in re.findall(r"`([a-z_/]+\.py)`", makers):
            text = (PACKAGE / maker).read_text()
            for name in re.findall(r"`(\w+)`", types):
                assert re.search(rf"\b{name}\b", text), f"{maker} makes no {name}"


if __name__ == "__main__":
    before, rest = PAGE.read_text().split("<!-- files -->\n")
    after = rest.split("<!-- end of files -->")[1]
    PAGE.write_text(f"{before}<!-- files -->\n{listing()}<!-- end of files -->{after}")
