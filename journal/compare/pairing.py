"""Which runs of two sides belong together: those of the same cell.

A cell is all that defines a run but its repeat. What each side has only one value of, and the two
sides differ in, is what is being compared (two models, two flags); all else must be equal. Runs
made under different conditions (host, driver, versions) are never put together within a side.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from journal.compare.setups import flags_of
from journal.errors import UsageError
from journal.records.load_shape import NAMED_AXES
from journal.records.run import Record
from journal.records.sameness import counting, counting_fields, surroundings

Value: TypeAlias = str | int | float | None
Fields: TypeAlias = Mapping[str, Value]
Records: TypeAlias = tuple[Record, ...]
Pair: TypeAlias = tuple[Records, Records]  # the repeats of one cell on side A and on side B
Key: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What one row of a comparison is about: the cells whose named fields are `cell`. Where a
    side has runs under several conditions, `conditions` tells which of them these are."""

    cell: Fields
    conditions: tuple[Fields, Fields]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """`differs` is what is being compared, by the names of a cell's fields; `conditions` what
    differs around it, between the sides or within one, with all values of each side. `alone` are
    the cells that only one side has."""

    differs: Mapping[str, tuple[Value, Value]]
    conditions: Mapping[str, tuple[tuple[Value, ...], tuple[Value, ...]]]
    matches: tuple[Match, ...]
    alone: tuple[tuple[Fields, ...], tuple[Fields, ...]]


def cell_of(record: Record) -> dict[str, Value]:
    """All that defines a run but its repeat and seed, by name."""
    cell, limits = record.cell, counting("slo", "pairing")
    return {
        **counting_fields(cell, "pairing"),
        **({name: getattr(cell.slo, name) for name in limits} if cell.slo else {}),
        **{name: _plain(value) for name, value in flags_of(cell.engine).items()},
    }


def conditions_of(record: Record) -> dict[str, Value]:
    """The environment in which a run was made, as far as it may change its figures."""
    return surroundings(record)


def pair(a: Records, b: Records, by: tuple[str, ...] = ()) -> Pairing:
    """The cells of `a` that are cells of `b` too. A match stands for the cells that are equal in
    the fields `by`, by default for each cell alone. Raises UsageError for a field that there is
    not, and where nothing matches."""
    sides = (a, b)
    cells = {record.id: cell_of(record) for side in sides for record in side}
    names = tuple(dict.fromkeys(name for cell in cells.values() for name in cell))
    _check(by, names)
    values = {n: _values(sides, {id_: cell.get(n) for id_, cell in cells.items()}) for n in names}
    differs = {
        name: (ours[0], theirs[0])
        for name, (ours, theirs) in values.items()
        if name not in by and len(ours) == len(theirs) == 1 and ours != theirs
    }
    key = tuple(name for name in names if name not in differs)
    keys = {id_: tuple(cell.get(name) for name in key) for id_, cell in cells.items()}
    matches = [m for group in _groups(a, b) for m in _matches(*group, keys, key, by)]
    if not matches:
        raise UsageError(_nothing_in_common({name: values[name] for name in key}))
    varied = {n for n in key if len({*values[n][0], *values[n][1]}) > 1}
    varied |= {n for n in NAMED_AXES if n in key and values[n][0] != (None,)}
    shown = by or tuple(name for name in key if name in varied)
    paired = {keys[r.id] for match in matches for ours, theirs in match.pairs for r in ours}
    return Pairing(
        differs=differs,
        conditions=_conditions(sides),
        matches=tuple(_shown(match, shown) for match in sorted(matches, key=_order)),
        alone=_alone(sides, keys, key, shown, paired),
    )


