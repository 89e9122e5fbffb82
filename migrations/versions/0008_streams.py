"""Parts of streams that were not kept: when the answer itself began, thoughts, tool calls."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name, kind in (
        ("ttfo_s", sa.Float()),
        ("reasoning_tokens", sa.Integer()),
        ("reasoning_chunks", sa.Integer()),
        ("tool_call_deltas", sa.Integer()),
        ("done", sa.Boolean()),
        ("timed_out", sa.Boolean()),
        ("reconnected", sa.Boolean()),
    ):
        op.add_column("requests", sa.Column(name, kind, nullable=True))
    for name, kind in (
        ("thoughts", sa.String()),
        ("ttfo_s", sa.Float()),
        ("reasoning_tokens", sa.Integer()),
        ("note", sa.String()),
    ):
        op.add_column("interactions", sa.Column(name, kind, nullable=True))
