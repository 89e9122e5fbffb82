"""Indices that find a cell's earlier runs, and the first runs of a model, in a large journal."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_index("ix_runs_identity", "runs")
    op.create_index("runs_by_model", "runs", ["model", "started_at"])
    op.create_index("runs_by_identity", "runs", ["identity", "status", "started_at"])
    place = ["model", "prompt_tokens", "output_tokens", "started_at"]
    op.create_index("runs_by_place", "runs", place)
