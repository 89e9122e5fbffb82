"""Comparisons: known answers on made-up runs; pairs, names, runs left out, refusals."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pytest

import journal
from journal.compare.comparison import Comparison, compared
from journal.compare.sides import Side, find_side
from journal.compare.verdicts import Compared
from journal.errors import NotFound, UsageError
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load
from journal.records.run import Record
from journal.report.log import as_html, as_markdown
from journal.report.phrases import LANGUAGES, words
from journal.report.versus import comparison_page
from journal.store.store import open_store

Build = Callable[..., Record]
TTFT = "ttft_s.p50"


@pytest.fixture
def repeats(record: Build) -> Callable[..., list[Record]]:
    """One run for each value of TTFT, at one cell."""

    def build(values: list[float], start: int = 0, **changes: object) -> list[Record]:
        return [
            record(number=start + n, metrics={TTFT: value}, repeat=n, **changes)
            for n, value in enumerate(values)
        ]

    return build


def side(name: str, *records: Record) -> Side:
    return Side(name, "experiment", records)


def only(comparison: Comparison) -> Compared:
    ((figure,),) = (row.figures for row in comparison.rows)
    return figure


def text(comparison: Comparison, lang: str = "en") -> str:
    return as_markdown(comparison_page(comparison), words(lang), "")


def test_a_clear_difference_is_called_one(repeats: Callable[..., list[Record]]) -> None:
    a = side("before", *repeats([0.100, 0.101, 0.099]))
    b = side("after", *repeats([0.120, 0.121, 0.119], start=10))
    figure = only(compared(a, b))
    assert figure.verdict == "higher"
    assert figure.ratio is not None and figure.ratio.low is not None
    assert figure.ratio.low > 1.15 and figure.ratio.value == pytest.approx(1.2, rel=1e-3)
    assert "B is slower, 1.20 times A (95% interval" in text(compared(a, b))
    assert "B is faster, 0.833 times A (95% interval" in text(compared(b, a))
    comparison = text(compared(a, b))
    assert (
        comparison.index("1.20 times")
        < comparison.index("95% interval")
        < comparison.index("p ≤0.001")
    )


def test_no_difference_is_called_none(repeats: Callable[..., list[Record]]) -> None:
    a = side("a", *repeats([0.100, 0.110, 0.105]))
    b = side("b", *repeats([0.104, 0.111, 0.099], start=10))
    comparison = compared(a, b)
    assert only(comparison).verdict == "no difference seen"
    assert "no difference seen" in text(comparison)
    assert "看不出差别" in text(comparison, "zh")
    tiny = side("c", *repeats([0.10001, 0.10002, 0.10003], start=20))
    exact = side("d", *repeats([0.10031, 0.10032, 0.10033], start=30))
    assert only(compared(tiny, exact)).verdict == "no difference seen", "certain, but of 0.3%"


def test_one_repeat_each_cannot_say(repeats: Callable[..., list[Record]]) -> None:
    one, two = repeats([0.1]), repeats([0.2], start=10)
    figure = only(compared(side("a", *one), side("b", *two)))
    assert (figure.verdict, figure.reason) == ("cannot say", "one repeat each")
    assert figure.ratio is not None and figure.ratio.value == pytest.approx(2)
    assert "cannot say: one repeat each" in text(compared(side("a", *one), side("b", *two)))
    three = side("c", *repeats([0.2, 0.21, 0.2], start=20))
    assert only(compared(side("a", *one), three)).reason == "one repeat in A"
    assert only(compared(three, side("a", *one))).reason == "one repeat in B"


def test_a_zero_has_no_ratio(repeats: Callable[..., list[Record]]) -> None:
    comparison = compared(side("a", *repeats([0.0, 0.1])), side("b", *repeats([0.1, 0.1], start=5)))
    assert (only(comparison).ratio, only(comparison).reason) == (None, "a value of 0 has no ratio")
    assert comparison.as_json()["cells"][0]["figures"][0]["ratio"] is None
    assert "has no ratio" in text(comparison)


def test_runs_that_failed_or_cannot_be_believed_are_never_used(
    repeats: Callable[..., list[Record]],
) -> None:
    a = repeats([0.1, 0.1, 0.1])
    b = repeats([0.1, 0.1, 0.1], start=10)
    for n, status in enumerate(("failed", "invalid", "interrupted")):
        b += repeats([9.0], start=20 + n, status=status)
    comparison = compared(side("a", *a), side("b", *b))
    figure = only(comparison)
    assert figure.ratio is not None and figure.ratio.value == 1
    assert figure.repeats == (3, 3)
    assert [run["status"] for run in comparison.as_json()["left_out"]["b"]] == [
        "failed",
        "invalid",
        "interrupted",
    ]
    assert "Left out of b: 3 runs that failed or cannot be believed" in text(comparison)
    with pytest.raises(UsageError, match="none of its 3 runs is valid"):
        compared(side("a", *a), side("bad", *b[3:]))
    with pytest.raises(UsageError, match="has no run"):
        compared(side("a", *a), side("empty"))
    with pytest.raises(UsageError, match="share runs"):
        compared(side("a", *a), side("b", *b, a[0]))


def test_cells_are_paired_by_all_that_defines_them(record: Build) -> None:
    a = [record(batch=b, prompt_tokens=p, number=b + p) for b in (1, 8) for p in (16, 64)]
    b = [record(batch=b, prompt_tokens=p, number=900 + b + p) for b in (8, 32) for p in (16, 64)]
    a = [replace(r, metrics={TTFT: journal.Figure(r.cell.batch * 1.0)}) for r in a]
    b = [replace(r, metrics={TTFT: journal.Figure(r.cell.batch * 3.0)}) for r in b]
    comparison = compared(side("a", *a), side("b", *b))
    assert [dict(row.match.cell) for row in comparison.rows] == [
        {"batch": 8, "prompt_tokens": 16},
        {"batch": 8, "prompt_tokens": 64},
    ]
    ratios = [row.figures[0].ratio for row in comparison.rows]
    assert [ratio.value for ratio in ratios if ratio] == [pytest.approx(3)] * 2
    only_in = comparison.as_json()["only_in"]
    assert [cell["batch"] for cell in only_in["a"]] == [1, 1]
    assert [cell["batch"] for cell in only_in["b"]] == [32, 32]
    assert "Only a has these cells" in text(comparison)


def test_what_is_being_compared_is_named(repeats: Callable[..., list[Record]]) -> None:
    awq = {"model": "org/m-awq", "quantisation": "awq"}
    comparison = compared(
        side("m", *repeats([0.1, 0.1], engine=Engine(model="m", dtype="float16"))),
        side("awq", *repeats([0.2, 0.2], start=9, engine=Engine(**awq, dtype="float16"), **awq)),  # type: ignore[arg-type]
    )
    assert dict(comparison.pairing.differs) == {
        "model": ("m", "org/m-awq"),
        "quantisation": (None, "awq"),
    }
    assert "model is m in A and org/m-awq in B" in text(comparison)


def test_runs_of_different_environments_are_named_and_kept_apart(
    repeats: Callable[..., list[Record]],
) -> None:
    old, new = {"gpu_driver": "550.1"}, {"gpu_driver": "580.2"}
    a = repeats([0.1, 0.1], environment=old)
    b = repeats([0.2, 0.2], start=10, environment=new)
    comparison = compared(side("a", *a), side("b", *b))
    assert dict(comparison.pairing.conditions) == {"gpu_driver": (("550.1",), ("580.2",))}
    assert "gpu\\_driver is 550.1 in A and 580.2 in B" in text(comparison)

    mixed = [*a, *repeats([0.4, 0.4], start=20, environment=new)]
    comparison = compared(side("mixed", *mixed), side("b", *b))
    ratios = [row.figures[0].ratio for row in comparison.rows]
    assert [ratio.value for ratio in ratios if ratio] == [pytest.approx(0.5)], "only new with new"
    newest = repeats([0.8, 0.8], start=30, environment={"gpu_driver": "600"})
    comparison = compared(side("mixed", *mixed), side("newest", *newest))
    assert [dict(row.match.conditions[0]) for row in comparison.rows] == [old, new]
    ratios = [row.figures[0].ratio for row in comparison.rows]
    assert [ratio.value for ratio in ratios if ratio] == [pytest.approx(8), pytest.approx(2)]
    assert comparison.overall == ()
    assert "gpu\\_driver 550.1" in text(comparison)


def test_by_gathers_cells_each_of_equal_weight(record: Build) -> None:
    runs = {"a": [], "b": []}  # type: dict[str, list[Record]]
    for n, (prompt, times) in enumerate(((16, 2.0), (64, 8.0))):
        for name, factor in (("a", 1.0), ("b", times)):
            for repeat in range(3 if prompt == 16 else 2):
                value = prompt * factor * (1 + 0.01 * repeat)
                number = 100 * (name == "b") + 10 * n + repeat
                made = record(prompt_tokens=prompt, number=number, metrics={TTFT: value})
                runs[name].append(made)
    comparison = compared(side("a", *runs["a"]), side("b", *runs["b"]), ("batch",))
    figure = only(comparison)
    assert dict(comparison.rows[0].match.cell) == {"batch": 1}
    assert figure.ratio is not None and figure.ratio.value == pytest.approx(4)
    assert "geometric mean of their ratios" in text(comparison)
    whole = compared(side("a", *runs["a"]), side("b", *runs["b"]))
    assert len(whole.rows) == 2
    assert whole.overall[0].ratio == figure.ratio
    with pytest.raises(UsageError, match="'batc': did you mean 'batch'"):
        compared(side("a", *runs["a"]), side("b", *runs["b"]), ("batc",))


def test_sides_without_a_common_cell_are_refused(record: Build) -> None:
    a = [record(batch=n, number=n, metrics={TTFT: 1}) for n in (1, 2)]
    b = [record(batch=n, number=n, metrics={TTFT: 1}) for n in (4, 8)]
    with pytest.raises(UsageError, match="batch is 1 or 2 in A and 4 or 8 in B"):
        compared(side("a", *a), side("b", *b))
    direct = compared(side("a", a[0]), side("b", b[0]))
    assert dict(direct.pairing.differs) == {"batch": (1, 4)}, "two runs are always comparable"


def test_the_interval_of_a_comparison_holds_the_truth(record: Build) -> None:
    """From requests up: every run has a level of its own, and its requests scatter about that."""
    chance, truth, hits, false = np.random.default_rng(3), 1.1, 0, 0
    trials = 200
    for _ in range(trials):
        sides = []
        for start, factor in ((0, 1.0), (100, truth)):
            levels = 0.2 * factor * np.exp(chance.normal(0, 0.04, 4))
            medians = np.median(levels[:, None] * chance.gamma(20, 1 / 20, (4, 200)), axis=1)
            runs = [
                record(number=start + n, metrics={TTFT: float(m)}) for n, m in enumerate(medians)
            ]
            sides.append(side(str(start), *runs))
        comparison = only(compared(*sides)).ratio
        assert comparison is not None and comparison.low is not None and comparison.high is not None
        hits += comparison.low <= truth <= comparison.high
        false += math.isclose(comparison.low, comparison.high)
    assert 0.91 <= hits / trials <= 0.99
    assert false == 0


def test_many_comparisons_of_equals_raise_no_alarm(record: Build) -> None:
    chance = np.random.default_rng(5)
    metrics = ("ttft_s.p50", "tpot_s.p50", "e2e_s.p50", "output_tokens_per_s")
    alarms = {"higher": 0, "lower": 0, "maybe chance": 0, "no difference seen": 0}
    for day in range(10):
        sides = [
            side(
                name,
                *(
                    record(
                        batch=batch,
                        number=1000 * day + start + 10 * batch + n,
                        metrics={m: float(np.exp(chance.normal(0, 0.03))) for m in metrics},
                    )
                    for batch in range(1, 13)
                    for n in range(3)
                ),
            )
            for name, start in (("a", 0), ("b", 500))
        ]
        for row in compared(*sides).rows:
            for figure in row.figures:
                alarms[figure.verdict] += 1
    assert alarms["higher"] + alarms["lower"] <= 2, "of 480 comparisons"
    assert alarms["maybe chance"] > 5, "one test at a time would have raised these"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_comparison_in_every_form(repeats: Callable[..., list[Record]], lang: str) -> None:
    evil = '"><script>alert(1)</script>|`x`'
    comparison = compared(
        side(evil, *repeats([0.1, 0.11], model=evil)),
        side("b", *repeats([0.2, 0.21], start=9, model="b", environment={evil: evil})),
    )
    html = as_html(comparison_page(comparison), words(lang), {})
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in text(comparison, lang)
    plain = comparison.as_json()
    assert plain["a"]["name"] == evil
    assert plain["cells"][0]["figures"][0]["better"] == "lower"
    assert text(comparison, lang) == text(comparison, lang)


def test_models_are_compared_in_equal_text_too(record: Build) -> None:
    figures = {"output_tokens_per_s": 10.0, "characters_per_s": 40.0}
    same = [record(number=n, metrics=figures) for n in (0, 1)]
    other = [record("n", number=n, metrics=figures) for n in (2, 3)]
    again = [record(number=n, metrics=figures) for n in (4, 5)]
    names = [f.metric for f in compared(side("m", *same), side("n", *other)).rows[0].figures]
    assert names == ["output_tokens_per_s", "characters_per_s"]
    names = [f.metric for f in compared(side("m", *same), side("m", *again)).rows[0].figures]
    assert names == ["output_tokens_per_s"]


def test_a_metric_is_stood_in_for_only_where_a_side_lacks_it(record: Build) -> None:
    both = {TTFT: 0.1, "ttft_s.mean": 0.2}
    sides = [
        side(name, *(record(name, number=number + n, metrics=metrics) for n in (0, 1)))
        for number, (name, metrics) in ((10, ("m", both)), (12, ("n", both)))
    ]
    bare = side("o", *(record("o", number=n, metrics={"ttft_s.mean": 0.2}) for n in (20, 21)))
    shown = [[f.metric for f in compared(sides[0], b).rows[0].figures] for b in (sides[1], bare)]
    assert shown == [[TTFT], ["ttft_s.mean"]]


# ---- the sides -------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, record: Build) -> Path:
    """Two days, two models and two experiments, one of which has a model's name."""
    with open_store(tmp_path) as store:
        for number, (name, model, days) in enumerate(
            (("first", "org/Big-7B", 1), ("second", "org/small", 0), ("small", "org/small", 0))
        ):
            made = record(model, number=number)
            at = made.started_at - timedelta(days=days)
            begun = store.begin_experiment(Experiment(name=name, load=Load()), at, {})
            for n in range(2):
                run = record(
                    model,
                    number=10 * number + n,
                    experiment=name,
                    experiment_id=begun.id,
                    metrics={TTFT: 0.1},
                    repeat=n,
                    facts=EngineFacts(version="0.32.0", log_path=f"{begun.id}-{n}.log"),
                )
                store.add_run(replace(run, started_at=at + timedelta(minutes=n)), None)
            store.end_experiment(begun.id, "done", at)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "shown", "count"),
    [
        ("first", "experiment", "first", 2),
        ("org/Big-7B", "model", "org/Big-7B", 2),
        ("big-7b", "model", "org/Big-7B", 2),
        ("2026-11-19", "day", "2026-11-19", 2),
        ("2026-11-20", "day", "2026-11-20", 4),
        ("0000000000000014", "run", "00000000", 1),
        ("run:0000000000000014,0000000000000015", "run", "00000000, 00000000", 2),
        ("experiment:small", "experiment", "small", 2),
        ("model:small", "model", "org/small", 4),
        ("last", "run", "00000000", 1),
    ],
)
def test_a_side_by_its_names(home: Path, name: str, kind: str, shown: str, count: int) -> None:
    with open_store(home) as store:
        comparison = find_side(store, name, UTC)
    assert (comparison.kind, comparison.name, len(comparison.records)) == (kind, shown, count)


