"""The log's templates are compiled once, and a log is written where they cannot be kept."""

from pathlib import Path

import pytest
from builders import a_day, a_record, an_experiment

from journal.report.compiled_templates import compiled_templates
from journal.report.log import as_markdown
from journal.report.phrases import words
from journal.report.questions import log_page


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOURNAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "templates"


def page() -> str:
    return as_markdown(log_page(a_day([a_record()], an_experiment())), words("en"), "figures")


def test_compiled_templates_are_kept_for_their_owner_and_taken_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = page()
    assert cache.stat().st_mode & 0o777 == 0o700
    kept = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert kept
    monkeypatch.setattr("jinja2.environment.Environment._generate", None)  # compiles no more
    assert page() == first
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == kept


def test_a_folder_that_others_may_write_to_is_left_alone(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert compiled_templates() is None
    assert page()
    assert not [*cache.iterdir()]


def test_a_log_is_written_where_nothing_can_be_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jinja2.bccache.FileSystemBytecodeCache.dump_bytecode", full)
    assert page()
    cache.rmdir()
    cache.write_text("a file in its place")
    assert compiled_templates() is None
