"""Tags: names of runs that a comparison takes as a side."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "tags",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tagged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_ids", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
