"""Pairs of runs of two sides: equal cells, conditions, and cells of one side alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.pairing import pair
from journal.errors import UsageError
from journal.records.experiment import Engine
from journal.records.run import Record

Build = Callable[..., Record]


def test_load_and_lengths_are_named_where_all_are_alike_too(record: Build) -> None:
    pairing = pair((record(number=1, batch=4),), (record(number=2, batch=4, model="n"),))
    (match,) = pairing.matches
    assert dict(match.cell) == {"batch": 4, "prompt_tokens": 64}
    assert dict(pairing.differs) == {"model": ("m", "n")}
    assert pairing.conditions == {}
    assert pairing.alone == ((), ())


def test_a_row_is_ordered_by_its_numbers(record: Build) -> None:
    batches = (10, 9, 100, 1)
    a = tuple(record(number=n, batch=batch) for n, batch in enumerate(batches))
    b = tuple(record(number=10 + n, batch=batch, model="n") for n, batch in enumerate(batches))
    assert [match.cell["batch"] for match in pair(a, b).matches] == [1, 9, 10, 100]


def test_cells_of_one_side_alone_are_named_by_what_varies(record: Build) -> None:
    a = (record(number=1, batch=1), record(number=2, batch=2), record(number=3, batch=2))
    b = (record(number=4, batch=2, model="n"), record(number=5, batch=8, model="n"))
    pairing = pair(a, b)
    assert [dict(cell) for cell in pairing.alone[0]] == [{"batch": 1, "prompt_tokens": 64}]
    assert [dict(cell) for cell in pairing.alone[1]] == [{"batch": 8, "prompt_tokens": 64}]
    (match,) = pairing.matches
    ((ours, theirs),) = match.pairs
    assert [one.id for one in ours] == [a[1].id, a[2].id]
    assert [one.id for one in theirs] == [b[0].id]


def test_cells_of_one_side_alone_differ_in_their_names_where_rows_stand_for_several(
    record: Build,
) -> None:
    a = [record(number=n, prompt_tokens=tokens) for n, tokens in enumerate((64, 128, 256))]
    pairing = pair(tuple(a), (record(number=9, prompt_tokens=64, model="n"),), ("batch",))
    assert [dict(match.cell) for match in pairing.matches] == [{"batch": 1}]
    assert [dict(cell) for cell in pairing.alone[0]] == [
        {"batch": 1, "prompt_tokens": 128},
        {"batch": 1, "prompt_tokens": 256},
    ]


def test_flags_of_the_engine_are_part_of_a_cell(record: Build) -> None:
    eager = Engine(model="m", max_model_len=4096, flags=("--enforce-eager",))
    plain = Engine(model="m", max_model_len=4096)
    pairing = pair((record(number=1, engine=plain),), (record(number=2, engine=eager),))
    assert dict(pairing.differs) == {"flags": (None, "--enforce-eager")}


def test_conditions_that_differ_within_a_side_are_named_with_their_rows(record: Build) -> None:
    old, new, newest = ({"gpu_driver": name} for name in ("550", "580", "600"))
    a = (record(number=1, environment=old), record(number=2, environment=new))
    b = (record(number=3, environment=new), record(number=4, environment=newest))
    pairing = pair(a, b)
    assert dict(pairing.conditions) == {"gpu_driver": (("550", "580"), ("580", "600"))}
    conditions = [tuple(map(dict, match.conditions)) for match in pairing.matches]
    assert conditions == [
        (new, new),
        (old, newest),
    ]  # equal ones together, the others with each other


def test_what_is_not_measured_is_no_condition(record: Build) -> None:
    a = record(number=1, environment={"git_commit": "1", "user": "ada", "os": "x"})
    b = record(number=2, environment={"git_commit": "2", "user": "bob", "os": "x"})
    assert pair((a,), (b,)).conditions == {}


def test_by_gathers_the_cells_of_equal_fields(record: Build) -> None:
    a = tuple(record(number=n, batch=b, prompt_tokens=p) for n, (b, p) in enumerate(CELLS))
    b = tuple(
        record(number=9 + n, batch=b, prompt_tokens=p, model="n") for n, (b, p) in enumerate(CELLS)
    )
    pairing = pair(a, b, ("prompt_tokens",))
    assert [(dict(m.cell), len(m.pairs)) for m in pairing.matches] == [
        ({"prompt_tokens": 16}, 2),
        ({"prompt_tokens": 64}, 1),
    ]
    with pytest.raises(UsageError, match="no field 'bach': did you mean 'batch'"):
        pair(a, b, ("bach",))
    with pytest.raises(UsageError, match=r"no field 'zzz': they have model, quantisation, batch"):
        pair(a, b, ("zzz",))


CELLS = ((1, 16), (2, 16), (1, 64))


def test_nothing_in_common_names_the_fields_without_a_common_value(record: Build) -> None:
    a = tuple(record(number=n, batch=n + 1, prompt_tokens=16 * (n + 1)) for n in (0, 1))
    b = tuple(replace(record(number=9 + n, batch=n + 4, prompt_tokens=16)) for n in (0, 1))
    with pytest.raises(UsageError, match=r"\(batch is 1 or 2 in A and 4 or 5 in B\)"):
        pair(a, b)
    crossed = tuple(record(number=9 + n, batch=2 - n, prompt_tokens=16 * (n + 1)) for n in (0, 1))
    with pytest.raises(UsageError, match=r"no cell in common: compare sides"):
        pair(a, crossed)
