"""Pairs of runs of the same cell on two sides of a comparison.

A cell is all that defines a run but its repeat. A field that has one value on each side, and
another on the other side, is the subject of the comparison (two models, two flags), unless it is
the workload: other prompts are another question. All other fields must be equal. Runs under
different conditions (host, driver, versions) are never put together within a side.
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
    """The cells of one row of a comparison, whose named fields are `cell`, with the runs of both
    sides in `pairs`. Where a side has runs under several conditions, `conditions` names those of
    these runs, for each side."""

    cell: Fields
    conditions: tuple[Fields, Fields]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The runs of two sides, paired. `differs` maps the fields of a cell that are compared to their
    values on the two sides; `conditions` maps the surroundings that differ, between the sides or
    within one, to all values of each side. `alone` are the cells that only one side has."""

    differs: Mapping[str, tuple[Value, Value]]
    conditions: Mapping[str, tuple[tuple[Value, ...], tuple[Value, ...]]]
    matches: tuple[Match, ...]
    alone: tuple[tuple[Fields, ...], tuple[Fields, ...]]


def cell_of(record: Record) -> dict[str, Value]:
    """All fields that define a run but its repeat and seed, by name."""
    cell, limits = record.cell, counting("slo", "pairing")
    return {
        **counting_fields(cell, "pairing"),
        **({name: getattr(cell.slo, name) for name in limits} if cell.slo else {}),
        **{name: _plain(value) for name, value in flags_of(cell.engine).items()},
    }


def conditions_of(record: Record) -> dict[str, Value]:
    """The environment of a run, as far as it may change its figures."""
    return surroundings(record)


def pair(a: Records, b: Records, by: tuple[str, ...] = ()) -> Pairing:
    """The pairs of runs of the cells that `a` and `b` share. A match stands for the cells that are
    equal in the fields `by`, by default for one cell. Raises UsageError for an unknown field, and
    where no cell is shared."""
    sides = (a, b)
    cells = {record.id: cell_of(record) for side in sides for record in side}
    names = tuple(dict.fromkeys(name for cell in cells.values() for name in cell))
    _check(by, names)
    values = {n: _values(sides, {id_: cell.get(n) for id_, cell in cells.items()}) for n in names}
    differs = {
        name: (ours[0], theirs[0])
        for name, (ours, theirs) in values.items()
        if name not in (*by, "workload") and len(ours) == len(theirs) == 1 and ours != theirs
    }
    key = tuple(name for name in names if name not in differs)
    keys = {id_: tuple(cell.get(name) for name in key) for id_, cell in cells.items()}
    matches = [m for group in _groups(a, b) for m in _matches(*group, keys, key, by)]
    if not matches:
        raise UsageError(_nothing_in_common({name: values[name] for name in key}))
    varied = {n for n in key if len({*values[n][0], *values[n][1]}) > 1}
    varied |= {n for n in NAMED_AXES if n in key and values[n][0] != (None,)}
    apart = tuple(name for name in key if name in varied)
    paired = {keys[r.id] for match in matches for ours, theirs in match.pairs for r in ours}
    return Pairing(
        differs=differs,
        conditions=_conditions(sides),
        matches=tuple(_shown(match, by or apart) for match in sorted(matches, key=_order)),
        alone=_alone(sides, keys, key, apart, paired),
    )


def _plain(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _values(
    sides: Sequence[Records], of: Mapping[str, Value]
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The different values on each side; `of` maps the id of a run to its value."""
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
    """The conditions that are not the same for all runs, with the values of each side. Most are
    not known of runs that another tool measured: such a lack is not named as a difference."""
    by_run = {record.id: conditions_of(record) for side in sides for record in side}
    names = dict.fromkeys(name for fields in by_run.values() for name in fields)
    values = {n: _values(sides, {id_: f.get(n) for id_, f in by_run.items()}) for n in names}
    unknown = ((None,),) if "tool" in values else ()
    return {
        name: both
        for name, both in values.items()
        if len({*both[0], *both[1]}) > 1 and (name == "tool" or not {*both} & {*unknown})
    }


def _groups(a: Records, b: Records) -> Iterator[tuple[Pair, tuple[Fields, Fields]]]:
    """Runs of `a` and `b` to be paired, with the conditions that set them apart: runs under equal
    conditions where both sides have those, and all others with all others."""
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
    """The fields of `one` that set it apart from the other conditions `among` which it is."""
    own, others = dict(one), [dict(other) for other in among]
    names = dict.fromkeys(name for fields in (own, *others) for name in fields)
    return {n: own.get(n) for n in names if any(other.get(n) != own.get(n) for other in others)}


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
    for row, shared in rows.items():
        cell = dict(zip(by or names, row, strict=True))
        pairs = tuple((tuple(ours[key]), tuple(theirs[key])) for key in shared)
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
    differences = "; ".join(
        f"{name} is {' or '.join(map(str, a))} in A and {' or '.join(map(str, b))} in B"
        for name, (a, b) in apart.items()
    )
    why = f" ({differences})" if differences else ""
    return (
        f"A and B have no cell in common{why}: compare sides that share batch and lengths, or "
        "name the runs by their ids"
    )