def test_an_experiment_is_found_by_its_id(home: Path) -> None:
    with open_store(home) as store:
        begun = store.experiments()[0]
        comparison = find_side(store, begun.id)
    assert (comparison.kind, len(comparison.records)) == ("experiment", 2)
    assert comparison.name == f"first {begun.id[:8]}"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nothing", NotFound, "no run, experiment, model, day or tag 'nothing'"),
        ("model:first", NotFound, "no model 'first'"),
        ("small", UsageError, "the name of model and experiment: write model:small"),
        ("2026-13-40", UsageError, "not a date"),
    ],
)
def test_a_text_that_means_no_side_is_refused(
    home: Path, name: str, kind: type[Exception], message: str
) -> None:
    with open_store(home) as store, pytest.raises(kind, match=message):
        find_side(store, name)


def test_the_library_compares_what_the_command_does(home: Path) -> None:
    comparison = journal.compare("first", "second", home)
    assert comparison.as_json()["differs"] == {"model": {"a": "org/Big-7B", "b": "org/small"}}
    assert only(comparison).verdict == "no difference seen"
    assert journal.compare("first", "second", home, by=("batch",)).by == ("batch",)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_batch_at_which_two_builds_change_their_order_is_named(
    record: Build, lang: str
) -> None:
    """B writes 1.4 times as fast at batch 1, and less than A at batch 16."""
    gains = {1: 1.4, 4: 1.2, 8: 1.1, 16: 1 / 1.1}
    runs = {
        model: [
            record(
                model,
                batch,
                repeat=n,
                number=100 * "ab".index(model) + 20 * n + batch,
                metrics={"output_tokens_per_s": 100 * (gains[batch] if model == "b" else 1) * f},
                facts=EngineFacts(log_path=f"{model}{n}"),
            )
            for n, f in enumerate((0.99, 1.0, 1.01))
            for batch in gains
        ]
        for model in "ab"
    }
    comparison = compared(side("a", *runs["a"]), side("b", *runs["b"]))
    said = text(comparison, lang)
    assert ("b is faster up to batch 11 (" if lang == "en" else "批大小到 11（") in said
    (crossed,) = comparison.as_json()["crossovers"]
    assert crossed["batch"] == pytest.approx(128**0.5)  # half of the way, in logarithms
    assert crossed["low"] < crossed["batch"] < crossed["high"]
    assert crossed["higher"] == {"below": "b", "above": "a"}
    assert (crossed["cell"]["prompt_tokens"], crossed["metric"]) == (64, "output_tokens_per_s")


