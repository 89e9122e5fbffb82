"""The id of MLflow's experiment that holds an experiment: the addresses of its pages need it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("mlflow_experiment_id", sa.String(), nullable=True))
