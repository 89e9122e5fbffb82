"""A figure that several parts of a log tell is the same in all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.metrics.table import metrics
from journal.records.engine import EngineFacts
from journal.records.money import Money
from journal.records.run import Record
from journal.records.samples import GpuReading
from journal.report.document import Block, Section, Text
from journal.report.phrases import words
from journal.report.places import places
from journal.report.run_json import run_json
from journal.report.sections import cells_table, cost, lengths, lessons, memory_parts, setting
from journal.theory.split import split

Build = Callable[..., Record]
GIB = 2**30


def gathered(records: Iterable[Record]) -> Points:
    records = list(records)
    return points(zip(records, setups_of(records), strict=True))


def texts(blocks: Iterable[Block]) -> Iterator[Text]:
    for block in blocks:
        if block.kind == "paragraph":
            yield from block.sentences
        elif block.kind == "table":
            yield from (box.text for row in block.rows for box in row)


def prose(section: Section | None) -> str:
    assert section is not None
    return " | ".join(words("en").say(text, str) for text in texts(section.blocks))


def test_the_price_is_one_in_the_sentence_and_in_the_table(record: Build) -> None:
    """At 1 USD an hour a repeat of 10 tok/s costs 27.78 USD a million, one of 30 tok/s 9.26: 18.52
    on average, as in the table, and not the 13.89 of the mean rate."""
    runs = [
        record(
            repeat=repeat,
            number=repeat,
            metrics={
                "output_tokens_per_s": rate,
                "usd_per_million_output_tokens": 1e6 / 3600 / rate,
            },
        )
        for repeat, rate in enumerate((10.0, 30.0))
    ]
    points = gathered(runs)
    named = places(points)
    section = cost.cost_section(points, Money(amount=1.0, currency="USD"), named)
    assert "a million output tokens cost 18.52 USD" in prose(section)
    assert "| 18.5 |" in prose(cells_table.cells_section(points, named))


@pytest.fixture
def attached(record: Build, run: Callable[..., Any]) -> list[Record]:
    """Two prompt lengths at a server of someone else's on two GPUs, with 10 GiB of KV cache on
    each by its /metrics, of which it used 5%."""
    facts = EngineFacts(version="1", kv_pool_bytes=10 * GIB, kv_pool_tokens=163_840, cards=2)
    seen = tuple(
        GpuReading(at_s=at_s, device=device, used_bytes=15 * GIB)
        for at_s in (0.5, 1.0, 2.0)
        for device in (0, 1)
    )
    records = []
    for number, prompt in enumerate((64, 512)):
        samples = run(batch=4, requests=40, prompt_tokens=prompt).samples()
        server = tuple(replace(each, kv_cache_fraction=0.05) for each in samples.readings.server)
        readings = replace(samples.readings, gpu=seen, server=server)
        figures = metrics(replace(samples, facts=facts, readings=readings))
        changes = {"number": number, "engine": None, "facts": facts, "metrics": figures}
        records.append(record("m", 4, prompt, **changes))
    return records


def test_an_attached_server_on_two_gpus_has_one_pool(attached: list[Record]) -> None:
    """20 GiB on both together, in every sentence, table and key that does not say "each"."""
    points = gathered(attached)
    named = places(points)
    assert attached[0].value("kv_pool_bytes") == run_json(attached[0])["kv_pool_bytes"] == 20 * GIB
    for section in (
        lengths.lengths_section(points, named, "x"),
        lessons.lessons_section(points, named),
        setting.setting_section(points, named),
    ):
        assert "20 GiB" in prose(section)
        assert "10 GiB" not in prose(section)
    assert "| 1 | " in prose(cells_table.cells_section(points, named))  # GiB of KV in use: 5% of 20


def test_the_memory_of_an_attached_server_is_split_for_each_gpu(attached: list[Record]) -> None:
    parts = split(attached)
    assert parts is not None
    assert (parts.gpu_count, parts.total.bytes) == (2, 15 * GIB)
    assert {part.name: part.bytes for part in parts.parts}["kv_pool"] == 10 * GIB
    points = gathered(attached)
    text = prose(memory_parts.memory_section(points, places(points), "x"))
    assert "Each of the engine's 2" in text
    assert "66.7% of that is the KV-cache pool (10 GiB)" in text
