"""The table of cells: columns for what sets cells apart."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.cli.run_tables import print_record
from journal.compare.points import Points, lines, points
from journal.compare.setups import setups_of
from journal.records.doubt import Doubt
from journal.records.experiment import Load
from journal.records.run import Record
from journal.report.document import Bullets, Table
from journal.report.phrases import words
from journal.report.places import places
from journal.report.run_json import run_json
from journal.report.sections.cells_table import cells_section
from journal.tracking.entries import params

Build = Callable[..., Record]


def gathered(*records: Record) -> Points:
    return points(zip(records, setups_of(records), strict=True))


def table(points: Points, lang: str = "en") -> list[list[str]]:
    """The heads of the columns and then the boxes, row by row."""
    (made,) = (
        block for block in cells_section(points, places(points)).blocks if isinstance(block, Table)
    )
    say = words(lang).say
    rows = [[say(box.text, str) for box in row] for row in made.rows]
    return [[say(column.title, str) for column in made.columns], *rows]


def test_the_sent_rate_stands_beside_the_offered_one(record: Build) -> None:
    open_loop = record(
        batch=None, rate=40.0, metrics={"achieved_rate_per_s": 39.2, "ttft_s.p50": 1}
    )
    heads, row = table(gathered(open_loop))
    assert heads[:3] == ["offered req/s", "prompt", "sent, req/s"]
    assert row[0] == "40" and row[2] == "39.2"
    assert "sent, req/s" not in table(gathered(record(metrics={"ttft_s.p50": 1})))[0]


def test_convoys_and_spread_streams_are_told_apart(record: Build) -> None:
    both = gathered(
        record(batch=8, number=0, load=Load(), metrics={"ttft_s.p50": 0.05}),
        record(batch=8, number=1, load=Load(convoy=True), metrics={"ttft_s.p50": 0.6}),
    )
    heads, *rows = table(both)
    column = heads.index("streams began")
    assert sorted(row[column] for row in rows) == ["one after another", "together"]
    assert "请求流的开始方式" in table(both, "zh")[0]
    assert "streams began" not in table(both[:1])[0]


def test_the_spread_of_lengths_is_shown_where_there_is_one(record: Build) -> None:
    spread = record(load=Load(length_spread=0.3), metrics={"ttft_s.p50": 0.05})
    heads, row = table(gathered(spread))
    assert row[heads.index("length spread")] == "30%"


def test_no_line_goes_from_convoys_to_spread_streams(record: Build) -> None:
    runs = [
        record(batch=batch, number=batch, load=Load(convoy=batch > 4), metrics={"ttft_s.p50": 1})
        for batch in (1, 4, 8, 16)
    ]
    batches = [[point.batch for point in line] for line in lines(gathered(*runs), "batch")]
    assert batches == [[1, 4], [8, 16]]


def test_a_run_says_how_it_was_loaded(record: Build, capsys: pytest.CaptureFixture[str]) -> None:
    run = record(batch=8, load=Load(convoy=True, length_spread=0.3))
    assert (run_json(run)["convoy"], run_json(run)["length_spread"]) == (True, 0.3)
    assert (params(run.cell)["convoy"], params(run.cell)["length_spread"]) == ("True", "0.3")
    print_record(run)
    assert "batch 8, convoy  64 + 32 tokens (spread by 30%)" in capsys.readouterr().out
    alone = replace(run, cell=replace(run.cell, batch=1))
    assert run_json(alone)["convoy"] is None
    assert params(alone.cell)["convoy"] == "none"


def test_doubts_of_one_rule_that_say_other_things_have_notes_of_their_own(record: Build) -> None:
    waves = {"requests": 12, "unit": 2, "units": 6, "needed_units": 8, "enough_requests": 16}
    between = [{"variant": "between", "family": "tpot_s"}]
    doubts = [
        Doubt("interval_refused", {"variant": "some", "refused": between}, "note"),
        Doubt("interval_refused", {"variant": "waves", **waves}, "note"),
        Doubt("interval_refused", {"variant": "waves", **waves, "unit": 4, "units": 3}, "note"),
    ]
    cells = gathered(
        *(
            record(batch=2**at, number=at, doubts=(doubt,), metrics={"ttft_s.p50": 1})
            for at, doubt in enumerate(doubts)
        )
    )
    *_, notes = cells_section(cells, places(cells)).blocks
    assert isinstance(notes, Bullets)
    some, of_waves = (words("en").say(text, str) for text in notes.items)
    assert some.startswith("interval_refused: Some figures have no interval") and some.endswith(
        "(batch 1 · 64 prompt tokens)"
    )
    assert of_waves.endswith(
        "(batch 2 · 64 prompt tokens; the same with other numbers: batch 4 · 64 prompt tokens)"
    )
