"""Verification of a journal: its database, every row, and the checksums of all samples."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from journal.errors import DamagedRow, StoreError
from journal.store import core_tables
from journal.store.checkups import checkup_of
from journal.store.database import file_of
from journal.store.interactions import interactions
from journal.store.notes import notes
from journal.store.row_care import each_of
from journal.store.store import Store, open_store
from journal.store.tags import all_tags

_runs, _requests, _checkups = core_tables.runs, core_tables.requests, core_tables.checkups


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification: the numbers of rows of the user's own kinds and of runs whose
    samples were read, the number of requests in the database without a checksum (they were written
    before there was one), and a sentence for each fault."""

    rows: int
    samples: int
    without_checksum: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.faults


def verify(home: str | Path = "lab") -> Verified:
    """Read every row of the journal of `home`, and all samples against their checksums. Nothing is
    changed. Raises StoreError for a database that cannot be opened."""
    with open_store(Path(home)) as store, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedRow)
        faults = _database_faults(store)
        counts = [len(store.experiments()), len(store.runs()), len(interactions(store))]
        counts += [len(notes(store)), _checkups_read(store), len(all_tags(store))]
        samples, damaged = _samples_read(store)
        missing = select(func.count()).where(_requests.c.checksum.is_(None))
        with store.transaction(writing=False) as connection:
            without = connection.scalar(missing) or 0
    rows = [str(one.message).removesuffix("; it is left out") for one in caught]
    return Verified(sum(counts), samples, without, (*faults, *rows, *damaged))


def _database_faults(store: Store) -> list[str]:
    """What SQLite itself finds wrong with its file; a server looks after its own."""
    path = file_of(store.url)
    if path is None:
        return []
    with store.transaction(writing=False) as connection:
        found = [str(one) for (one,) in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    faults = [f"{path}: {one}" for one in found if one != "ok"]
    lost = {f"{path}: rows of {rows} belong to no row of {of}" for rows, _, of, _ in orphans}
    return [*faults, *sorted(lost)]


def _checkups_read(store: Store) -> int:
    with store.transaction(writing=False) as connection:
        return len(list(each_of(connection, select(_checkups), _checkups.c.id, checkup_of)))


def _samples_read(store: Store) -> tuple[int, list[str]]:
    """The number of runs whose samples are whole, and a sentence for each other one."""
    with store.transaction(writing=False) as connection:
        ids = list(connection.scalars(select(_runs.c.id).where(_runs.c.client.is_not(None))))
    whole, faults = 0, []
    for run_id in ids:
        try:
            store.samples(str(run_id))
            whole += 1
        except StoreError as error:
            faults.append(str(error))
    return whole, faults
