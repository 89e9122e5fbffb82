"""What further fields of a request cost, in the log."""

from builders import a_record

from journal import units
from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.records.experiment import Load
from journal.records.run import Record
from journal.report.document import Paragraph, Table
from journal.report.phrases import words
from journal.report.places import places
from journal.report.sections.cells_table import cells_section
from journal.report.sections.variants import variants_section

SCHEMA = {"response_format": {"type": "json_schema"}}


def ran(name: str | None, tpot_s: float, number: int = 1, repeat: int = 0) -> Record:
    load = Load(variant=name, body={} if name in (None, "free") else SCHEMA)
    figures = {"tpot_s.p50": tpot_s, "ttft_s.p50": 0.1, "output_tokens_per_s": 1 / tpot_s}
    return a_record(number=number, metrics=figures, load=load, repeat=repeat, seed=repeat)


def gathered(*records: Record) -> Points:
    return points(zip(records, setups_of(records), strict=True))


def test_a_variant_stands_beside_the_one_of_fewest_fields() -> None:
    times = {"JSON": (0.030, 0.0303, 0.0297), "free": (0.020, 0.0201, 0.0199)}
    records = [
        ran(name, time_s, 10 * n + repeat, repeat)
        for n, (name, each) in enumerate(times.items())
        for repeat, time_s in enumerate(each)
    ]
    shown = gathered(*records)
    assert len(shown) == 2
    section = variants_section(shown, places(shown))
    assert section is not None
    told, table = section.blocks
    assert isinstance(told, Paragraph)
    assert isinstance(table, Table)
    english = " ".join(words("en").say(one, str) for one in (told.about, *told.sentences))
    assert "JSON against free." in english
    assert "TPOT is 1.5 times as long (95% interval 1.4" in english
    assert "cannot tell" not in english
    assert len(table.rows) == 2
    cells = cells_section(shown, places(shown))
    (every,) = (block for block in cells.blocks if isinstance(block, Table))
    titles = [words("en").say(column.title, str) for column in every.columns]
    names = [row[titles.index("variant")].text for row in every.rows]
    assert sorted(str(name) for name in names) == ["JSON", "free"]
    boxes = [[words("en").say(box.text, str) for box in row] for row in table.rows]
    assert [row[1] for row in boxes] == [units.ABSENT, "response_format"]
    assert "附加字段" in words("zh").say(section.heading, str)


def test_one_run_of_each_is_said_to_decide_nothing() -> None:
    shown = gathered(ran("JSON", 0.03, 1), ran("free", 0.02, 2))
    section = variants_section(shown, places(shown))
    assert section is not None
    told = section.blocks[0]
    assert isinstance(told, Paragraph)
    assert "cannot tell this from chance" in words("en").say(told.sentences[-1], str)


def test_a_load_without_variants_has_no_such_section() -> None:
    shown = gathered(ran(None, 0.03))
    assert variants_section(shown, places(shown)) is None
    alone = gathered(ran("JSON", 0.03))
    assert variants_section(alone, places(alone)) is None
