"""Naming runs: a tag is a side of comparisons and of gates, whatever is measured after it."""

import re
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from journal.compare.sides import DAYS_AGO, find_side, side_kinds
from journal.errors import NotFound, UsageError
from journal.records.notebook import Tag

NAME = re.compile(r"[^\s:,]{1,100}")
TAKEN = ("last", *DAYS_AGO)


def tag(
    name: str,
    *sides: str,
    home: str | Path = "lab",
    zone: tzinfo | None = None,
) -> Tag:
    """Give the runs of `sides` (as `compare` takes them; without any: the last experiment that has
    runs) the name `name` in the journal of `home`, in place of the runs that had it before.

    Raises UsageError for a name that could be taken for a day or an id prefix such as `run:x`, or
    that a model or an experiment has; NotFound for a side that is not in the journal.
    """
    from journal.store.store import open_store
    from journal.store.tags import add_tag

    _check_name(name)
    with open_store(Path(home)) as store:
        others = side_kinds(store, name, zone) - {"tag"}
        if others:
            raise UsageError(
                f"{name!r} is the name of {' and '.join(sorted(others))}: choose another"
            )
        if sides:
            records = [r for text in sides for r in find_side(store, text, zone).records]
        else:
            every = store.runs()
            last = every[-1].experiment_id if every else None
            records = [record for record in every if record.experiment_id == last]
        if not records:
            raise NotFound("there are no runs to tag: journal run makes some")
        ids = tuple(dict.fromkeys(record.id for record in records))
        made = Tag(name=name, tagged_at=datetime.now(UTC), run_ids=ids)
        add_tag(store, made)
    return made


def tags(home: str | Path = "lab") -> tuple[Tag, ...]:
    """All tags of the journal of `home`, by name."""
    from journal.store.store import open_store
    from journal.store.tags import all_tags

    with open_store(Path(home)) as store:
        return all_tags(store)


def untag(name: str, home: str | Path = "lab") -> None:
    """Remove a tag from the journal of `home`; its runs stay. Raises NotFound for an unknown
    one."""
    from journal.store.store import open_store
    from journal.store.tags import remove_tag

    with open_store(Path(home)) as store:
        remove_tag(store, name)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name in TAKEN or re.fullmatch(r"\d{4}-\d\d-\d\d", name):
        raise UsageError(
            f"{name!r} cannot be the name of a tag: take a word of at most 100 letters without "
            "spaces, colons and commas, which is no day"
        )
