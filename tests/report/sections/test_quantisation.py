"""What is said of the quality of quantised builds."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.agreement import agreement
from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.plan.experiment_file import parse
from journal.records.engine import EngineFacts, Quality
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.run import Record
from journal.report.document import Section
from journal.report.phrases import words
from journal.report.places import places
from journal.report.sections.quantisation import ABSENCES, quantisation_section

Build = Callable[..., Record]
FAITHFUL = ("one two three four", "five six seven eight")


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        (FAITHFUL, FAITHFUL, 1.0),
        (("one two three four",), ("one two 3 four",), 0.5),
        (("one two",), ("one two three four",), 0.5),
        (("x",), ("y",), 0.0),
        (("",), ("",), 1.0),
        ((), (), None),
    ],
)
def test_agreement_counts_words_until_the_first_difference(
    a: tuple[str, ...], b: tuple[str, ...], share: float | None
) -> None:
    assert agreement(a, b) == share == agreement(b, a)


def gathered(*records: Record) -> Points:
    return points(zip(records, setups_of(records), strict=True))


def build(
    record: Build, number: int, quality: Quality | None, gib: float = 14, **changes: object
) -> Record:
    made = record("org/m", number=number, metrics={"weights_bytes": gib * 2**30}, **changes)
    return replace(made, facts=replace(made.facts, quality=quality))


def prose(section: Section | None) -> str:
    assert section is not None
    english = words("en")
    parts = []
    for block in section.blocks:
        if block.kind == "paragraph":
            parts.append(english.paragraph((block.about, *block.sentences), str))
        elif block.kind == "bullets":
            parts += [english.say(item, str) for item in block.items]
        elif block.kind == "table":
            parts += [" | ".join(english.say(box.text, str) for box in row) for row in block.rows]
    return "\n".join(parts)


def test_a_quantised_build_is_set_beside_the_whole_one(record: Build) -> None:
    whole = Quality(tokens=560, perplexity=12.0, bits_per_byte=0.8, outputs=FAITHFUL)
    coarse = replace(whole, perplexity=12.6, outputs=("one two 3 four", FAITHFUL[1]))
    awq = {"quantisation": "awq", "engine": Engine(model="org/m", quantisation="awq")}
    points = gathered(build(record, 0, whole), build(record, 1, coarse, 4, **awq))
    text = prose(quantisation_section(points, places(points)))
    assert "m awq against m. Perplexity is 12.6 against 12 (1.050 times)" in text
    assert "it says 75% of the words alike" in text
    assert "m | 14 GiB | 12 | 0.8 | –" in text
    assert "m awq | 4 GiB | 12.6 | 0.8 | 75%" in text


def test_a_build_agrees_with_nothing_without_an_unquantised_one(record: Build) -> None:
    points = gathered(build(record, 0, Quality(perplexity=9.0), quantisation="gptq"))
    text = prose(quantisation_section(points, places(points)))
    assert "against" not in text
    assert "m gptq | 14 GiB | 9 | – | –" in text
    facts = EngineFacts(version="0.32.0", quantisation="fp8", quality=Quality(perplexity=9.0))
    itself = replace(build(record, 1, None), facts=facts)
    other = build(record, 2, Quality(perplexity=8.0), quantisation="gptq")
    points = gathered(itself, other)
    assert "against" not in prose(quantisation_section(points, places(points))), (
        "its checkpoint is quantised"
    )


def test_a_check_that_failed_gives_its_reason_and_no_check_says_nothing(record: Build) -> None:
    points = gathered(build(record, 0, Quality(absent=("no perplexity: it cannot",))))
    assert "No perplexity: it cannot" in prose(quantisation_section(points, places(points)))
    points = gathered(build(record, 0, None))
    assert quantisation_section(points, places(points)) is None


def test_the_reason_for_a_part_that_lacks_is_said_in_chinese_too(record: Build) -> None:
    for reason in ABSENCES:
        points = gathered(build(record, 0, Quality(absent=(reason,))))
        section = quantisation_section(points, places(points))
        assert section is not None
        (bullets,) = (block for block in section.blocks if block.kind == "bullets")
        text = words("zh").say(bullets.items[0], str)
        assert re.search("[\u4e00-\u9fff]{4}", text) and not re.search("[a-z]{3}", text)


def test_an_experiment_asks_for_the_check() -> None:
    engine = '[engine]\nmodel = "m"'
    assert parse(f"quality_check = true\n{engine}", default_name="x", where="x").quality_check
    assert not parse(engine, default_name="x", where="x").quality_check


def test_the_figures_are_metrics_of_the_run(record: Build) -> None:
    from journal.metrics.table import metrics
    from journal.records.request import ClientHealth
    from journal.records.samples import Readings, Samples

    facts = EngineFacts(quality=Quality(tokens=9, perplexity=12.5, bits_per_byte=0.75))
    cell = record().cell
    nothing = {"traces": (), "readings": Readings(), "client": ClientHealth()}
    figures = metrics(Samples(cell=cell, facts=facts, **nothing))  # type: ignore[arg-type]
    assert (figures["perplexity"], figures["bits_per_byte"]) == (Figure(12.5), Figure(0.75))
    figures = metrics(Samples(cell=cell, facts=EngineFacts(), **nothing))  # type: ignore[arg-type]
    assert figures["perplexity"] == Figure(None)
