"""MLflow's database in a home, created completely or not at all.

MLflow takes seconds to create its tables. A process that is killed meanwhile leaves a database that
MLflow can neither use nor repair.
"""

import os
import warnings
from pathlib import Path

NAME = "mlflow.db"


def make_whole(home: Path) -> None:
    """Create the database beside its place, readable by its owner only, and move it there; do
    nothing where it exists. Only one process may call this at a time."""
    home = home.absolute()
    if (home / NAME).exists():
        return
    with warnings.catch_warnings(action="ignore"):  # about MLflow's own code
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    half_done = home / f".{NAME}.half-done"
    half_done.unlink(missing_ok=True)
    os.close(os.open(half_done, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    (home / "mlflow-artifacts").mkdir(mode=0o700, exist_ok=True)
    with warnings.catch_warnings(action="ignore"):
        store = SqlAlchemyStore(f"sqlite:///{half_done}", (home / "mlflow-artifacts").as_uri())
    store.engine.dispose()
    half_done.rename(home / NAME)
