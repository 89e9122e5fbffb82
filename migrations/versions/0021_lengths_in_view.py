"""The view requests_flat shows NULL for a length that another tool's file does not tell; the views
are made again after every migration (journal/store/views.py)."""

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    pass
