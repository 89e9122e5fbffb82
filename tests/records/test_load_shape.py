"""Load shapes: their labels and order, and nowhere else a batch or a rate compared with None."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from builders import a_cell

from journal.plan.cells import identified
from journal.records.cell import Cell
from journal.records.experiment import Grid, Load
from journal.records.load_shape import (
    AXES,
    AXIS_NAMES,
    LENGTH_AXES,
    LOAD_AXES,
    NAMED_AXES,
    STEP_AXES,
    Closed,
    LoadShape,
    Open,
    Unknown,
    load_shape,
)

PACKAGE = Path(__file__).parents[2] / "journal"
CLOSED = a_cell(
    experiment="e",
    engine=None,
    batch=8,
    prompt_tokens=128,
    output_tokens=64,
    load=Load(burstiness=2.0),
)


@pytest.mark.parametrize(
    ("shape", "written"),
    [
        (Closed(8), ("batch 8", "b8", "8", "batch", 8.0, False)),
        (Open(2.5), ("2.5 requests/s", "2.5 per s", "2.5/s", "rate", 2.5, True)),
        (Open(30.0, 0.0), ("30 requests/s", "30 per s", "30/s", "rate", 30.0, True)),
    ],
)
def test_a_shape_is_written_in_full_in_short_and_as_an_amount(
    shape: LoadShape, written: tuple[object, ...]
) -> None:
    own = (shape.label, shape.short, shape.amount, shape.axis, shape.value, shape.is_open)
    assert own == written


def test_shapes_are_in_the_order_of_their_load_closed_before_open() -> None:
    order = [Closed(2), Closed(16), Open(0.5), Open(8.0, 0.0), Open(8.0, 1.0)]
    mixed = [order[k] for k in (3, 1, 4, 0, 2)]
    assert sorted(mixed, key=lambda shape: shape.order) == order


def test_the_shape_of_a_cell_is_read_from_its_columns() -> None:
    assert CLOSED.shape == Closed(8)
    opened = replace(CLOSED, batch=None, rate=2.5)
    assert opened.shape == Open(2.5, 2.0)
    assert (opened.shape.batch, opened.shape.rate) == (None, 2.5)
    assert (CLOSED.shape.batch, CLOSED.shape.rate) == (8, None)


def test_a_cell_goes_under_another_load_and_back() -> None:
    opened = CLOSED.under(Open(3.0, 0.5))
    assert (opened.batch, opened.rate, opened.load.burstiness) == (None, 3.0, 0.5)
    again = replace(opened, load=CLOSED.load).under(Closed(8))
    assert identified(again) == identified(CLOSED)


def test_a_load_without_a_batch_or_a_rate_is_not_known() -> None:
    assert load_shape(None, None) == Unknown()
    assert (Unknown().batch, Unknown().rate, Unknown().label) == (
        None,
        None,
        "a load that is not known",
    )


def test_every_axis_is_a_field_of_a_cell_and_of_a_grid() -> None:
    of_workloads = {"shared_prefix"}  # a cell has it in its workload
    assert set(AXIS_NAMES) == {field.name for field in fields(Grid)} - of_workloads
    assert set(AXIS_NAMES) <= {field.name for field in fields(Cell)}
    assert {Closed.axis, Open.axis} == set(LOAD_AXES)


def test_the_lists_of_axes_are_parts_of_one() -> None:
    assert AXIS_NAMES == ("batch", "rate", "prompt_tokens", "output_tokens")
    assert LOAD_AXES == ("batch", "rate")
    assert LENGTH_AXES == ("prompt_tokens", "output_tokens")
    assert NAMED_AXES == ("batch", "rate", "prompt_tokens")
    assert STEP_AXES == ("batch", "prompt_tokens")
    assert tuple(axis.name for axis in AXES) == AXIS_NAMES


def test_only_the_shape_itself_compares_a_batch_or_a_rate_with_none() -> None:
    """Importers read batches and rates that other tools wrote."""
    asks = re.compile(r"\b(batch|rate) is (not )?None\b")
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "exchange"]
    assert {path.name for path in modules if asks.search(path.read_text())} == {"load_shape.py"}


def test_no_other_module_lists_the_axes() -> None:
    lists = re.compile(r'"batch", "(rate|prompt_tokens)"|"rate", "prompt_tokens"')
    listing = {path.name for path in PACKAGE.rglob("*.py") if lists.search(path.read_text())}
    assert listing == set()
