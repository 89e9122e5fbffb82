"""The file that holds the requests of a run that were moved out of the database."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("requests_file", sa.String(), nullable=True))
