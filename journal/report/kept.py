"""The user's own words in a log's Markdown, taken in before a new file replaces it."""

from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from journal.errors import NotFound
from journal.private import write_private
from journal.records.notebook import Note
from journal.report.regions import NEW, OF_THE_DAY, WrittenWords, read_log
from journal.store.notes import add_note, change_note, note_of, notes, remove_note

if TYPE_CHECKING:
    from journal.store.rows import Journal


def take_in(store: "Journal", path: Path, content: bytes, day: date) -> Path | None:
    """Bring the words in the places of the log at `path`, which holds `content`, into the
    journal; a second call changes nothing. Where the file was changed elsewhere too, it is
    copied beside itself, and the path of the copy returned."""
    contents = read_log(content.decode("utf-8", "surrogateescape"))
    known = {note.id: note for note in notes(store, day)}
    for words in contents.words:
        if words.name in known:
            _take_over(store, words, known[words.name])
        elif words.name.startswith(NEW):
            _add(store, words, day, _experiment(store, words.name))
        elif note_of(store, words.name) is None:  # the journal has lost it
            _add(store, words, day, None, words.name)
        elif words.changed:  # the place was copied from another day
            _add(store, words, day, None)
    return None if contents.sealed else set_aside(path, content)


def copied_if_edited(path: Path, content: bytes) -> Path | None:
    """The copy of the log at `path`, which has no places for words, beside it; None where it was
    not changed since it was written."""
    sealed = read_log(content.decode("utf-8", "surrogateescape")).sealed
    return None if sealed else set_aside(path, content)


def set_aside(path: Path, content: bytes) -> Path:
    """A copy of the log at `path`, which was changed by hand, beside it."""
    copy = path.with_name(f"{path.stem}.edited-{sha256(content).hexdigest()[:8]}.md")
    write_private(copy, content)
    return copy


def _take_over(store: "Journal", words: WrittenWords, note: Note) -> None:
    """Put changed words in the place of the `note` that they were made from; keep both where the
    note was changed meanwhile."""
    if not words.changed or words.text == note.text:
        return
    if not words.were(note.text):
        _add(store, words, note.day, note.experiment_id)
    elif words.text.strip():
        change_note(store, note, words.text)
    else:
        remove_note(store, note)


def _add(
    store: "Journal",
    words: WrittenWords,
    day: date,
    experiment_id: str | None,
    note_id: str | None = None,
) -> None:
    """Add a note, unless the same words were taken from the same place before."""
    if not words.text.strip():
        return
    for number in count():
        chosen = note_id or _id(f"{number} {day} {words.name} {words.text}")
        present = note_of(store, chosen)
        if present is None:
            written = Note(
                id=chosen,
                day=day,
                text=words.text,
                written_at=datetime.now(UTC),
                experiment_id=experiment_id,
            )
            add_note(store, written)
        if present is None or present.text == words.text:
            return


def _id(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _experiment(store: "Journal", name: str) -> str | None:
    """The id of the experiment in whose place the words were typed; None where the journal has no
    such experiment."""
    try:
        return None if name == OF_THE_DAY else store.experiment(name.removeprefix(NEW)).id
    except NotFound:
        return None
