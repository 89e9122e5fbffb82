"""The user's own words, kept byte for byte."""

import secrets
from dataclasses import fields, replace
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from journal.errors import UsageError
from journal.records.notebook import Note
from journal.store.row_care import each_readable, naming
from journal.store.rows import day_of, moment

if TYPE_CHECKING:
    from journal.store.row_care import Stored
    from journal.store.rows import Journal

_NAMES = tuple(field.name for field in fields(Note))


def note(
    text: str,
    home: str | Path = "lab",
    *,
    run: str | None = None,
    day: date | None = None,
    zone: tzinfo | None = None,
) -> Note:
    """Keep `text` as a note in the journal of `home`: on `run` (an id, the beginning of one, or
    "last") and its day, or on `day`, or on today (in `zone`, None: this machine's). Raises
    NotFound for a run that does not exist, UsageError for an empty text."""
    from journal.store.store import open_store

    if not text.strip():
        raise UsageError("an empty note says nothing: give it some words")
    now = datetime.now(UTC)
    with open_store(Path(home)) as store:
        about = None if run is None else store.run(run)
        at = now if about is None else about.started_at
        return add_note(
            store,
            Note(
                id=secrets.token_hex(8),
                day=day or at.astimezone(zone).date(),
                text=text,
                written_at=now,
                experiment_id=about.experiment_id if about else None,
                run_id=about.id if about else None,
            ),
        )


def add_note(store: "Journal", written: Note) -> Note:
    """Store a new note and return it. Raises UsageError for text that is not valid Unicode."""
    values = {name: getattr(written, name) for name in _NAMES} | {"text": _packed(written.text)}
    with store.changing() as rows:
        rows.add("notes", values)
    return written


def change_note(store: "Journal", written: Note, text: str) -> Note:
    """Replace the text of a stored note; return the changed note."""
    with store.changing() as rows:
        query = "UPDATE notes SET text = :text WHERE id = :id"
        rows.change(query, text=_packed(text), id=written.id)
    return replace(written, text=text)


def remove_note(store: "Journal", written: Note) -> None:
    """Delete a stored note."""
    with store.changing() as rows:
        rows.change("DELETE FROM notes WHERE id = :id", id=written.id)


def notes(store: "Journal", day: date | None = None) -> list[Note]:
    """The notes on one day, or all notes, in the order in which they were written."""
    where, values = ("", {}) if day is None else (" WHERE day = :day", {"day": day})
    with store.reading() as rows:
        query = f"SELECT * FROM notes{where} ORDER BY written_at, id"
        return list(each_readable(rows.mappings(query, **values), _note))


def note_of(store: "Journal", note_id: str) -> Note | None:
    """The note with this id, of any day; None where the journal has no such note. Raises StoreError
    for a damaged row."""
    with store.reading() as rows:
        found = rows.mappings("SELECT * FROM notes WHERE id = :id", id=note_id)
    return _note(found[0]) if found else None


def _note(row: "Stored") -> Note:
    with naming(f"note {row['id']}"):
        values = {name: row[name] for name in _NAMES}
        text = row["text"]
        if not isinstance(text, bytes):
            raise TypeError(f"its text is {text!r:.40}, not bytes")
        values |= {"day": day_of(row["day"]), "written_at": moment(row["written_at"])}
        return Note(**values | {"text": text.decode("utf-8", "surrogateescape")})


def _packed(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"the note cannot be kept ({error}): it holds half a character") from error
