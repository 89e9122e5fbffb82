"""The user's own words survive every regeneration of the log, byte for byte."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest

import journal
from journal.records.experiment import Experiment
from journal.records.notebook import Note
from journal.records.run import Record
from journal.report.log import LogFiles, write_log
from journal.report.regions import OF_THE_DAY
from journal.store.notes import add_note, change_note, notes
from journal.store.store import Store, open_store

Build = Callable[..., Record]
TODAY = date(2026, 11, 20)
RAW = "Größe * matters_ <b>not</b> | `x`\n\n\t- and\r\n模型 🙂  \n<!-- words new-day 0: -->"


@pytest.fixture
def store(tmp_path: Path, record: Build) -> Store:
    """A day of one experiment with one run, and its log not yet written."""
    store = open_store(tmp_path)
    run = record(metrics={"ttft_s.p50": 0.1})
    begun = store.begin_experiment(Experiment(name="first"), run.started_at, {})
    store.add_run(replace(run, experiment_id=begun.id), None)
    store.end_experiment(begun.id, "done", run.started_at)
    return store


def written(store: Store, home: Path, lang: str = "en") -> LogFiles:
    return write_log(store, home, TODAY, UTC, lang=lang)


def type_in(path: Path, place: str, words: str) -> None:
    """What a person does: put `words` in the place of what stands in a place of the file."""
    content = path.read_bytes().decode("utf-8", "surrogateescape")
    start = content.index(f"<!-- words {place} ")
    start = content.index("-->\n", start) + 4
    end = content.index(f"\n<!-- end of words {place} -->", start - 1)
    content = content[:start] + words + content[max(start, end) :]
    path.write_bytes(content.encode("utf-8", "surrogateescape"))


def test_words_typed_into_the_log_are_kept_in_the_journal(store: Store, tmp_path: Path) -> None:
    path = written(store, tmp_path).markdown
    begun = store.experiments()[0].id
    type_in(path, OF_THE_DAY, RAW)
    type_in(path, f"new-{begun}", "Lesson: measure twice.")
    files = written(store, tmp_path)
    assert files.edited is None
    kept = {note.text: note for note in notes(store, TODAY)}
    assert set(kept) == {RAW, "Lesson: measure twice."}
    assert kept["Lesson: measure twice."].experiment_id == begun
    assert kept[RAW].experiment_id is None
    for lang in ("zh", "en", "en"):
        content = written(store, tmp_path, lang).markdown.read_bytes()
        assert content.count(RAW.encode()) == 1
        assert content.count(b"Lesson: measure twice.") == 2, (
            "on the first screen, and in its place"
        )
    assert len(notes(store)) == 2
    html = files.html.read_text(encoding="utf-8")
    assert "Lesson: measure twice." in html
    assert "&lt;b&gt;not&lt;/b&gt;" in html
    assert "<b>not" not in html
    again = path.read_bytes()
    assert written(store, tmp_path).markdown.read_bytes() == again


def test_bytes_that_are_no_text_are_kept_too(store: Store, tmp_path: Path) -> None:
    path = written(store, tmp_path).markdown
    raw = b"latin \xe9t\xe9 \x00 \xff"
    type_in(path, OF_THE_DAY, raw.decode("utf-8", "surrogateescape"))
    for _ in range(2):
        assert raw in written(store, tmp_path).markdown.read_bytes()
    assert "<U+DCE9>" not in path.read_text(encoding="utf-8", errors="surrogateescape")
    assert "&lt;U+DCE9&gt;" in path.with_suffix(".html").read_text(encoding="utf-8")


def test_notes_by_command_stand_in_the_log_and_can_be_edited_there(
    store: Store, tmp_path: Path
) -> None:
    run = store.runs()[0]
    on_run = journal.note(RAW, tmp_path, run="last", zone=UTC)
    on_day = journal.note("Good day.", tmp_path, day=TODAY)
    assert (on_run.day, on_run.run_id, on_run.experiment_id) == (TODAY, run.id, run.experiment_id)
    path = written(store, tmp_path).markdown
    content = path.read_bytes()
    assert RAW.encode() in content
    assert content.index(RAW.encode()) < content.index(b"## Notes") < content.rindex(b"Good day.")
    assert f"on run {run.id[:8]}" in content.decode()
    type_in(path, on_day.id, "A good day, after all.")
    assert written(store, tmp_path).edited is None
    assert {note.text for note in notes(store)} == {RAW, "A good day, after all."}
    assert {note.id for note in notes(store)} == {on_run.id, on_day.id}
    type_in(path, on_day.id, "")
    written(store, tmp_path)
    assert [note.id for note in notes(store)] == [on_run.id]
    assert b"A good day" not in path.read_bytes()


def test_edits_elsewhere_are_noticed_and_a_copy_is_kept(store: Store, tmp_path: Path) -> None:
    path = written(store, tmp_path).markdown
    type_in(path, OF_THE_DAY, "mine")
    edited = path.read_text(encoding="utf-8").replace("· first:", "· FIRST, my favourite:")
    path.write_text(edited, encoding="utf-8")
    files = written(store, tmp_path)
    assert files.edited is not None and files.edited.parent == path.parent
    assert files.edited.read_text(encoding="utf-8") == edited
    assert "my favourite" not in path.read_text(encoding="utf-8")
    assert [note.text for note in notes(store)] == ["mine"], "words are kept even so"
    assert written(store, tmp_path).edited is None, "what was written anew is whole again"
    path.write_text("a file from elsewhere")
    files = written(store, tmp_path)
    assert files.edited is not None
    assert files.edited.read_text() == "a file from elsewhere"
    assert len(list(path.parent.glob("*.edited-*.md"))) == 2


def test_words_survive_when_the_runs_of_the_day_change(
    store: Store, tmp_path: Path, record: Build
) -> None:
    path = written(store, tmp_path).markdown
    begun = store.experiments()[0].id
    type_in(path, f"new-{begun}", RAW)
    late = record(batch=8, number=7, metrics={"ttft_s.p50": 0.2})
    store.add_run(replace(late, experiment_id=begun), None)
    another = store.begin_experiment(
        Experiment(name="another"), late.started_at + timedelta(hours=1), {}
    )
    content = written(store, tmp_path).markdown.read_bytes()
    assert content.count(RAW.encode()) == 1
    assert f"words new-{another.id}".encode() in content
    path.unlink()
    assert written(store, tmp_path).markdown.read_bytes().count(RAW.encode()) == 1


def test_taking_in_twice_does_not_double(store: Store, tmp_path: Path) -> None:
    """As when the program dies in between, or an editor saves its old text again."""
    path = written(store, tmp_path).markdown
    type_in(path, OF_THE_DAY, "once")
    old = path.read_bytes()
    written(store, tmp_path)
    path.write_bytes(old)
    written(store, tmp_path)
    (note,) = notes(store)
    type_in(path, note.id, "changed since")
    type_in(path, OF_THE_DAY, "once")
    written(store, tmp_path)
    assert sorted(note.text for note in notes(store)) == ["changed since", "once"]


def test_a_note_that_was_changed_on_both_sides_is_kept_twice(store: Store, tmp_path: Path) -> None:
    note = journal.note("as it was", tmp_path, day=TODAY)
    path = written(store, tmp_path).markdown
    type_in(path, note.id, "as typed")
    change_note(store, note, "as changed elsewhere")
    content = written(store, tmp_path).markdown.read_text(encoding="utf-8")
    assert "as typed" in content
    assert "as changed elsewhere" in content
    path = written(store, tmp_path).markdown
    change_note(store, note, "and again")
    content = written(store, tmp_path).markdown.read_text(encoding="utf-8")
    assert "and again" in content and "as changed elsewhere" not in content, "the file had no edit"


def test_words_that_the_journal_lost_come_back_from_the_file(
    store: Store, tmp_path: Path, record: Build
) -> None:
    note = journal.note("precious", tmp_path, day=TODAY)
    path = written(store, tmp_path).markdown
    other = tmp_path / "other"
    with open_store(other) as fresh:
        fresh.begin_experiment(Experiment(name="x"), record().started_at, {})
        (other / "log").mkdir()
        (other / "log" / path.name).write_bytes(path.read_bytes())
        files = write_log(fresh, other, TODAY, UTC)
        assert [(each.id, each.text) for each in notes(fresh)] == [(note.id, "precious")]
        assert files.edited is None


def test_words_copied_to_another_day_stay_with_the_first(store: Store, tmp_path: Path) -> None:
    note = journal.note("of the first day", tmp_path, day=TODAY)
    later = TODAY + timedelta(days=1)
    journal.note("of the second day", tmp_path, day=later)
    first = written(store, tmp_path).markdown
    second = write_log(store, tmp_path, later, UTC).markdown
    second.write_bytes(second.read_bytes() + first.read_bytes())
    files = write_log(store, tmp_path, later, UTC)
    assert files.edited is not None
    assert [each.text for each in notes(store, TODAY)] == ["of the first day"]
    assert [each.text for each in notes(store, later)] == ["of the second day"]
    assert note.day == TODAY


def test_a_day_with_nothing_but_words_has_a_log(tmp_path: Path) -> None:
    journal.note("A day of reading.", tmp_path, day=date(2026, 1, 1))
    with open_store(tmp_path) as store:
        files = write_log(store, tmp_path, date(2026, 1, 1), UTC)
    assert "A day of reading." in files.markdown.read_text(encoding="utf-8")
    assert "A day of reading." in files.html.read_text(encoding="utf-8")


def test_notes_come_in_the_order_of_writing(store: Store) -> None:
    at = store.runs()[0].started_at
    for n, text in enumerate(("c", "a", "b")):
        add_note(store, Note(id=str(9 - n), day=TODAY, text=text, written_at=at + timedelta(n)))
    assert [note.text for note in notes(store, TODAY)] == ["c", "a", "b"]
    assert notes(store, TODAY + timedelta(1)) == []
