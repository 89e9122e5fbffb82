"""The views runs_flat and requests_flat, which journal/store/views.py makes after every
migration."""

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    pass
