"""Tags: names that people give to runs, such as a baseline."""

import json

from sqlalchemy import RowMapping, delete, insert, select

from journal.errors import NotFound
from journal.records.notebook import Tag
from journal.store import core_tables
from journal.store.plain import to_json
from journal.store.row_care import each_of, naming, text_in
from journal.store.store import Store

_tags = core_tables.tags


def add_tag(store: Store, tag: Tag) -> None:
    """Store a tag; one of the same name is replaced."""
    values = {"id": tag.name, "tagged_at": tag.tagged_at, "run_ids": to_json(tag.run_ids)}
    with store.transaction(writing=True) as connection:
        connection.execute(delete(_tags).where(_tags.c.id == tag.name))
        connection.execute(insert(_tags), values)


def remove_tag(store: Store, name: str) -> None:
    """Remove a tag; its runs stay. Raises NotFound where there is none of that name."""
    with store.transaction(writing=True) as connection:
        if connection.execute(delete(_tags).where(_tags.c.id == name)).rowcount == 0:
            raise NotFound(f"there is no tag {name!r} in this journal: `journal tag` lists them")


def all_tags(store: Store) -> tuple[Tag, ...]:
    """All tags, by name."""
    with store.transaction(writing=False) as connection:
        rows = each_of(connection, select(_tags).order_by(_tags.c.id), _tags.c.id, tag_of)
        return tuple(rows)


def tag_named(store: Store, name: str) -> Tag | None:
    """The tag of that name; None where there is none. Raises StoreError for a damaged row."""
    query = select(_tags).where(_tags.c.id == name)
    with store.transaction(writing=False) as connection, naming(f"tag {name}"):
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else tag_of(row)


def tag_of(row: RowMapping) -> Tag:
    """The tag of a row. Raises StoreError for a row that is damaged."""
    with naming(f"tag {row['id']}"):
        run_ids = json.loads(row["run_ids"])
        if not isinstance(run_ids, list) or not all(isinstance(one, str) for one in run_ids):
            raise ValueError("its runs are no list of ids")
        return Tag(name=text_in(row, "id"), tagged_at=row["tagged_at"], run_ids=tuple(run_ids))
