"""The view runs_flat has the price in other currencies than USD, the currency, and the failed start
to which runs belong; the views are made again after every migration (journal/store/views.py)."""

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    pass
