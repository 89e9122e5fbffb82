"""Questions that people asked servers by hand, and the answers."""

import json
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

from journal.records.notebook import Interaction
from journal.store.plain import storable, to_json
from journal.store.row_care import each_readable, naming, text_in
from journal.store.rows import moment

if TYPE_CHECKING:
    from journal.store.row_care import Stored
    from journal.store.rows import Journal

_NAMES = tuple(field.name for field in fields(Interaction))


def add_interaction(store: "Journal", interaction: Interaction) -> None:
    """Store one question and its answer. Raises StoreError."""
    row = {name: getattr(interaction, name) for name in _NAMES}
    row |= {"messages": to_json(interaction.messages), "settings": to_json(interaction.settings)}
    row |= {name: storable(value) for name, value in row.items() if isinstance(value, str)}
    with store.changing() as rows:
        rows.add("interactions", row)


def interactions(
    store: "Journal",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[Interaction]:
    """The questions from `since` on and before `until` with their answers, newest last; with
    `limit` the newest `limit` of them."""
    terms = {"since": "asked_at >= :since", "until": "asked_at < :until"}
    given = {name: at for name, at in (("since", since), ("until", until)) if at is not None}
    where = " AND ".join(["1 = 1", *(terms[name] for name in given)])
    query = f"SELECT * FROM interactions WHERE {where} ORDER BY asked_at DESC, id DESC"
    query += "" if limit is None else f" LIMIT {limit:d}"
    with store.reading() as rows:
        return list(each_readable(rows.mappings(query, **given), interaction_of))[::-1]


def interaction_of(row: "Stored") -> Interaction:
    """The question of a row. Raises StoreError for a row that is damaged."""
    with naming(f"question {row['id']}"):
        values = {name: row[name] for name in _NAMES}
        for name in ("id", "model", "answer", "base_url"):
            text_in(row, name)
        values |= {name: json.loads(row[name]) for name in ("messages", "settings")}
        messages = [dict(message) for message in values["messages"]]
        values["asked_at"] = moment(row["asked_at"])
        values |= {"messages": tuple(messages), "thoughts": values["thoughts"] or ""}
        values["settings"] = dict(values["settings"])
        return Interaction(**values)
