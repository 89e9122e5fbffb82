"""The turn of a request in its conversation, and the hash of a body that was made in the run."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("requests", sa.Column("turn", sa.Integer(), nullable=True))
    op.add_column("requests", sa.Column("sent_sha256", sa.String(), nullable=True))
