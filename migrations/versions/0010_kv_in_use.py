"""The KV cache in use, in bytes, as a metric: earlier runs get it from the two that give it."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute(
        "INSERT INTO metrics (run_id, name, value)"
        " SELECT share.run_id, 'kv_cache_peak_bytes', share.value * pool.value"
        " FROM metrics AS share JOIN metrics AS pool ON pool.run_id = share.run_id"
        " WHERE share.name = 'kv_cache_peak_fraction' AND pool.name = 'kv_pool_bytes'"
    )
