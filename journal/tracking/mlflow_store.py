"""MLflow's database in a home, made whole or not at all.

MLflow takes seconds to make its tables. Killed meanwhile, it leaves a database that it can neither
use nor mend, and then knows no run of this home ever after.
"""

import os
import warnings
from pathlib import Path

NAME = "mlflow.db"


def make_whole(home: Path) -> None:
    """Makes the database beside its place and moves it there, its owner's alone; does nothing
    where it is. Only one process may do so at a time."""
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