def test_a_comparison_is_told_in_lines(repeats: Callable[..., list[Record]]) -> None:
    a = side("before", *repeats([0.100, 0.101, 0.099]))
    b = side("after", *repeats([0.120, 0.121, 0.119], start=10))
    told = str(compared(a, b))
    assert re.fullmatch(
        r"after against before\nbatch 1, .*\n  ttft_s\.p50: 100 ms, 120 ms, 1\.2 times "
        r"\(1\.1\d+ to 1\.2\d+\): higher",
        told,
    ), told
    one = side("after", *repeats([0.120], start=10))
    assert str(only(compared(a, one))).endswith("1.2 times: cannot say (one repeat in B)")
    page = compared(a, b)._repr_html_()
    assert page.startswith("<pre>after against before\n") and page.endswith("</pre>")


def started(record: Build, model: str, start_s: list[float], **changes: object) -> list[Record]:
    """Two batches on each of the starts of an engine that took `start_s`."""
    return [
        record(
            model,
            batch,
            number=100 * int(start_s[0]) + 10 * n + batch,
            repeat=n,
            metrics={TTFT: 0.1 + n / 1000, "start_warm_s": took},
            facts=EngineFacts(log_path=f"{model}-{took}.log", start_s=took),
            **changes,
        )
        for n, took in enumerate(start_s)
        for batch in (1, 4)
    ]


