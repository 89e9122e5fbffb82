"""Gates: verdicts on made-up runs, what hinders them, their error rates, and their forms."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import journal
from benchmarks.calibrate_compare import LIMIT, Case, gate_outcomes
from benchmarks.gate_agreement import ours
from journal.cli.app import app
from journal.compare.comparison import compared
from journal.compare.gate import Gate, _beside, decided, gate, shared_confidence, worsening
from journal.compare.ratios import Ratio
from journal.compare.sides import Side
from journal.errors import UsageError
from journal.metrics.table import named
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.figure import Figure
from journal.records.run import Record
from journal.report.gate_page import gate_junit, gate_markdown, gate_sentences
from journal.store.store import Store

Build = Callable[..., Record]
TTFT = "ttft_s.p50"
BEFORE, AGAIN = (0.100, 0.101, 0.099, 0.100), (0.101, 0.099, 0.100, 0.100)


def runs(
    record: Build, values: tuple[float, ...], start: int = 0, **changes: object
) -> list[Record]:
    return [
        record(number=start + 2 * n, metrics={TTFT: value}, repeat=n, **changes)
        for n, value in enumerate(values)
    ]


def judged(record: Build, factor: float, limit: float = 0.05, **changes: object) -> Gate:
    after = tuple(factor * value for value in AGAIN)
    a = Side("before", "experiment", tuple(runs(record, BEFORE)))
    b = Side("after", "experiment", tuple(runs(record, after, start=1, **changes)))
    return gate(compared(a, b), {named(TTFT): limit})


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, "PASS"), (1.3, "FAIL"), (1.05, "INCONCLUSIVE"), (0.7, "PASS")]
)
def test_a_gate_fails_what_is_worse_beyond_its_limit(
    record: Build, factor: float, outcome: str
) -> None:
    result = judged(record, factor)
    assert result.outcome == outcome, result.checked
    (checked,) = result.checked
    assert checked.worse.value == pytest.approx(factor - 1, abs=1e-9)
    assert (checked.a, checked.b) == pytest.approx((0.1, factor * 0.1), rel=1e-4)
    assert (checked.more is not None) == (outcome == "INCONCLUSIVE")


LOWER, HIGHER = named(TTFT), named("output_tokens_per_s")


def test_a_ratio_is_worse_by_what_there_is_more_of_a_latency_and_less_of_a_rate() -> None:
    change = Ratio(1.2, 1.125, 1.5)
    assert worsening(change, LOWER) == Figure(pytest.approx(0.2), 0.125, 0.5)
    assert worsening(change, HIGHER) == Figure(pytest.approx(-0.2), -0.5, -0.125)
    assert worsening(Ratio(0.75), HIGHER) == Figure(0.25)
    assert worsening(None, LOWER) == Figure(None)


@pytest.mark.parametrize(
    ("high", "strict_low", "outcome"),
    [
        (0.05, -0.1, "PASS"),
        (0.0501, 0.05, "INCONCLUSIVE"),
        (0.2, 0.0501, "FAIL"),
        (None, None, "INCONCLUSIVE"),
    ],
)
def test_a_metric_passes_up_to_its_limit_and_fails_beyond_it(
    high: float | None, strict_low: float | None, outcome: str
) -> None:
    assert decided(Figure(0.03, 0.0, high), Figure(0.03, strict_low, 0.3), 0.05) == outcome


def test_many_metrics_share_the_chance_of_a_false_alarm() -> None:
    assert [shared_confidence(n) for n in (1, 5)] == pytest.approx([0.95, 0.99])


def test_what_has_to_be_told_from_chance_is_the_distance_to_the_limit() -> None:
    for change, metric, limit, beside in (
        (1.05, LOWER, 0.05, 1.0),
        (1.32, LOWER, 0.1, 1.2),
        (0.9, HIGHER, 0.1, 1.0),
        (0.5, HIGHER, 1.5, 50.0),  # nothing is left to lose beyond 100%
    ):
        found = _beside(Ratio(change), metric, limit)
        assert found is not None and found.value == pytest.approx(beside)
    assert _beside(None, LOWER, 0.05) is None


def test_a_flagged_run_never_passes(record: Build) -> None:
    doubt = Doubt("busy_host", "flag", {})
    result = judged(record, 1.0, doubts=(doubt,), status="flagged")
    assert (result.outcome, result.hindrances["flagged"]) == ("INCONCLUSIVE", ("busy_host",))
    assert "inconclusive, because runs carry flags: busy_host" in gate_sentences(result)


def test_surroundings_that_differ_are_named_and_may_be_allowed(record: Build) -> None:
    a = Side("before", "experiment", tuple(runs(record, BEFORE)))
    b = Side(
        "after",
        "experiment",
        tuple(
            replace(run, environment={**run.environment, "gpu_0_driver": "999"})
            for run in runs(record, BEFORE, start=1)
        ),
    )
    comparison = compared(a, b)
    (name,) = comparison.pairing.conditions
    assert gate(comparison, {named(TTFT): 0.05}).hindrances["environment"] == (name,)
    assert gate(comparison, {named(TTFT): 0.05}, across=(name,)).outcome == "PASS"


def test_a_metric_that_a_side_lacks_decides_nothing(record: Build) -> None:
    a = Side("before", "experiment", tuple(runs(record, BEFORE)))
    b = Side("after", "experiment", tuple(runs(record, BEFORE, start=1)))
    result = gate(compared(a, b), {named(TTFT): 0.05, named("tpot_s.p50"): 0.05})
    assert result.outcome == "INCONCLUSIVE"
    assert result.hindrances["missing"] == ("tpot_s.p50",)


@pytest.mark.parametrize(("worse", "outcome"), [(0.0, "FAIL"), (LIMIT, "PASS"), (LIMIT, "FAIL")])
def test_a_wrong_verdict_is_rare(worse: float, outcome: str) -> None:
    """Three metrics, three starts each. The whole table is in docs/calibration.md."""
    shares = gate_outcomes(Case(truth=1 + worse, drift=0.01), trials=300)
    assert shares[outcome] <= (0.02 if worse == 0 else 0.06)  # type: ignore[index]


def test_ten_starts_see_twice_the_limit() -> None:
    assert gate_outcomes(Case(starts=10, truth=1 + 2 * LIMIT), trials=100)["FAIL"] >= 0.9


def test_its_forms_say_the_same(record: Build) -> None:
    result = judged(record, 1.3)
    assert gate_markdown(result).startswith("## FAIL: after against before")
    suite = ElementTree.fromstring(gate_junit(result))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "worse by 30.0%" in (suite.find(".//failure").get("message") or "")  # type: ignore[union-attr]
    assert result.as_json()["metrics"][0]["verdict"] == "FAIL"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"ttft_s.p5": 0.05}, r"there is no metric 'ttft_s.p5': did you mean ttft_s.p"),
        ({"prompt_tokens": 0.05}, "prompt_tokens is neither better nor worse when it is higher"),
    ],
)
def test_a_limit_on_no_such_metric_is_refused(
    tmp_path: Path, limits: dict[str, float], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        journal.check("a", "b", tmp_path, limits=limits)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def test_the_command_exits_with_the_code_of_its_verdict(
    store: Store, new_record: Build, tmp_path: Path
) -> None:
    blank = new_record()
    for number, value in enumerate((*BEFORE, *(1.3 * value for value in AGAIN))):
        side, n = "ab"[number // len(BEFORE)], number % len(BEFORE)
        cell = replace(blank.cell, model=side, repeat=n, identity=str(number))
        began = blank.started_at + timedelta(minutes=2 * n + (side == "b"))
        facts = EngineFacts(log_path=f"{side}-{n}.log", start_s=60.0)
        made = {"metrics": {TTFT: Figure(value)}, "facts": facts, "doubts": ()}
        store.add_run(new_record(cell=cell, started_at=began, **made), None)
    words = ["check", "--home", str(tmp_path), "--max-regression", f"{TTFT}=5%", "--json"]
    sides = ["--baseline", "model:a", "--candidate", "model:b"]
    result = CliRunner().invoke(app, [*words, *sides, "--junit", str(tmp_path / "gate.xml")])
    assert json.loads(result.output)["verdict"] == "FAIL" and result.exit_code == 1
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "1"
    back = ["--baseline", "model:b", "--candidate", "model:a"]
    assert CliRunner().invoke(app, [*words, *back]).exit_code == 0
    wrong = CliRunner().invoke(app, ["check", *sides, "--max-regression", "5%"])
    assert wrong.exit_code != 0 and "write METRIC=PERCENT" in str(wrong.exception)


def test_names_are_text_in_a_report_whatever_stands_in_them() -> None:
    """Control characters, which XML cannot hold, and Markdown."""
    name = "m\x1b[2J\x00 ]]> <b> [x](http://y) | \ufffe"
    comparison = SimpleNamespace(a=SimpleNamespace(name=name), b=SimpleNamespace(name=name))
    gate: Any = SimpleNamespace(
        comparison=comparison, outcome="INCONCLUSIVE", checked=(), hindrances={"alone": (name,)}
    )
    (case,) = ElementTree.fromstring(gate_junit(gate).encode()).iter("skipped")
    assert "]]> <b>" in case.attrib["message"]
    page = gate_markdown(gate)
    assert not [char for char in page if ord(char) < 32 and char != "\n"]
    assert "<b>" not in page and "[x](" not in page


def test_the_gate_never_contradicts_another_one_on_the_same_figures() -> None:
    """The verdicts of inference-doctor 0.4.1, as benchmarks/gate_agreement.py recorded them."""
    path = Path(__file__).parent / "data" / "inference_doctor_0.4.1.jsonl"
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    pairs = [(ours(case["baseline"], case["candidate"]), case["theirs"]) for case in cases]
    assert {theirs for _, theirs in pairs} == {"PASS", "FAIL", "INCONCLUSIVE"}
    assert set(pairs) <= {
        ("PASS", "PASS"),
        ("FAIL", "FAIL"),
        *(("INCONCLUSIVE", theirs) for theirs in ("PASS", "FAIL", "INCONCLUSIVE")),
    }
    assert sum(own == theirs for own, theirs in pairs) >= len(pairs) / 2
