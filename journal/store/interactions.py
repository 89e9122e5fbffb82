"""Questions that people asked servers by hand, and the answers."""

import json
from dataclasses import fields
from datetime import datetime

from sqlalchemy import RowMapping, insert, select

from journal.records.notebook import Interaction
from journal.store import core_tables
from journal.store.plain import storable, to_json
from journal.store.row_care import each_of, naming, text_in
from journal.store.store import Store

_interactions = core_tables.interactions
_NAMES = tuple(field.name for field in fields(Interaction))


def add_interaction(store: Store, interaction: Interaction) -> None:
    """Store one question and its answer. Raises StoreError."""
    row = {name: getattr(interaction, name) for name in _NAMES}
    row |= {"messages": to_json(interaction.messages), "settings": to_json(interaction.settings)}
    row |= {name: storable(value) for name, value in row.items() if isinstance(value, str)}
    with store.transaction(writing=True) as connection:
        connection.execute(insert(_interactions), row)


def interactions(
    store: Store,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[Interaction]:
    """The questions from `since` on and before `until` with their answers, newest last; with
    `limit` the newest `limit` of them."""
    query = select(_interactions)
    if since is not None:
        query = query.where(_interactions.c.asked_at >= since)
    if until is not None:
        query = query.where(_interactions.c.asked_at < until)
    query = query.order_by(_interactions.c.asked_at.desc(), _interactions.c.id.desc())
    with store.transaction(writing=False) as connection:
        newest_first = each_of(connection, query.limit(limit), _interactions.c.id, interaction_of)
        return list(newest_first)[::-1]


def interaction_of(row: RowMapping) -> Interaction:
    """The question of a row. Raises StoreError for a row that is damaged."""
    with naming(f"question {row['id']}"):
        values = {name: row[name] for name in _NAMES}
        for name in ("id", "model", "answer", "base_url"):
            text_in(row, name)
        values |= {name: json.loads(row[name]) for name in ("messages", "settings")}
        messages = [dict(message) for message in values["messages"]]
        values |= {"messages": tuple(messages), "thoughts": values["thoughts"] or ""}
        values["settings"] = dict(values["settings"])
        return Interaction(**values)
