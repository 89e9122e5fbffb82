"""The server's counters of drafted and accepted tokens, of speculative decoding."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

NAMES = ("drafts", "draft_tokens", "accepted_tokens", *(f"accepted_at_{n}" for n in range(1, 9)))


def upgrade() -> None:
    for name in NAMES:
        op.add_column("server_readings", sa.Column(f"{name}_total", sa.Float(), nullable=True))
