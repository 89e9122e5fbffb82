"""The lengths of the requests of runs, asked and met, counted in the database."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from journal.store.rows import Journal

Length: TypeAlias = Literal[
    "prompt_tokens", "output_tokens", "prompt_tokens_asked", "output_tokens_asked"
]
Lengths: TypeAlias = Mapping[Length, Counter[int]]
LENGTHS: tuple[Length, ...] = (
    *("prompt_tokens", "output_tokens"),
    *("prompt_tokens_asked", "output_tokens_asked"),
)


def request_lengths(store: "Journal", run_ids: Collection[str]) -> dict[str, Lengths]:
    """How many of the measured requests that succeeded have each length in tokens, by run. A run
    whose requests are not in the database, as after a compaction, is left out; a length that the
    server did not tell, or another tool's file, is not counted."""
    found: dict[str, Lengths] = {}
    good = "run_id = :run_id AND NOT warmup AND outcome = 'ok'"
    with store.reading() as rows:
        for run_id in run_ids:
            counted: dict[Length, Counter[int]] = {}
            for name in LENGTHS:
                known = f"{name} > 0" if name.endswith("_asked") else f"{name} IS NOT NULL"
                query = f"SELECT {name}, count(*) FROM requests WHERE {good} AND {known}"
                counts = rows.tuples(f"{query} GROUP BY {name}", run_id=run_id)
                counted[name] = Counter({row[0]: row[1] for row in counts})
            if any(counted.values()):
                found[run_id] = counted
    return found