def _plain(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _values(
    sides: Sequence[Records], of: Mapping[str, Value]
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The different values on each side, of what `of` tells for each run."""
    ours, theirs = (tuple(dict.fromkeys(of[record.id] for record in side)) for side in sides)
    return ours, theirs


def _check(by: tuple[str, ...], names: Sequence[str]) -> None:
    for name in by:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"cells have no field {name!r}: {hint}they have {', '.join(names)}")


def _conditions(
    sides: Sequence[Records],
) -> dict[str, tuple[tuple[Value, ...], tuple[Value, ...]]]:
    """The conditions that are not one and the same for all runs. Of runs that another tool
    measured most are not known: that is no difference to name."""
    found = {record.id: conditions_of(record) for side in sides for record in side}
    names = dict.fromkeys(name for each in found.values() for name in each)
    every = {n: _values(sides, {id_: each.get(n) for id_, each in found.items()}) for n in names}
    unknown = ((None,),) if "tool" in every else ()
    return {
        name: each
        for name, each in every.items()
        if len({*each[0], *each[1]}) > 1 and (name == "tool" or not {*each} & {*unknown})
    }


def _groups(a: Records, b: Records) -> Iterator[tuple[Pair, tuple[Fields, Fields]]]:
    """Runs of `a` and `b` to be paired: under equal conditions where both sides have those, else
    all others with all others."""
    ours, theirs = _by_conditions(a), _by_conditions(b)
    both = [key for key in ours if key in theirs]
    chosen = [(key, key) for key in both]
    chosen += [(x, y) for x in ours if x not in both for y in theirs if y not in both]
    for x, y in chosen:
        named = (_apart(x, ours), _apart(y, theirs))
        yield (tuple(ours[x]), tuple(theirs[y])), named


Conditions: TypeAlias = tuple[tuple[str, Value], ...]


def _by_conditions(records: Records) -> dict[Conditions, list[Record]]:
    groups: dict[Conditions, list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(sorted(conditions_of(record).items())), []).append(record)
    return groups


def _apart(one: Conditions, among: Mapping[Conditions, object]) -> Fields:
    """What sets `one` apart from the others among which it is."""
    own, others = dict(one), [dict(each) for each in among]
    every = dict.fromkeys(name for each in (own, *others) for name in each)
    return {n: own.get(n) for n in every if any(each.get(n) != own.get(n) for each in others)}


def _matches(
    sides: Pair,
    conditions: tuple[Fields, Fields],
    keys: Mapping[str, Key],
    names: tuple[str, ...],
    by: tuple[str, ...],
) -> Iterator[Match]:
    ours, theirs = (_by_key(side, keys) for side in sides)
    rows: dict[Key, list[Key]] = {}
    for key in ours:
        if key in theirs:
            fields = dict(zip(names, key, strict=True))
            rows.setdefault(tuple(fields[n] for n in by) if by else key, []).append(key)
    for row, found in rows.items():
        cell = dict(zip(by or names, row, strict=True))
        pairs = tuple((tuple(ours[key]), tuple(theirs[key])) for key in found)
        yield Match(cell=cell, conditions=conditions, pairs=pairs)


def _by_key(records: Records, keys: Mapping[str, Key]) -> dict[Key, list[Record]]:
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(keys[record.id], []).append(record)
    return groups


def _order(match: Match) -> tuple[tuple[bool, float, str], ...]:
    return tuple(
        (isinstance(v, str), float(v) if isinstance(v, int | float) else 0.0, str(v))
        for v in match.cell.values()
    )


def _shown(match: Match, names: tuple[str, ...]) -> Match:
    cell = {name: match.cell[name] for name in names}
    return Match(cell=cell, conditions=match.conditions, pairs=match.pairs)


def _alone(
    sides: Pair,
    keys: Mapping[str, Key],
    names: tuple[str, ...],
    shown: tuple[str, ...],
    paired: set[Key],
) -> tuple[tuple[Fields, ...], tuple[Fields, ...]]:
    ours, theirs = (
        tuple(
            {n: v for n, v in zip(names, key, strict=True) if n in shown}
            for key in dict.fromkeys(keys[record.id] for record in side)
            if key not in paired
        )
        for side in sides
    )
    return ours, theirs


def _nothing_in_common(
    values: Mapping[str, tuple[tuple[Value, ...], tuple[Value, ...]]],
) -> str:
    apart = {n: (a, b) for n, (a, b) in values.items() if not {*a} & {*b}}
    told = "; ".join(
        f"{name} is {' or '.join(map(str, a))} in A and {' or '.join(map(str, b))} in B"
        for name, (a, b) in apart.items()
    )
    why = f" ({told})" if told else ""
    return (
        f"A and B have no cell in common{why}: compare sides that share batch and lengths, or "
        "name the runs by their ids"
    )
