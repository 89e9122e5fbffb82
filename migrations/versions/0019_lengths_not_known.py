"""A length that another tool's file does not tell is NULL; it was 0."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

LENGTHS = ("prompt_tokens", "output_tokens")


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        for name in LENGTHS:
            runs.alter_column(name, existing_type=sa.Integer(), nullable=True)
    runs = sa.table("runs", *map(sa.column, ("id", "cell", "environment", *LENGTHS)))
    zero = sa.or_(*(runs.c[name] == 0 for name in LENGTHS))
    connection = op.get_bind()
    for row in connection.execute(sa.select(runs).where(zero)).mappings().all():
        try:
            cell, tool = json.loads(row["cell"]), json.loads(row["environment"]).get("tool")
            unknown = {name: None for name in LENGTHS if tool and cell[name] == 0}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a damaged row stays as it is, for whoever saves it
        text = json.dumps(
            {**cell, **unknown}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        values = {"cell": text, **unknown}
        connection.execute(sa.update(runs).where(runs.c.id == row["id"]).values(values))
