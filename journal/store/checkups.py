"""Checkups of hosts by the doctor; a later run on the same host has the last one in its
environment."""

import json

from sqlalchemy import RowMapping, insert, select

from journal.records.notebook import Check, Checkup
from journal.store import core_tables
from journal.store.plain import to_json
from journal.store.row_care import LOOKED_AT, each_of, naming
from journal.store.store import Store

_checkups = core_tables.checkups


def add_checkup(store: Store, checkup: Checkup) -> None:
    """Store a checkup of a host."""
    row = {
        "id": checkup.id,
        "host": checkup.host,
        "made_at": checkup.made_at,
        "checks": to_json(checkup.checks),
    }
    with store.transaction(writing=True) as connection:
        connection.execute(insert(_checkups), row)


def last_checkup(store: Store, host: str) -> Checkup | None:
    """The newest checkup of `host` that can be read; None where it was never examined."""
    query = select(_checkups).where(_checkups.c.host == host)
    query = query.order_by(_checkups.c.made_at.desc(), _checkups.c.id.desc()).limit(LOOKED_AT)
    with store.transaction(writing=False) as connection:
        return next(each_of(connection, query, _checkups.c.id, checkup_of), None)


def checkup_of(row: RowMapping) -> Checkup:
    """The checkup of a row. Raises StoreError for a row that is damaged."""
    with naming(f"checkup {row['id']}"):
        checks = tuple(Check(**check) for check in json.loads(row["checks"]))
        return Checkup(id=row["id"], host=row["host"], made_at=row["made_at"], checks=checks)


def as_environment(checkup: Checkup | None) -> dict[str, str | int | float | None]:
    """The checkup as a part of a run's environment: when it was made, and each check's state."""
    if checkup is None:
        return {}
    states = {
        f"doctor_{c.name.replace(': ', '_').replace(' ', '_')}": c.state for c in checkup.checks
    }
    return {"doctor_at": checkup.made_at.isoformat(timespec="seconds"), **states}
