"""The lengths of the requests of runs, asked and met, counted in the database."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

from sqlalchemy import func, select

from journal.store import core_tables
from journal.store.store import Store

Length: TypeAlias = Literal[
    "prompt_tokens", "output_tokens", "prompt_tokens_asked", "output_tokens_asked"
]
Lengths: TypeAlias = Mapping[Length, Counter[int]]
LENGTHS: tuple[Length, ...] = (
    *("prompt_tokens", "output_tokens"),
    *("prompt_tokens_asked", "output_tokens_asked"),
)

_requests = core_tables.requests


def request_lengths(store: Store, run_ids: Collection[str]) -> dict[str, Lengths]:
    """How many of the measured requests that succeeded have each length in tokens, by run. A run
    whose requests are not in the database, as after a compaction, is left out; a length that the
    server did not tell, or another tool's file, is not counted."""
    found: dict[str, Lengths] = {}
    good = (_requests.c.warmup.is_(False), _requests.c.outcome == "ok")
    with store.transaction(writing=False) as connection:
        for run_id in run_ids:
            counted: dict[Length, Counter[int]] = {}
            of_run = (_requests.c.run_id == run_id, *good)
            for name in LENGTHS:
                column = _requests.c[name]
                known = column > 0 if name.endswith("_asked") else column.is_not(None)
                query = select(column, func.count()).where(*of_run, known)
                rows = connection.execute(query.group_by(column)).all()
                counted[name] = Counter({row[0]: row[1] for row in rows})
            if any(counted.values()):
                found[run_id] = counted
    return found
