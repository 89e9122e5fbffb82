"""docs/explain.md and explain.zh.md show what the command prints.

`python tests/test_explain_page.py` writes that into the pages again.
"""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journal.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("explain.md", "explain.zh.md")]
SHOWN = re.compile(r"(```sh\njournal (explain docs/[^\n]+)\n```\n\n```text\n)([^`]*)(```)")


def printed(command: str) -> str:
    words = [
        str(ROOT / word) if word.startswith("docs/") else word for word in shlex.split(command)
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.splitlines()) + "\n"


def written(page: Path) -> str:
    return SHOWN.sub(lambda match: match[1] + printed(match[2]) + match[4], page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_what_is_printed(page: Path) -> None:
    assert len(SHOWN.findall(page.read_text())) == 2
    assert page.read_text() == written(page), "python tests/test_explain_page.py writes it again"


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(written(one))
