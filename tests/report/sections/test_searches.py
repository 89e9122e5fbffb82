"""Results of a search for capacity, in sentences of both languages."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from json_schemas import check

from journal.compare.capacity import capacities
from journal.metrics.statistics import proportion
from journal.plan.cells import identified
from journal.records.as_json import CapacityJson
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment, Load, Slo
from journal.records.figure import Figure
from journal.records.run import ExperimentRecord, Record
from journal.report.day import Day
from journal.report.log import as_markdown
from journal.report.phrases import words
from journal.report.questions import log_page
from journal.report.sections.searches import capacity_json, searches_section, sentences

Build = Callable[..., Record]
SLO = Slo(ttft_ms=200.0, tpot_ms=50.0)
ASKED = Experiment(name="x", find_capacity="rate", slo=SLO)


def tried(record: Build, load: float | None, good: int, *rules: str, whole: int = 200) -> Record:
    """A run of a search: at a rate, or, where that is None, one request at a time."""
    made = record(
        number=int(100 * (load or 0)),
        batch=1 if load is None else None,
        rate=load,
        load=Load(requests=whole),
        metrics={"steady_good_fraction": proportion(good, whole)},
        doubts=tuple(Doubt(rule, {}) for rule in rules),
    )
    return replace(made, cell=identified(made.cell))


def in_flight(made: Record, batch: int) -> Record:
    return replace(made, cell=identified(replace(made.cell, rate=None, batch=batch)))


def twice(*records: Record) -> list[Record]:
    """Each load looked at twice, as it takes to say that it holds."""
    again = (replace(run, cell=identified(replace(run.cell, seed=1))) for run in records)
    return [*records, *again]


def prose(asked: Experiment, *records: Record, lang: str = "en") -> str:
    (capacity,) = capacities(asked, records)
    return words(lang).paragraph(sentences(capacity), str)


def test_a_rate_lies_between_the_highest_that_held_and_the_lowest_that_broke(record: Build) -> None:
    alone = tried(record, None, 12, whole=12)
    runs = [alone, *twice(tried(record, 10.0, 199), tried(record, 11.0, 150))]
    assert prose(ASKED, *runs) == (
        "m, 64 + 32 tokens: the highest rate that holds the SLO lies between 10 and 11 "
        "requests/s. It holds up to 10, where 99.5% (95% interval 97.6% to 99.9%) of the requests "
        "were good. It breaks from 11 on: 75% (95% interval 69.2% to 80%) were good there. In "
        "between it is undecided."
    )
    chinese = prose(ASKED, *runs, lang="zh")
    assert "每秒 10 到 11 个请求之间。到 10 为止满足" in chinese
    assert "从 11 起不满足" in chinese and "两者之间无法判定。" in chinese


@pytest.mark.parametrize(
    ("rules", "good", "reason"),
    [
        (["falls_behind"], 200, "It breaks from 20 on: the server fell behind there."),
        (["client_saturated"], 0, "at 20, the client was at its limit before the server"),
        (["busy_host"], 0, "at 20, other programs disturbed every run: stop them"),
        ([], 190, "which leaves it open: ask for more requests"),
    ],
)
def test_a_load_says_why_it_was_not_shown_to_hold(
    record: Build, rules: list[str], good: int, reason: str
) -> None:
    runs = twice(tried(record, 10.0, 200), tried(record, 20.0, good, *rules))
    assert reason in prose(ASKED, *runs)
    if rules != ["falls_behind"]:
        assert "the SLO holds up to 10 requests/s" in prose(ASKED, *runs)
        assert "Above that it is undecided; at 20, " in prose(ASKED, *runs)


def test_a_rate_breaks_where_the_server_answers_no_more(record: Build) -> None:
    alone = tried(record, None, 12, whole=12)
    over = tried(record, 80.0, 0, "falls_behind")
    seen = {"steady_s": Figure(9.0), "steady_requests_per_s": Figure(40.02)}
    over = replace(over, metrics={**over.metrics, **seen})
    held = twice(tried(record, 36.0, 200))
    text = prose(ASKED, alone, *held, over)
    assert "lies between 36 and 40 requests/s" in text
    assert "It breaks from 40 on: the server answers no more than 40 requests/s." in text
    assert "服务器每秒最多只能完成 40 个请求" in prose(ASKED, alone, *held, over, lang="zh")
    (capacity,) = capacities(ASKED, [*held, over])
    assert capacity_json(capacity)["answered_per_s"] == 40.02


def test_a_load_of_short_runs_alone_is_not_shown_to_hold(record: Build) -> None:
    text = prose(ASKED, tried(record, 10.0, 200))
    assert text.startswith("m, 64 + 32 tokens: no rate was shown to hold the SLO, or to break it")
    assert "too short to show an overload of 5%" in text
    text = prose(ASKED, tried(record, 10.0, 200), tried(record, 20.0, 0))
    assert "no rate was shown to hold the SLO. It breaks from 20 requests/s on" in text
    assert text.endswith("Below that it is undecided.")


def test_a_concurrency_is_a_whole_number(record: Build) -> None:
    asked = replace(ASKED, find_capacity="concurrency")
    eight = twice(in_flight(tried(record, 0.8, 200), 8))
    nine, twelve = (in_flight(tried(record, 0.9, 0), batch) for batch in (9, 12))
    assert "is 8 in flight" in prose(asked, *eight, nine)
    assert "lies between 8 and 12 requests in flight" in prose(asked, *eight, twelve)
    assert "at every concurrency that was tried, up to 8" in prose(asked, *eight)
    assert "It breaks from 9 in flight on, the lowest that was tried: 0%" in prose(asked, nine)


def test_nothing_holds_and_everything_holds(record: Build) -> None:
    alone = tried(record, None, 1, whole=12)
    assert "no rate holds the SLO, for even of requests sent one at a time" in prose(ASKED, alone)
    every = prose(ASKED, *twice(tried(record, 10.0, 200)))
    assert "at every rate that was tried, up to 10 " in every
    assert "It breaks from 10 requests/s on, the lowest" in prose(ASKED, tried(record, 10.0, 0))


def test_a_search_that_was_cut_short_says_so(record: Build) -> None:
    gone = tried(record, 20.0, 0)
    gone = replace(gone, status="failed", error="the server is gone", metrics={})
    text = prose(ASKED, tried(record, 10.0, 200), gone)
    assert text.endswith("go on with it by --resume.")
    again = tried(record, 20.0, 0)
    assert "--resume" not in prose(ASKED, tried(record, 10.0, 200), gone, again)


def test_searches_are_plain_as_json(record: Build) -> None:
    (capacity,) = capacities(ASKED, twice(tried(record, 10.0, 199), tried(record, 11.0, 150)))
    plain = capacity_json(capacity)
    check(json.loads(json.dumps(plain)), CapacityJson)
    assert plain["of"] == "rate" and plain["whole"]
    assert plain["slo"] == {"ttft_ms": 200, "tpot_ms": 50, "e2e_ms": None, "good_fraction": 0.95}
    assert (plain["held"]["load"], plain["beyond"]["verdict"]) == (10, "missed")
    assert (plain["holds_up_to"], plain["undecided"], plain["breaks_from"]) == (10, (10, 11), 11)
    assert [probe["requests"] for probe in plain["probes"]] == [400, 400]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_log_has_a_section_on_it(
    record: Build,
    day_of: Callable[..., Day],
    experiment: Callable[..., ExperimentRecord],
    lang: str,
) -> None:
    runs = [tried(record, 10.0, 199), tried(record, 11.0, 150)]
    day = day_of(runs, experiment(find_capacity="rate", slo=SLO))
    log = as_markdown(log_page(day), words(lang), "x")
    assert words(lang).phrases["capacity.heading"] in log
    assert "200 ms" in log and "50 ms" in log and "95%" in log
    assert words(lang).phrases["capacity.verdict.missed"] in log
    plain = as_markdown(log_page(day_of(runs)), words(lang), "x")
    assert words(lang).phrases["capacity.heading"] not in plain
    assert searches_section(Experiment(name="x"), runs) is None
