"""The recorded journal opens without an engine, and its log names the hardware."""

import json
from pathlib import Path

import pytest
from chinese_text import english_sentences
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.errors import UsageError


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_recorded_journal_opens_with_a_log_that_names_its_hardware(
    tmp_path: Path, lang: str
) -> None:
    files = journal.demo(tmp_path / "demo", lang)
    text = files.markdown.read_text()
    assert "tiny-random-mistral" in text and "Xeon" in text
    assert journal.demo(tmp_path / "demo", lang).markdown.read_text() == text
    with journal.open_store(tmp_path / "demo") as store:
        records = list(store.runs())
    assert len(records) == 36 and all(record.good for record in records)


def test_the_log_of_the_recorded_journal_is_chinese_throughout(tmp_path: Path) -> None:
    text = journal.demo(tmp_path / "demo", "zh").markdown.read_text()
    assert english_sentences(text) == []


def test_a_journal_of_the_user_is_left_alone(tmp_path: Path) -> None:
    with journal.open_store(tmp_path):
        pass
    with pytest.raises(UsageError, match="holds a journal already: name another --home"):
        journal.demo(tmp_path)


def test_the_command_says_where_the_log_is(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--home", str(home), "--no-open", "--json"])
    assert result.exit_code == 0, result.output
    assert Path(json.loads(result.output)["html"]).is_file()
