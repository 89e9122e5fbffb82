"""Sameness: each field of each record has its row, and every room asks the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from builders import a_record

from journal.compare.pairing import cell_of, conditions_of
from journal.compare.points import points
from journal.compare.setups import Setup, setups_of
from journal.doubts.surroundings import changes
from journal.exchange.import_results import Foreign, _environment
from journal.plan.cells import cells, identified, without_repeat
from journal.records.cell import Cell
from journal.records.claim import Claim
from journal.records.engine import EngineFacts, GpuRates
from journal.records.experiment import ChangeTrial, Engine, Experiment, Grid, Load, Slo, Variant
from journal.records.money import Money
from journal.records.run import Record
from journal.records.sameness import (
    BY_CELLS,
    FIELDS,
    SURROUNDINGS,
    Field,
    Question,
    surrounding,
    surroundings,
)
from journal.records.workload import Part, Workload
from journal.run.as_sent import SENT_HASH
from journal.run.resume import earlier_try
from journal.store.history import place
from journal.store.plain import from_json, to_json
from journal.store.store import Store

PARTS = {"experiment": Experiment, "cell": Cell, "engine": Engine, "load": Load, "slo": Slo}
PARTS["workload"] = Workload
# by rows of their own
NESTED = {("cell", "engine"), ("cell", "load"), ("cell", "slo"), ("cell", "workload")}
CELL = a_record(
    batch=8,
    engine=Engine(model="m"),
    load=Load(requests=24),
    slo=Slo(ttft_ms=100.0, tpot_ms=10.0, e2e_ms=1000.0),
).cell
# Another value of every field of a cell.
OTHERS: Mapping[tuple[str, str], Any] = {
    ("cell", "experiment"): "second",
    ("cell", "model"): "n",
    ("cell", "quantisation"): "awq",
    ("cell", "batch"): 16,
    ("cell", "rate"): 2.0,
    ("cell", "prompt_tokens"): 65,
    ("cell", "output_tokens"): 33,
    ("cell", "repeat"): 1,
    ("cell", "seed"): 1,
    ("cell", "identity"): "0123456789abcdef",
    ("engine", "model"): "n",
    ("engine", "revision"): "main",
    ("engine", "quantisation"): "awq",
    ("engine", "dtype"): "float16",
    ("engine", "tensor_parallel"): 2,
    ("engine", "pipeline_parallel"): 2,
    ("engine", "executor"): "ray",
    ("engine", "max_model_len"): 4096,
    ("engine", "gpu_memory_utilization"): 0.5,
    ("engine", "kv_cache_memory_bytes"): 2**30,
    ("engine", "prefix_caching"): True,
    ("engine", "trust_remote_code"): True,
    ("engine", "flags"): ("--enforce-eager",),
    ("engine", "env"): {"A": "1"},
    ("engine", "python"): "python3",
    ("engine", "start_timeout_s"): 5.0,
    ("load", "requests"): 25,
    ("load", "warmup"): 3,
    ("load", "repeats"): 2,
    ("load", "seed"): 7,
    ("load", "burstiness"): 0.0,
    ("load", "timeout_s"): 5.0,
    ("load", "processes"): 2,
    ("load", "max_error_rate"): 0.1,
    ("load", "interleave"): True,
    ("load", "convoy"): True,
    ("load", "length_spread"): 0.3,
    ("load", "body"): {"top_p": 0.5},
    ("load", "max_in_flight"): 32,
    ("load", "variants"): (Variant(name="JSON"),),
    ("load", "variant"): "JSON",
    ("load", "duration_s"): 60.0,
    ("load", "ramp"): "1..3 in 60s",
    ("load", "abandon_after_s"): 5.0,
    ("slo", "ttft_ms"): 101.0,
    ("slo", "tpot_ms"): 11.0,
    ("slo", "e2e_ms"): 1001.0,
    ("slo", "good_fraction"): 0.9,
    ("workload", "prompts"): "other.jsonl",
    ("workload", "content"): "00",
    ("workload", "api"): "chat",
    ("workload", "natural_end"): True,
    ("workload", "shuffle"): True,
    ("workload", "cycle"): True,
    ("workload", "all_lines"): False,
    ("workload", "line_lengths"): False,
    ("workload", "speed"): 2.0,
    ("workload", "from_s"): 10.0,
    ("workload", "until_s"): 60.0,
    ("workload", "trace"): "trace.csv",
    ("workload", "shared_prefix"): 32,
    ("workload", "prefixes"): 2,
    ("workload", "mix"): (Part(prompt_tokens=8, output_tokens="2..4"),),
    ("workload", "turns"): 3,
    ("workload", "think_s"): 1.0,
}
SETUP = Setup("m", None, ())
# The part of one run that each room compares.
ROOMS: Mapping[Question, Callable[[Record], object]] = {
    "identity": lambda record: identified(record.cell).identity,
    "repeats": lambda record: without_repeat(record.cell),
    "setup": lambda record: setups_of([record]),
    "pairing": cell_of,
    "place": lambda record: place(record.cell),
}


def key(row: Field) -> tuple[str, str]:
    return row.part, row.name


def test_every_field_of_every_record_has_one_row() -> None:
    rows = [key(row) for row in FIELDS]
    known = [(part, field.name) for part, kind in PARTS.items() for field in fields(kind)]
    assert sorted(rows) == sorted(known)
    assert all(row.reason for row in (*FIELDS, *SURROUNDINGS))
    of_cells = {row for row in rows if row[0] != "experiment"}
    assert {*OTHERS, *NESTED} == of_cells


@pytest.mark.parametrize(
    "row", [row for row in FIELDS if key(row) in OTHERS], ids=lambda row: f"{row.part}.{row.name}"
)
def test_every_room_counts_a_field_as_its_row_says(row: Field) -> None:
    cell = CELL
    if row.name in ("rate", "burstiness"):
        cell = replace(cell, batch=None, rate=1.0)
    if row.name == "duration_s":  # with it, the number of requests no longer counts
        cell = replace(cell, load=replace(cell.load, duration_s=30.0))
    if row.part == "workload":
        kind = "trace" if row.name == "trace" else "prompts"
        own = Workload(**{kind: "mine.jsonl", "content": "ff"})  # type: ignore[arg-type]
        cell = replace(cell, workload=own)
    value = OTHERS[key(row)]
    if row.part == "cell":
        other = replace(cell, **{row.name: value})
    else:
        own = getattr(cell, row.part)
        assert getattr(own, row.name) != value
        other = replace(cell, **{row.part: replace(own, **{row.name: value})})
    one, two = (replace(a_record(), cell=one_of) for one_of in (cell, other))
    apart = {question for question, room in ROOMS.items() if room(one) != room(two)}
    if len(points([(one, SETUP), (two, SETUP)])) > 1:
        apart.add("point")
    assert apart == set(row.counts_for)


def test_a_closed_loop_has_no_burstiness_to_differ_in() -> None:
    one, two = (
        replace(a_record(), cell=replace(CELL, load=Load(burstiness=shape))) for shape in (0.5, 1.0)
    )
    assert cell_of(one) == cell_of(two)
    assert len(points([(one, SETUP), (two, SETUP)])) == 1


def test_a_field_that_came_later_leaves_earlier_identities_as_they_were() -> None:
    later = {row.name: row.left_out_at for row in FIELDS if row.name in ENGINE_LATER}
    assert later == {"pipeline_parallel": 1, "executor": None}
    (cell,) = cells(Experiment(name="x", engines=(Engine(model="m"),)))
    assert cell.identity == "aa034aa7bff8963f"
    assert without_repeat(cell) != cell.identity


def test_a_cell_of_an_older_journal_was_a_convoy() -> None:
    """Its streams began together, and nothing said so: it stays what it was, and a cell whose
    streams are spread is another."""
    grid = Grid(batch=(8,))
    spread, convoy = (
        cells(Experiment(name="x", grid=grid, load=Load(convoy=convoy)), model="m")[0]
        for convoy in (False, True)
    )
    text = to_json(convoy).replace('"convoy":true,', "").replace(',"length_spread":0.0', "")
    assert "convoy" not in text and "length_spread" not in text
    stored = from_json(Cell, text)
    assert stored == convoy
    assert identified(stored).identity == "d690a1bdc773a889"
    assert spread.identity != convoy.identity
    assert from_json(Cell, to_json(spread)) == spread


@pytest.mark.parametrize("grid", [Grid(batch=(1,)), Grid(rate=(2.0,))], ids=["alone", "open"])
def test_a_single_stream_and_an_open_loop_have_nothing_to_begin_together(grid: Grid) -> None:
    spread, convoy = (
        cells(Experiment(name="x", grid=grid, load=Load(convoy=convoy)), model="m")[0]
        for convoy in (False, True)
    )
    assert (spread.convoy, spread.spread_streams) == (None, 0) == (convoy.convoy, 0)
    assert spread.identity == convoy.identity
    one, two = (replace(a_record(), cell=cell) for cell in (spread, convoy))
    assert len(points([(one, SETUP), (two, SETUP)])) == 1


ENGINE_LATER = ("pipeline_parallel", "executor")
EXPERIMENT = Experiment(
    name="x",
    engines=(Engine(model="m"),),
    grid=Grid(batch=(1, 2)),
    slo=Slo(ttft_ms=100.0),
)
# Another value of every field of an experiment.
ASKED_OTHERWISE: Mapping[str, Any] = {
    "name": "y",
    "question": "why?",
    "hypothesis": "because",
    "engines": (Engine(model="n"),),
    "grid": Grid(batch=(1, 4)),
    "load": Load(requests=25),
    "slo": Slo(ttft_ms=200.0),
    "predict": {"ttft_s_p50": 0.1},
    "claims": (Claim(metric="ttft_s", behaves="at_most", value=0.1),),
    "usd_per_hour": 2.0,
    "price_per_hour": Money(amount=12.5, currency="CNY"),
    "card_rates": GpuRates(bandwidth_gb_per_s=864.0, fp16_tflops=362.0),
    "source": "# a comment",
    "command": ("run", "x.toml"),
    "find_capacity": "concurrency",
    "needed_vram": True,
    "quality_check": True,
    "workload": Workload(natural_end=True),
    "trial": ChangeTrial(setting="engine.max_num_seqs=8", metric="output_tokens_per_s"),
}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_experiment_is_resumed_by_what_its_rows_say(store: Store) -> None:
    rows = {row.name: row for row in FIELDS if row.part == "experiment"}
    assert rows.keys() == ASKED_OTHERWISE.keys()
    begun = store.begin_experiment(EXPERIMENT, a_record().started_at, {})
    assert earlier_try(store, EXPERIMENT, None) == begun
    for name, value in ASKED_OTHERWISE.items():
        before = earlier_try(store, replace(EXPERIMENT, **{name: value}), None)
        another = "resume" in rows[name].counts_for or rows[name].reason == BY_CELLS
        assert before == (None if another else begun), name


# ---- surroundings ----------------------------------------------------------------------------

ENVIRONMENT = """
import json
from journal.measure.environment import environment
print(json.dumps(environment()))
"""
NO_GPU = "0 - nvmlSystemGetDriverVersion 999"
DOCTOR = ("doctor_at", "doctor_memory", "doctor_vLLM")


@dataclass(frozen=True)
class Tool:
    tool: str = "another"
    version: str = "1.0"


@pytest.fixture
def known(scripted: Callable[..., Any]) -> dict[str, Any]:
    """An environment with every name that is ever written into one."""
    foreign: Foreign = Tool()  # type: ignore[assignment]
    doctor = dict.fromkeys(DOCTOR, "ok")
    here = {**scripted(ENVIRONMENT, NO_GPU), **scripted(ENVIRONMENT), **doctor, SENT_HASH: "00"}
    return here | _environment(foreign)


def test_every_name_in_an_environment_has_a_row(known: dict[str, Any]) -> None:
    assert not [name for name in known if surrounding(name) is None]
    used = {surrounding(name) for name in (*known, "engine_version")}
    assert used == set(SURROUNDINGS), "every row is used"


def test_a_change_around_a_run_counts_everywhere_or_nowhere(known: dict[str, Any]) -> None:
    one = a_record(environment=known)
    for name in known:
        two = a_record(environment={**known, name: "something else"})
        row = surrounding(name)
        assert row is not None
        apart = (
            setups_of([one]) != setups_of([two]),
            conditions_of(one) != conditions_of(two),
            bool(changes(two.environment, one.environment)),
        )
        assert apart == (row.counts,) * 3, name


@pytest.mark.parametrize(
    "name", ["version_mlflow", "version_mlflow_skinny", "version_openai", "version_nvidia_ml_py"]
)
def test_an_upgrade_of_what_measures_nothing_is_no_change(name: str) -> None:
    before, now = ({"host": "a", name: version} for version in ("1.0", "2.0"))
    one, two = a_record(environment=before), a_record(environment=now)
    assert setups_of([one]) == setups_of([two])
    assert conditions_of(one) == conditions_of(two)
    assert changes(now, before) == ()


def test_another_version_of_the_server_counts_everywhere() -> None:
    one, two = (a_record(facts=EngineFacts(version=version)) for version in ("0.31", "0.32"))
    assert setups_of([one]) != setups_of([two])
    assert conditions_of(one) != conditions_of(two)
    differences = changes(surroundings(two), surroundings(one))
    assert differences == ({"name": "engine_version", "before": "0.31", "now": "0.32"},)


def test_a_name_that_only_another_version_of_this_journal_knows_counts() -> None:
    one, two = a_record(environment={"host": "a"}), a_record(environment={"host": "a", "new": 1})
    assert setups_of([one]) != setups_of([two])
    assert conditions_of(one) != conditions_of(two)
    assert changes(two.environment, one.environment) == ({"name": "new", "before": None, "now": 1},)


def test_what_is_not_known_and_what_is_left_out_are_the_same() -> None:
    one = a_record(environment={"host": "a", "version_torch": None})
    two = a_record(environment={"host": "a"})
    assert setups_of([one]) == setups_of([two])
    assert conditions_of(one) == conditions_of(two)
    assert changes(one.environment, two.environment) == ()
