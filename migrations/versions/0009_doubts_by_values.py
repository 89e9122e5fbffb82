"""Doubts as name and values. Doubts that were stored in words keep their words."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute('ALTER TABLE doubts RENAME COLUMN sentence TO "values"')
    doubts = sa.table("doubts", *map(sa.column, ("run_id", "position", "values")))
    connection = op.get_bind()
    stored = connection.execute(sa.select(doubts)).all()
    if not stored:
        return
    place = (doubts.c.run_id == sa.bindparam("run"), doubts.c.position == sa.bindparam("at"))
    in_words = [
        {"run": run, "at": at, "words": json.dumps({"sentence": text}, ensure_ascii=False)}
        for run, at, text in stored
    ]
    connection.execute(doubts.update().where(*place).values(values=sa.bindparam("words")), in_words)
