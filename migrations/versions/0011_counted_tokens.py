"""Tokens that the client counted from the text, and refusals."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("requests", sa.Column("refused", sa.Boolean(), nullable=True))
    op.add_column("requests", sa.Column("counted_tokens", sa.Integer(), nullable=True))
