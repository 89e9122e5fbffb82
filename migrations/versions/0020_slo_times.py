"""The times of requests that decide the figures of a run under any SLO, in one row for each run."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "slo_times",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("span_s", sa.Float(), nullable=True),
        sa.Column("steady_from", sa.Integer(), nullable=True),
        sa.Column("latencies_s", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.PrimaryKeyConstraint("run_id"),
    )
