"""The timeline of a run as a file of its own, from a recorded journal."""

import lzma
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from journal.cli.app import app
from journal.errors import NotFound
from journal.report.run_figure import run_figure
from journal.store.store import open_store

RECORDED = Path(__file__).parents[2] / "experiments" / "recorded" / "two-architectures.db.xz"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "journal.db").write_bytes(lzma.decompress(RECORDED.read_bytes()))
    return folder


def test_a_run_has_its_requests_in_time_in_both_languages(home: Path) -> None:
    with open_store(home) as store:
        last = store.run("last")
        english, chinese = run_figure(store, last), run_figure(store, last, "zh")
        assert "batch 16" in english and "prefill" in english
        assert "批大小 16" in chinese and "预填充" in chinese
        with pytest.raises(NotFound, match="no timeline"):
            run_figure(store, replace(last, id="f" * 16))


def test_show_writes_it_to_a_file(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "made" / "timeline.svg"
    shown = CliRunner().invoke(
        app, ["show", "last", "--home", str(home), "--figure", str(path)], catch_exceptions=False
    )
    assert shown.exit_code == 0 and "batch 16" in shown.stdout
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
