"""A checksum of the chunks of each request, by which a flipped bit is found. Requests of before
have none."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("requests", sa.Column("checksum", sa.BigInteger(), nullable=True))
