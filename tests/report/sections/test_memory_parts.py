"""What the log says of memory, theory, energy and money, and of a search for the least memory."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from json_schemas import check

from journal.compare.least_pool import at_pool
from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.plan.cells import cells
from journal.records.as_json import NeededJson
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.figure import Figure
from journal.records.money import Money
from journal.records.run import ExperimentRecord, Record
from journal.report.day import Day
from journal.report.document import Bar, Bars, Block, Plot, Segment, Table, Text
from journal.report.figures import draw
from journal.report.phrases import words
from journal.report.places import places
from journal.report.questions import log_page
from journal.report.sections import cost, needed
from journal.report.sections import memory_parts as memory
from journal.report.sections import theory_beside as theory
from journal.report.sections.setting import setting_section as servers
from journal.report.svg import HUES, RULE

Build = Callable[..., Record]
GIB = 2**30
CPU = {
    "weights_bytes": 257.0 * 2**20,
    "kv_pool_bytes": 2.0 * GIB,
    "rss_peak_bytes": 5.0 * GIB,
}


def gathered(records: Iterable[Record]) -> Points:
    records = list(records)
    return points(zip(records, setups_of(records), strict=True))


def spoken(text: Text) -> str:
    return words("en").say(text, str)


def prose(blocks: Iterable[Block]) -> str:
    parts = []
    for block in blocks:
        if block.kind == "paragraph":
            parts += [spoken(each) for each in block.sentences]
        elif block.kind == "bullets":
            parts += [spoken(each) for each in block.items]
    return " ".join(parts)


def table_of(blocks: Iterable[Block]) -> list[list[str]]:
    (table,) = (block for block in blocks if isinstance(block, Table))
    titles = [spoken(column.title) for column in table.columns]
    return [titles, *([spoken(box.text) for box in row] for row in table.rows)]


# ---- where the memory went -------------------------------------------------------------------


def test_the_parts_of_a_cpu_engine_with_their_sources(record: Build) -> None:
    facts = EngineFacts(log_path="a.log", checkpoint_bytes=257 * 2**20)
    points = gathered(record(batch=n, number=n, metrics=CPU, facts=facts) for n in (1, 2))
    section = memory.memory_section(points, places(points), "1-x")
    assert section is not None
    rows = table_of(section.blocks)
    assert rows[1:] == [
        ["weights", "257 MiB", "the checkpoint's safetensors headers"],
        ["KV pool", "2 GiB", "the engine's log or /metrics"],
        ["the rest", "2.75 GiB", "what was seen less the parts above"],
        ["seen resident", "5 GiB", "the kernel"],
    ]
    assert "40% of that is the KV-cache pool (2 GiB)" in prose(section.blocks)
    (plot,) = (block for block in section.blocks if isinstance(block, Plot))
    (bars,) = plot.panels
    assert isinstance(bars, Bars)
    assert sum(part.y for part in bars.bars[0].segments) == 5 * GIB


def test_parts_of_several_gpus_are_those_of_one(record: Build) -> None:
    figures = {
        "weights_bytes": 14.0 * GIB,
        "kv_pool_bytes": 60.0 * GIB,
        "vram_peak_bytes": 80.0 * GIB,
    }
    engine = Engine(model="m", tensor_parallel=2, pipeline_parallel=2, executor="ray")
    facts = EngineFacts(log_path="a.log", weights_bytes=7 * GIB // 2, cards=4)
    points = gathered([record(metrics=figures, facts=facts, engine=engine)])
    section = memory.memory_section(points, places(points), "1-x")
    assert section is not None
    assert prose(section.blocks).startswith(
        "Each of the engine's 4 GPUs holds 20 GiB on average, and 75% of that is the KV-cache "
        "pool (15 GiB)"
    )
    assert table_of(section.blocks)[1] == ["weights", "3.5 GiB", "the engine's log"]
    setting = "|".join(
        "|".join(row) for row in table_of(servers(points, places(points)).blocks[:1])
    )
    assert "|2 x 2|ray|" in setting


@pytest.mark.parametrize(
    ("growth", "titles"),
    [(1, ["m, start 1", "m, start 2", "m, start 3", "m, start 4"]), (0.001, ["m, 6 starts"])],
)
def test_each_start_that_differs_has_a_column_and_too_many_are_counted(
    record: Build, growth: float, titles: list[str]
) -> None:
    runs = [
        record(
            number=n,
            repeat=n,
            metrics={**CPU, "rss_peak_bytes": CPU["rss_peak_bytes"] * (1 + growth * n)},
            facts=EngineFacts(log_path=f"{n}.log"),
        )
        for n in range(6)
    ]
    points = gathered(runs)
    section = memory.memory_section(points, places(points), "1-x")
    assert section is not None
    assert table_of(section.blocks)[0] == ["part", *titles, "by"]
    assert ("2 more engine starts" in prose(section.blocks)) == (growth == 1)


def test_parts_above_the_total_are_said(record: Build) -> None:
    metrics = {"weights_bytes": 3.0 * GIB, "vram_peak_bytes": 2.5 * GIB}
    points = gathered([record(metrics=metrics, facts=EngineFacts(weights_bytes=3 * GIB))])
    section = memory.memory_section(points, places(points), "1-x")
    assert section is not None
    assert "The parts come to 512 MiB more than was seen" in prose(section.blocks)


def test_there_is_no_such_section_without_a_reading(record: Build) -> None:
    points = gathered([record(metrics={"weights_bytes": 1.0})])
    assert memory.memory_section(points, places(points), "1-x") is None


BARS = Bars(
    name="1-x-memory",
    title="Memory",
    unit="bytes",
    bars=(
        Bar("one", (Segment("weights", 1.0 * GIB, 0), Segment("the rest", 0.5 * GIB, None))),
        Bar("two", (Segment("weights", 2.0 * GIB, 0), Segment("KV <pool>", 1.0 * GIB, 1))),
    ),
)


def test_bars_are_drawn_to_scale_and_named() -> None:
    drawn = draw(BARS, words("en"))
    assert drawn == draw(BARS, words("en"))
    root = ElementTree.fromstring(drawn)
    svg = "{http://www.w3.org/2000/svg}"
    texts = {each.text for each in root.iter(f"{svg}text")}
    assert {"Memory, GiB", "one", "two", "weights", "KV <pool>"} <= texts
    assert "the rest" not in texts  # only the last bar's parts are named
    styles = " ".join(each.get("style") or "" for each in root.iter(f"{svg}rect"))
    assert HUES[0] in styles
    assert HUES[1] in styles
    assert RULE in styles


# ---- theory ----------------------------------------------------------------------------------


def test_theory_stands_beside_what_each_cell_gave(record: Build) -> None:
    metrics = {
        "kv_bytes_per_token": 23046.0,
        "kv_bytes_per_token_predicted": 23040.0,
        "kv_bytes_per_token_ratio": 23046 / 23040,
        "tpot_s.p50": 0.02,
        "tpot_floor_s": 0.01,
        "tpot_floor_ratio": 2.0,
    }
    sure = {"kv_bytes_per_token_slope": Figure(23050.0, 23049.0, 23051.0, 40)}
    unsure = {"kv_bytes_per_token_slope": Figure(22000.0, 20000.0, 24000.0, 5)}
    slow = {"tpot_s.p50": 0.3, "tpot_floor_ratio": 30.0}
    runs = [record(batch=1, metrics=metrics | unsure)]
    runs.append(record(batch=8, number=1, metrics=metrics | sure | slow))
    points = gathered(runs)
    section = theory.theory_section(points, places(points))
    assert section is not None
    assert prose(section.blocks).startswith("Over the readings under load, a token in flight took")
    assert "took 23,050 bytes of KV cache; the formula says 23,040" in prose(section.blocks)
    assert table_of(section.blocks)[1:] == [
        [
            "KV cache per token, by the engine's count",
            "23,040 bytes/tok",
            "23,046 bytes/tok",
            "1.000",
        ],
        ["median TPOT, over its floor", "10 ms", "20 ms–300 ms", "2.000–30"],
    ]
    assert theory.theory_section(gathered([record()]), places(points)) is None


# ---- money and energy ------------------------------------------------------------------------


def sure(value: float) -> Figure:
    return Figure(value, value * 0.98, value * 1.02, 1)


PRICE = Money(amount=3.6, currency="USD")


def test_a_best_cell_is_one_that_the_test_tells_from_the_worst(record: Build) -> None:
    runs = [
        record(batch=n, number=n, metrics={"usd_per_million_output_tokens": usd, **more})
        for n, usd, more in (
            (1, 10.0, {"output_tokens_per_s": Figure(100.0, 80.0, 120.0, 1)}),
            (2, 9.5, {"output_tokens_per_s": Figure(105.0, 85.0, 125.0, 1)}),
        )
    ]
    points = gathered(runs)
    section = cost.cost_section(points, PRICE, places(points))
    assert section is not None
    text = prose(section.blocks)
    assert "between 9.50 USD (batch 2" in text and "whether these differ is not decided" in text
    apart = [
        replace(r, metrics={**r.metrics, "output_tokens_per_s": sure(rate)})
        for r, rate in zip(runs, (100.0, 130.0), strict=True)
    ]
    section = cost.cost_section(gathered(apart), PRICE, places(gathered(apart)))
    assert section is not None
    assert "9.50 USD at best" in prose(section.blocks), "by the throughput that makes the price"


def test_energy_and_money_of_the_best_and_the_worst_cell(record: Build) -> None:
    runs = [
        record(
            batch=batch,
            number=batch,
            metrics={
                "usd_per_million_output_tokens": sure(1000 / rate),
                "energy_per_output_token_j": sure(100 / rate),
                "output_tokens_per_s_per_w": rate / 100,
            }
            | more,
        )
        for batch, rate, more in ((1, 10.0, {}), (8, 50.0, {"energy_by_counter_j": 1.0}))
    ]
    points = gathered(runs)
    section = cost.cost_section(points, PRICE, places(points))
    assert section is not None
    text = prose(section.blocks)
    assert "a million output tokens cost 20.00 USD at best (batch 8" in text
    assert "and 100.00 USD at worst (batch 1" in text
    assert "2 J of energy at best" in text
    assert "as the integral of the GPUs' power" in text  # one of them has no counter
    assert "At best that is 0.5 tok/s for each watt" in text
    counted = gathered(runs[1:])
    section = cost.cost_section(counted, None, places(counted))
    assert section is not None
    assert "by the GPUs' energy counters" in prose(section.blocks)
    assert "USD" not in prose(section.blocks)
    assert cost.cost_section(gathered([record()]), None, places(points)) is None


# ---- the least memory ------------------------------------------------------------------------

BLOCK = 128 * 23_040
FACTS = EngineFacts(version="0.32.0", block_size=128, kv_pool_bytes=2 * GIB)
SERVED = {
    "preemptions": 0.0,
    "errors": 0.0,
    "kv_bytes_per_token": 23040.0,
    "kv_pool_bytes": 2.0 * GIB,
    "kv_cache_peak_fraction": 0.01,
    "kv_cache_peak_bytes": 0.02 * GIB,
}


def searched() -> tuple[ExperimentRecord, list[Record]]:
    """Two batches by two prompt lengths. The larger batch meets preemption below what theory
    says; the engine refuses the smaller a block less, and once nothing tells the truth."""
    experiment = Experiment(
        name="needed",
        engines=(Engine(model="m"),),
        grid=Grid(batch=(1, 4), prompt_tokens=(100, 1000), output_tokens=(28,)),
        load=Load(requests=8),
        needed_vram=True,
    )
    began = datetime(2026, 11, 20, 9, tzinfo=UTC)
    records: list[Record] = []

    def add(cell: object, status: str = "valid", **metrics: float) -> None:
        figures = {name: Figure(value) for name, value in metrics.items()}
        records.append(
            Record(
                id=f"{len(records):016x}",
                experiment_id="e1",
                cell=cell,  # type: ignore[arg-type]
                status=status,  # type: ignore[arg-type]
                started_at=began.replace(minute=len(records)),
                duration_s=1.0,
                metrics=figures,
                facts=FACTS,
            )
        )

    for cell in cells(experiment):
        add(cell, **SERVED, server_running_peak=float(cell.batch or 0))
    for cell in cells(experiment):
        batch = cell.batch or 0
        blocks = batch * (1 if cell.prompt_tokens == 100 else 9) + 1
        add(at_pool(cell, blocks * BLOCK), **SERVED, server_running_peak=float(batch))
        less = at_pool(cell, (blocks - 1) * BLOCK)
        if batch == 1:
            add(less, "failed")
        else:
            add(less, **{**SERVED, "preemptions": 3.0}, server_running_peak=4.0)
    begun = ExperimentRecord(id="e1", experiment=experiment, started_at=began, status="done")
    return begun, records


def test_a_search_is_a_sentence_a_row_and_a_plot() -> None:
    begun, records = searched()
    section = needed.needed_section(begun.experiment, records, "1-needed")
    assert section is not None
    text = prose(section.blocks)
    assert (
        "m, batch 4, 100 + 28 tokens: a KV cache of 14.1 MiB (5 blocks) serves it, and one block "
        "less does not (3 preemptions). Theory says 14.1 MiB; the engine reserved 2 GiB, and 20.5 "
        "MiB of that were in use."
    ) in text
    assert "the engine refuses to start with it" in text
    rows = table_of(section.blocks)
    assert len(rows) == 5
    assert rows[2][:3] == ["4", "100", "28"]
    (plot,) = (block for block in section.blocks if isinstance(block, Plot))
    close, beside = plot.panels
    assert [spoken(curve.label) for curve in close.curves] == [
        *("batch 1", "in use", "batch 4", "in use")
    ]
    assert [level.y for level in beside.levels] == [2 * GIB]
    for lang in ("en", "zh"):
        assert "</svg>" in draw(close, words(lang))


def test_the_log_shows_the_engine_as_it_was_asked_and_the_search_apart() -> None:
    begun, records = searched()
    day = Day(
        date=begun.started_at.date(),
        zone=UTC,
        records=tuple(records),
        experiments=(begun,),
    )
    headings = [spoken(section.heading) for section in log_page(day).sections]
    assert "The least memory that serves" in headings
    every = next(s for s in log_page(day).sections if spoken(s.heading) == "All cells")
    assert len(table_of(every.blocks)) == 1 + 4


def test_a_search_that_is_not_over_says_so() -> None:
    begun, records = searched()
    asked = begun.experiment
    reserved, tries = records[:4], records[4:]
    first = [
        needed.searches_of(asked, reserved)[0],
        needed.searches_of(asked, [*reserved, tries[0]])[0],
    ]
    first.append(needed.searches_of(asked, [*reserved, tries[1]])[0])
    first.append(needed.searches_of(asked, [replace(reserved[0], facts=EngineFacts())])[0])
    text = [spoken(needed.needed_sentence(each)) for each in first]
    assert "no KV cache that was tried serves it" in text[0]
    assert "no smaller one was tried" in text[1]
    assert "no KV cache that was tried serves it" in text[2]
    assert "does not tell the blocks" in text[3]
    plain = needed.needed_json(first[1])
    check(json.loads(json.dumps(plain)), NeededJson)
    assert plain["least"]["pool_bytes"] == plain["theory_bytes"] == 2 * BLOCK
    assert plain["most_that_did_not"] is None
    assert plain["whole"]  # there is no smaller pool


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_sentence_exists_in_both_languages(lang: str) -> None:
    begun, records = searched()
    for end in range(4, len(records) + 1):
        for each in needed.searches_of(begun.experiment, records[:end]):
            assert words(lang).say(needed.needed_sentence(each), str)
