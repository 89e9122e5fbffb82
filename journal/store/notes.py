"""The user's own words, kept byte for byte."""

import secrets
from dataclasses import fields, replace
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

from sqlalchemy import RowMapping, delete, insert, select, update

from journal.errors import UsageError
from journal.records.notebook import Note
from journal.store import core_tables
from journal.store.row_care import each_of, naming
from journal.store.store import Store, open_store

_notes = core_tables.notes
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


def add_note(store: Store, written: Note) -> Note:
    """Store a new note and return it. Raises UsageError for text that is not valid Unicode."""
    values = {name: getattr(written, name) for name in _NAMES}
    with store.transaction(writing=True) as connection:
        connection.execute(insert(_notes), values | {"text": _packed(written.text)})
    return written


def change_note(store: Store, written: Note, text: str) -> Note:
    """Replace the text of a stored note; return the changed note."""
    with store.transaction(writing=True) as connection:
        query = update(_notes).where(_notes.c.id == written.id)
        connection.execute(query.values(text=_packed(text)))
    return replace(written, text=text)


def remove_note(store: Store, written: Note) -> None:
    """Delete a stored note."""
    with store.transaction(writing=True) as connection:
        connection.execute(delete(_notes).where(_notes.c.id == written.id))


def notes(store: Store, day: date | None = None) -> list[Note]:
    """The notes on one day, or all notes, in the order in which they were written."""
    query = select(_notes).order_by(_notes.c.written_at, _notes.c.id)
    if day is not None:
        query = query.where(_notes.c.day == day)
    with store.transaction(writing=False) as connection:
        return list(each_of(connection, query, _notes.c.id, _note))


def note_of(store: Store, note_id: str) -> Note | None:
    """The note with this id, of any day; None where the journal has no such note. Raises StoreError
    for a damaged row."""
    query = select(_notes).where(_notes.c.id == note_id)
    with store.transaction(writing=False) as connection, naming(f"note {note_id}"):
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _note(row)


def _note(row: RowMapping) -> Note:
    with naming(f"note {row['id']}"):
        values = {name: row[name] for name in _NAMES}
        text = row["text"]
        if not isinstance(text, bytes):
            raise TypeError(f"its text is {text!r:.40}, not bytes")
        return Note(**values | {"text": text.decode("utf-8", "surrogateescape")})


def _packed(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"the note cannot be kept ({error}): it holds half a character") from error
