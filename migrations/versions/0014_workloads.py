"""The workload of a run, for questions about earlier runs: NULL for random tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("runs", sa.Column("workload", sa.String(), nullable=True))
