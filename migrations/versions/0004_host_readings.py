"""Readings of the host beside a load: who else used its processors, swapping, sleep."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "host_readings",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.Float(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("busy_s", sa.Float(), nullable=True),
        sa.Column("ours_s", sa.Float(), nullable=True),
        sa.Column("stolen_s", sa.Float(), nullable=True),
        sa.Column("asleep_s", sa.Float(), nullable=True),
        sa.Column("swapped_bytes_total", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.PrimaryKeyConstraint("run_id", "position"),
    )
