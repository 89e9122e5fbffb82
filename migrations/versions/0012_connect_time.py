"""The time that a request spent on opening a connection."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("requests", sa.Column("connect_s", sa.Float(), nullable=True))
