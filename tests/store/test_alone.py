"""One measurement at a time into one home."""

import os
from pathlib import Path

import pytest

from journal.errors import StoreError, UsageError
from journal.store.alone import alone


def lock_of(home: Path) -> Path:
    (path,) = home.iterdir()
    return path


def test_the_process_that_is_measuring_is_named(tmp_path: Path) -> None:
    home = tmp_path / "new" / "lab"
    with alone(home):
        assert oct(home.stat().st_mode & 0o777) == "0o700"
        assert oct(lock_of(home).stat().st_mode & 0o777) == "0o600"
        with (
            pytest.raises(UsageError, match=rf"^process {os.getpid()} \(since \d{{4}}-"),
            alone(home),
        ):
            pass


@pytest.mark.parametrize("note", ["", "{}", '{"pid": "x", "since": "now"}', "[]"])
def test_a_note_that_cannot_be_read_names_nobody(tmp_path: Path, note: str) -> None:
    with alone(tmp_path):
        lock_of(tmp_path).write_text(note)
        with (
            pytest.raises(UsageError, match=r"^another process is measuring into"),
            alone(tmp_path),
        ):
            pass


def test_the_next_may_begin_where_one_has_ended_and_its_note_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        lock_of(tmp_path).write_text("x" * 500)
        _ = 1 / 0
    with alone(tmp_path):
        assert "x" not in lock_of(tmp_path).read_text()


def test_a_home_that_is_a_file_is_said_to_be_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file cannot be written"), alone(tmp_path / "file"):
        pass