def test_the_start_of_an_engine_is_compared_once(record: Build) -> None:
    a, b = started(record, "a", [10.0, 10.1, 9.9]), started(record, "b", [20.0, 20.1, 19.9])
    found = compared(side("a", *a), side("b", *b))
    assert [[f.metric for f in row.figures] for row in found.rows] == [[TTFT], [TTFT]]
    ((start,),) = (row.figures for row in found.engines)
    assert (start.metric, start.verdict, start.units) == ("start_warm_s", "higher", (3, 3))
    assert start.a == pytest.approx(10, rel=1e-4)
    assert [f.metric for f in found.overall] == [TTFT, "start_warm_s"]
    (row,) = [line for line in text(found).splitlines() if "| start of the engine" in line]
    assert re.match(r"\| – \|( – \|)* start of the engine, warm \| 10 s \| 20 s \|", row), row
    plain = found.as_json()
    assert [f["metric"] for f in plain["engines"][0]["figures"]] == ["start_warm_s"]
    assert len(plain["engines"][0]["runs"]["a"]) == 6
    assert "\nengine\n  start_warm_s: 10 s, 20 s, " in str(found)


def test_the_start_that_both_sides_share_is_not_compared(record: Build) -> None:
    runs = started(record, "a", [10.0, 10.1, 9.9])
    found = compared(
        side("few", *(r for r in runs if r.cell.batch == 1)),
        side("many", *(r for r in runs if r.cell.batch == 4)),
    )
    assert found.engines == ()


def test_starts_under_other_conditions_have_rows_of_their_own(record: Build) -> None:
    other = {"gpu_driver": "600"}
    a, b = (
        [
            *started(record, model, [s, s + 0.1]),
            *started(record, model, [s + 20], environment=other),
        ]
        for model, s in (("a", 10.0), ("b", 20.0))
    )
    found = compared(side("a", *a), side("b", *b))
    assert len(found.rows) == 4
    assert sorted(round(row.figures[0].a) for row in found.engines) == [10, 30]
    assert found.overall == ()


@pytest.mark.parametrize(
    ("units", "reason"),
    [((1, 1), "one repeat each"), ((1, 3), "one repeat in A"), ((2, 2), "too few repeats")],
)
def test_what_cannot_be_said_has_its_reason(
    repeats: Callable[..., list[Record]], units: tuple[int, int], reason: str
) -> None:
    found = only(compared(side("a", *repeats([0.1] * 2)), side("b", *repeats([0.2] * 2, start=10))))
    unsaid = replace(found, verdict="cannot say", units=units)
    assert unsaid.reason == reason
    assert replace(unsaid, ratio=None).reason == "a value of 0 has no ratio"
    assert replace(unsaid, verdict="higher").reason == ""
