import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from journal.compare import knee
from journal.compare.points import Points, lines, over_repeats, points
from journal.compare.setups import setups_of
from journal.metrics.table import metric_of_key
from journal.records.claim import Claim
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load
from journal.records.figure import Figure
from journal.records.run import ExperimentRecord, Record
from journal.report.curves import drawn
from journal.report.day import Day
from journal.report.document import Block, Page, Section, Sentence, Spoken, Text, Verbatim
from journal.report.phrases import words
from journal.report.places import places
from journal.report.questions import log_page
from journal.report.sections import (
    batching,
    failures,
    lengths,
    lessons,
)
from journal.report.sections import (
    own_predictions as predictions,
)
from journal.report.sections import (
    side_by_side as sidebyside,
)
from journal.report.setup_labels import abbreviated, labels
from journal.theory.model_table import find_model

Build = Callable[..., Record]
BEGAN = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
NOWHERE = Day(date=BEGAN.date(), zone=UTC, records=(), experiments=())


def gathered(records: Iterable[Record]) -> Points:
    records = list(records)
    return points(zip(records, setups_of(records), strict=True))


def spoken(text: Text) -> str:
    return words("en").say(text, str)


def paragraphs(blocks: Iterable[Block]) -> str:
    texts = [block for block in blocks if block.kind == "paragraph"]
    return " ".join(
        spoken(sentence) for block in texts for sentence in (block.about, *block.sentences)
    )


def keys(blocks: Iterable[Block]) -> set[str]:
    paragraphs_ = [block for block in blocks if block.kind == "paragraph"]
    return {
        sentence.key
        for paragraph in paragraphs_
        for sentence in paragraph.sentences
        if isinstance(sentence, Sentence)
    }


def sure(value: float, within: float = 0.02) -> Figure:
    """A figure of one run whose interval is that part of it to either side."""
    return Figure(value, value * (1 - within), value * (1 + within), 1)


def curve(
    record: Build, rates: dict[int, float], within: float | None = 0.02, **of_last: float
) -> Points:
    """One line over the batch with these throughputs, each within a part of it; None: without an
    interval."""
    records = [
        record(
            batch=batch,
            number=n,
            metrics={
                "output_tokens_per_s": Figure(rate) if within is None else sure(rate, within),
                "tpot_s.p50": 0.02,
            },
        )
        for n, (batch, rate) in enumerate(rates.items())
    ]
    extra = {name: Figure(value) for name, value in of_last.items()}
    records[-1] = replace(records[-1], metrics={**records[-1].metrics, **extra})
    return gathered(records)


# ---- points ------------------------------------------------------------------------------------


def test_an_interval_over_repeats_ends_at_nothing(record: Build) -> None:
    """Of 0.1 s and 0.5 s the t interval goes from -2.2 s to 2.8 s; no latency is below 0."""
    runs = [record(metrics={"ttft_s.p50": value}, repeat=n) for n, value in enumerate((0.1, 0.5))]
    (point,) = gathered(runs)
    figure = point.figure("ttft_s.p50")
    assert figure is not None and figure.low == 0
    assert figure.high == pytest.approx(2.841, abs=1e-3)
    assert over_repeats([-1.0, 3.0]).low == pytest.approx(1 - 25.412, abs=1e-3)


def test_a_plot_has_the_same_lines_of_each_setup(record: Build) -> None:
    runs = [
        record(model, batch, prompt, metrics={"ttft_s.p50": 0.1})
        for model in ("a", "b")
        for batch in (1, 2, 4, 8)
        for prompt in (16, 64)
    ]
    chosen = drawn(lines(gathered(runs), "prompt_tokens"))
    shown = [(line[0].setup.model, line[0].batch) for line in chosen]
    assert shown == [("a", 1), ("a", 4), ("a", 8), ("b", 1), ("b", 4), ("b", 8)]


def test_repeats_are_a_mean_with_a_t_interval(record: Build) -> None:
    runs = [record(repeat=n, number=n, metrics={"x": value}) for n, value in enumerate((9, 10, 11))]
    (point,) = gathered(runs)
    figure = point.figure("x")
    assert figure is not None
    assert (figure.value, figure.count) == (10, 3)
    assert figure.low == pytest.approx(10 - 2.4841, abs=1e-3)  # t(0.975, 2) x 1 / sqrt(3)
    assert figure.high == pytest.approx(10 + 2.4841, abs=1e-3)


def test_a_single_run_keeps_its_own_interval(record: Build) -> None:
    (point,) = gathered([record(metrics={"x": Figure(5.0, 4.0, 7.0, 24)})])
    assert point.figure("x") == Figure(5.0, 4.0, 7.0, 1)


@pytest.mark.parametrize("status", ["invalid", "failed", "interrupted"])
def test_a_run_that_went_wrong_gives_no_figures(record: Build, status: str) -> None:
    good = record(metrics={"x": 1})
    (point,) = gathered([good, record(number=1, status=status, metrics={"x": 1000})])
    assert point.value("x") == 1
    assert len(point.records) == 2


def test_absent_is_none_and_never_zero(record: Build) -> None:
    (point,) = gathered([record(metrics={"x": Figure(None)})])
    assert point.figure("x") is None
    assert point.figure("y") is None


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"gpu_driver": "1"}},
        {"facts": EngineFacts(version="0.33.0")},
        {"engine": Engine(model="m", max_model_len=8192)},
        {"quantisation": "awq"},
        {"load": Load(requests=1000)},
    ],
)
def test_unlike_runs_are_never_averaged(record: Build, change: dict[str, object]) -> None:
    points = gathered([record(metrics={"x": 1}), record(number=1, metrics={"x": 3}, **change)])
    assert [point.value("x") for point in points] == [1, 3]


def test_a_commit_of_the_users_repository_changes_no_figure(record: Build) -> None:
    runs = [record(number=n, environment={"cpu": "a", "git_commit": str(n)}) for n in range(2)]
    assert len(gathered(runs)) == 1


def test_a_run_without_a_version_joins_the_only_one_that_served_so(record: Build) -> None:
    failed = record(number=1, status="failed", facts=EngineFacts())
    assert len(gathered([record(), failed])) == 1
    other = record(number=2, facts=EngineFacts(version="0.33.0"))
    assert len(gathered([record(), failed, other])) == 3


# ---- names -------------------------------------------------------------------------------------


def test_setups_have_different_labels(record: Build) -> None:
    runs = [
        record("org/model-7b"),
        record("org/model-7b", quantisation="awq"),
        record("org/model-7b", facts=EngineFacts(version="0.33.0")),
        record("other/model-7b"),
        record("simulated", facts=EngineFacts(version="simulated 0.1")),
    ]
    names = [spoken(label) for label in labels(setups_of(runs)).values()]
    assert names == [
        "org/model-7b version 0.32.0",
        "org/model-7b awq",
        "org/model-7b version 0.33.0",
        "other/model-7b",
        "simulated server",
    ]


def test_models_are_abbreviated_as_far_as_they_stay_apart() -> None:
    two = ["mistralai/Mistral-7B-Instruct-v0.2", "meta-llama/Meta-Llama-3-8B-Instruct"]
    assert list(abbreviated(two).values()) == ["Mistral-7B", "Meta-Llama"]
    builds = ["x/Mistral-7B-Instruct-v0.2", "x/Mistral-7B-Instruct-v0.2-AWQ"]
    assert list(abbreviated(builds).values()) == ["Mistral…v0.2", "Mistral…AWQ"]
    alike = ["x/A-b-c-d-z", "x/A-b-c-e-z"]
    assert list(abbreviated(alike).values()) == ["A-b-c-d-z", "A-b-c-e-z"]


# ---- batch -------------------------------------------------------------------------------------


def test_the_knee_is_the_last_batch_before_the_gain_falls(record: Build) -> None:
    (line,) = lines(curve(record, {1: 10, 2: 19, 4: 36, 8: 40, 16: 41}), "batch")
    step = knee.knee(line)
    assert step is not None
    assert (step.before.batch, step.after.batch) == (4, 8)
    assert step.gain == pytest.approx(40 / 36)


def test_the_gain_is_for_a_doubling_however_far_the_step(record: Build) -> None:
    (line,) = lines(curve(record, {1: 10, 16: 10 * 1.5**4}), "batch")
    (step,) = knee.batch_steps(line)
    assert step.gain == pytest.approx(1.5)
    # 2% to either side are 0.884% of standard error each; t(0.975, 14) x 0.884% x sqrt(2) / 4
    assert step.low == pytest.approx(1.5 * math.exp(-0.0067), rel=1e-3)
    assert step.high == pytest.approx(1.5 * math.exp(0.0067), rel=1e-3)
    assert step.goes_on and not step.is_past
    assert knee.knee(line) is None


@pytest.mark.parametrize(
    ("rates", "within", "key"),
    [
        ({1: 10, 2: 19, 4: 36}, 0.02, "knee.none"),
        ({1: 10, 2: 19, 4: 20}, 0.02, "knee.found"),
        ({1: 10, 2: 10.5}, 0.02, "knee.first"),
        ({1: 10, 2: 12.1, 4: 12.3}, 0.02, "knee.latest"),
        ({1: 10, 2: 12.1}, 0.02, "knee.unsure"),
        ({1: 10, 2: 11}, 0.2, "knee.unsure"),
        ({1: 10, 2: 11}, None, "knee.unsure"),
        ({1: 10, 2: 19, 4: 36}, None, "knee.unsure"),
    ],
)
def test_a_knee_is_called_only_where_the_intervals_leave_no_other(
    record: Build, rates: dict[int, float], within: float | None, key: str
) -> None:
    points = curve(record, rates, within)
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    kinds = ("knee.none", "knee.found", "knee.first", "knee.latest", "knee.unsure")
    assert [each for each in keys(section.blocks) if each in kinds] == [key]


def test_an_undecided_knee_says_how_far_the_gain_is_known(record: Build) -> None:
    points = curve(record, {1: 10, 2: 11}, 0.2)
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    text = paragraphs(section.blocks)
    assert "Whether there is a knee up to batch 2 cannot be said" in text
    assert "gives 1.1 (95% interval 0.841 to 1.44) times the throughput" in text


@pytest.mark.parametrize(
    ("readings", "cause"),
    [
        ({"preemptions": 3, "kv_cache_peak_fraction": 0.99}, "cause.preempted"),
        ({"preemptions": 0, "kv_cache_peak_fraction": 0.97}, "cause.full"),
        ({"kv_cache_peak_fraction": 0.4, "server_running_peak": 5}, "cause.queue"),
        ({"kv_cache_peak_fraction": 0.4, "server_running_peak": 8}, "cause.compute"),
        ({}, None),
    ],
)
def test_the_cause_of_a_knee_is_read_from_the_server(
    record: Build, readings: dict[str, float], cause: str | None
) -> None:
    points = curve(record, {1: 10, 4: 36, 8: 37}, **readings)
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    causes = {key for key in keys(section.blocks) if key.startswith("cause.")}
    assert causes == ({cause} if cause else set())


@pytest.mark.parametrize(
    ("batches", "bound"), [((16, 32), "bound by memory"), ((512, 1024), "bound by arithmetic")]
)
def test_a_knee_without_a_queue_is_explained_by_the_roofline(
    record: Build, batches: tuple[int, int], bound: str
) -> None:
    config = dict(find_model("mistralai/Mistral-7B-Instruct-v0.2").config)
    facts = EngineFacts(version="1", config=config, card="NVIDIA L40S", dtype="bfloat16")
    points = gathered(
        record(
            batch=batch,
            number=number,
            facts=facts,
            metrics={
                "output_tokens_per_s": sure(100.0),
                "kv_cache_peak_fraction": 0.4,
                "tpot_s.p50": sure(0.03 * (number + 1)),
                "tpot_floor_s": 0.02,
                "tpot_floor_ratio": 1.5 * (number + 1),
            },
        )
        for number, batch in enumerate(batches)
    )
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    text = paragraphs(section.blocks)
    assert f"A step there takes 2 times as long as at {batches[0]}" in text
    assert bound in text
    assert "at least 20 ms, and it took 3 times that" in text


def test_a_queue_that_takes_much_of_ttft_is_named(record: Build) -> None:
    readings = {"server_waiting_peak": 12.0, "queue_s.p50": 0.3, "ttft_s.p50": 0.4}
    points = curve(record, {4: 40, 8: 41}, **readings)
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    text = paragraphs(section.blocks)
    assert "Up to 12 requests waited" in text
    assert "the median one waited 300 ms, 75% of its TTFT" in text
    points = curve(record, {4: 40, 8: 41}, **{**readings, "queue_s.p50": 0.01})
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    assert "waited in the server's queue at once" not in paragraphs(section.blocks)


def test_no_knee_says_which_batch_to_try(record: Build) -> None:
    points = curve(record, {1: 10, 2: 19, 4: 36})
    section = batching.batching_section(points, places(points), "1-first")
    assert section is not None
    text = paragraphs(section.blocks)
    assert "No knee up to batch 4: each step that was tried (1 to 2, 2 to 4) gave at least" in text
    assert "Batch 8 would show" in paragraphs(section.blocks)


def test_one_batch_says_nothing(record: Build) -> None:
    points = curve(record, {8: 40})
    assert batching.batching_section(points, places(points), "1-first") is None


def test_an_open_loop_says_where_the_server_falls_behind(record: Build) -> None:
    piled = Doubt("falls_behind", {"sentence": "The server fell behind: lower the rate."})

    def prose(*offered: tuple[float, float, float], last: tuple[Doubt, ...] = ()) -> str:
        points = gathered(
            record(
                batch=None,
                rate=rate,
                number=n,
                metrics={
                    "achieved_rate_per_s": sent,
                    "requests_per_s": done,
                    "output_tokens_per_s": 32 * done,
                },
                doubts=last if rate == offered[-1][0] else (),
            )
            for n, (rate, sent, done) in enumerate(offered)
        )
        section = batching.batching_section(points, places(points), "1-first")
        assert section is not None
        return paragraphs(section.blocks)

    low = (1.0, 0.84, 0.83), (2.0, 2.0, 1.98)  # fewer came than on average, and all were answered
    assert "At 4 req/s offered the server answers 2.4 req/s, 60% of it" in prose(
        *low, (4.0, 4.0, 2.4), last=(piled,)
    )
    assert "The server kept up with every rate that was tried, to 2 req/s" in prose(*low)
    few = prose(*low, (4.0, 4.0, 3.1))  # too few requests to tell
    assert "kept up" not in few and "falls behind" not in few
    scheduled = "as the schedule sets it"  # of a server that answers less, it does not
    assert scheduled in prose(*low) and scheduled not in few


def test_rates_that_change_are_no_rate_of_a_line(record: Build) -> None:
    """Their means, which are equal here, were called two rates that the server kept up with."""
    runs = [
        record(
            batch=None,
            rate=30.0,
            number=n,
            load=Load(requests=1800, ramp=ramp),
            metrics={"achieved_rate_per_s": 30.0, "requests_per_s": 29.9},
        )
        for n, ramp in enumerate(("10..50 in 60s", "20..40 in 60s"))
    ]
    points = gathered(runs)
    assert batching.batching_section(points, places(points), "1-first") is None
    english = [spoken(places(points).cell(point)) for point in points]
    assert english == [
        "10..50 in 60s requests/s · 64 prompt tokens",
        "20..40 in 60s requests/s · 64 prompt tokens",
    ]


# ---- prompt length -----------------------------------------------------------------------------


def of_two_lengths(record: Build, **changes: object) -> str:
    """What is said of 64 and 512 + 32 tokens, in blocks of 16 of which one is kept back."""
    given = {"facts": EngineFacts(version="1", block_size=16), **changes}
    points = gathered(
        record(
            prompt_tokens=prompt,
            number=prompt,
            metrics={
                "rss_peak_bytes": sure(3.6 * 2**30, 0.001),
                "kv_cache_peak_bytes": 32.0 * 4 * blocks * 16,
                "kv_pool_bytes": 32.0 * 93184,
                "kv_pool_tokens": 93184,
                "kv_bytes_per_token": 32.0,
                "ttft_s.p50": sure(prompt * 0.001),
            },
            **{"batch": 4, **given},
        )
        for prompt, blocks in ((64, 6), (512, 34))
    )
    section = lengths.lengths_section(points, places(points), "1-first")
    assert section is not None
    return paragraphs(section.blocks)


def test_memory_is_equal_while_the_kv_cache_grows(record: Build) -> None:
    text = of_two_lengths(record)
    assert "At 64 and at 512 prompt tokens the server's resident memory is 3.6 GiB" in text
    assert "96 tokens with the output take 6, 544 take 34" in text
    assert "4 such requests take 12 KiB and 68 KiB, which the readings came to" in text
    assert "so 171 requests of 512 + 32 tokens fit" in text
    assert "1 ms for each further prompt token at batch 4" in text
    assert "a prompt alone costs less" in text


def test_whole_blocks_decide_how_many_requests_fit(record: Build) -> None:
    """Of 93,184 tokens in blocks of 128, 727 can be had; 544 tokens take 5: 145, and not 171."""
    text = of_two_lengths(record, facts=EngineFacts(version="1", block_size=128))
    assert "so 145 requests of 512 + 32 tokens fit" in text
    assert "96 tokens with the output take 1, 544 take 5" in text
    assert "a peak between two readings was missed" in text, "4 x 128 tokens were not seen"
    unknown = of_two_lengths(record, facts=EngineFacts(version="1"))
    assert "so at most 171 requests" in unknown and "blocks" not in unknown


def test_prompts_that_were_read_together_are_said_to_be(record: Build) -> None:
    together = "All 4 streams sent their prompts together"
    assert together in of_two_lengths(record, load=Load(requests=24, convoy=True))
    assert together not in of_two_lengths(record, load=Load(requests=24))
    assert together in of_two_lengths(record, doubts=(Doubt("in_step", {}, "flag"),))


# ---- predictions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("ttft_s_p50", "ttft_s.p50"),
        ("e2e_s_mean", "e2e_s.mean"),
        ("tpot_s", "tpot_s.p50"),
        ("output_tokens_per_s", "output_tokens_per_s"),
    ],
)
def test_a_prediction_means_a_metric(key: str, name: str) -> None:
    assert metric_of_key(key) == name


def asked(record: Build, figure: Figure, **changes: Any) -> list[tuple[str, ...]]:
    """The rows of the section on predictions and claims, in English, for two batches alike."""
    runs = [record(batch=n, number=n, metrics={"ttft_s.p50": figure}) for n in (1, 2)]
    points = gathered(runs)
    section = predictions.predictions_section(
        Experiment(name="e", **changes), points, places(points)
    )
    assert section is not None
    tables = [block for block in section.blocks if block.kind == "table"]
    return [tuple(spoken(box.text) for box in row) for table in tables for row in table.rows]


@pytest.mark.parametrize(
    ("predicted", "verdict"),
    [
        (0.1, "supported"),
        (0.109, "not established: repeats would decide, about 2 more of each cell"),
        (0.12, "refuted"),
        (0, "refuted"),
    ],
)
def test_a_prediction_is_judged(record: Build, predicted: float, verdict: str) -> None:
    ((key, *_, said),) = asked(record, sure(0.1), predict={"ttft_s_p50": predicted})
    assert (key, said) == ("ttft_s_p50", verdict)


def test_a_claim_is_judged_in_words(record: Build) -> None:
    claims = (
        Claim(metric="ttft_s", over="batch", behaves="flat"),
        Claim(metric="ttft_s", behaves="at_most", value=0.05, at={"batch": 2}),
        Claim(metric="ttft_s", over="batch", behaves="grows", growth="linear"),
    )
    assert asked(record, sure(0.1), claims=claims) == [
        (
            "ttft_s.p50 stays flat over batch, within 10%",
            "1 (0.974 to 1.03) times, from 1 to 2",
            "supported",
        ),
        ("ttft_s.p50 is at most 50 ms; at batch 2", "100 ms (98 ms to 102 ms)", "refuted"),
        (
            "ttft_s.p50 grows in step with batch, exponent within 10% of 1",
            "exponent 0 (-0.0387 to 0.0387)",
            "refuted",
        ),
    ]


def test_words_alone_are_not_judged(record: Build) -> None:
    points = gathered([record()])
    named = places(points)
    bare = Experiment(name="e", hypothesis="It is fast.")
    section = predictions.predictions_section(bare, points, named)
    assert section is not None
    assert keys(section.blocks) == {"predict.none"}
    assert predictions.predictions_section(replace(bare, hypothesis=" "), points, named) is None


# ---- side by side ------------------------------------------------------------------------------


def said_of(record: Build, first: list[float], second: list[float]) -> set[str]:
    runs = [
        record(model, repeat=n, number=n, metrics={"output_tokens_per_s": value})
        for model, values in (("a", first), ("b", second))
        for n, value in enumerate(values)
    ]
    points = gathered(runs)
    section = sidebyside.side_by_side_section(points, places(points), NOWHERE)
    assert section is not None
    return keys(section.blocks)


def test_a_difference_is_said_only_beyond_the_noise(record: Build) -> None:
    assert "compare.throughput" in said_of(record, [10, 10.1, 9.9], [12, 12.1, 11.9])
    assert "compare.open" in said_of(record, [10, 12, 8], [12, 10, 13])
    assert "compare.equal" in said_of(record, [10, 10.01, 9.99], [10.02, 9.98, 10])
    assert "compare.unknown" in said_of(record, [10], [12])
    assert "compare.repeat" in said_of(record, [10], [12])


def test_a_difference_among_many_equal_cells_may_be_chance(record: Build) -> None:
    """The cell that is described is the one of the greatest load."""
    equal, apart = ([10, 10.1, 9.9], [10, 10.1, 9.9]), ([10, 10.1, 9.9], [10.3, 10.4, 10.16])
    cells = [*[equal] * 9, apart]
    runs = [
        record(model, 2**n, repeat=repeat, number=repeat, metrics={"output_tokens_per_s": value})
        for n, sides in enumerate(cells)
        for model, values in zip("ab", sides, strict=True)
        for repeat, value in enumerate(values)
    ]
    for chosen, said in ((runs, "compare.maybe"), (runs[-6:], "compare.throughput")):
        points = gathered(chosen)
        section = sidebyside.side_by_side_section(points, places(points), NOWHERE)
        assert section is not None
        assert said in keys(section.blocks)


def test_ratios_are_of_the_figures_that_are_shown(record: Build) -> None:
    runs = [
        record(model, metrics={"kv_cache_peak_fraction": share, "kv_cache_peak_bytes": 200})
        for model, share in (("a", 0.2), ("b", 0.1))
    ]
    points = gathered(runs)
    section = sidebyside.side_by_side_section(points, places(points), NOWHERE)
    assert section is not None
    table = next(block for block in section.blocks if block.kind == "table")
    assert [(spoken(box.text), box.detail) for box in table.rows[1][-2:]] == [
        ("200", "×1"),
        ("10", "×0.5"),
    ]


def side_by_side(record: Build, a: dict[str, float], b: dict[str, float]) -> tuple[str, set[str]]:
    """What is said of model b against model a, and the columns of their table."""
    runs = [
        record(model, number=n, metrics=each)
        for n, (model, each) in enumerate(zip("ab", (a, b), strict=True))
    ]
    points = gathered(runs)
    section = sidebyside.side_by_side_section(points, places(points), NOWHERE)
    assert section is not None
    table = next(block for block in section.blocks if block.kind == "table")
    return paragraphs(section.blocks), {spoken(column.title) for column in table.columns}


def test_models_whose_tokens_carry_different_text_are_compared_in_text_too(record: Build) -> None:
    first = {"output_tokens_per_s": 100.0, "characters_per_s": 400.0}
    second = {"output_tokens_per_s": 110.0, "characters_per_s": 352.0}
    text, columns = side_by_side(record, first, second)
    assert "throughput, which has no interval here: 110 tok/s against 100 tok/s, 1.1 times" in text
    assert "an output token carries 3.2 characters against 4." in text
    assert "throughput in text, which has no interval here: 352 chars/s against 400" in text
    assert "output, text, chars/s" in columns
    text, columns = side_by_side(record, first, {**second, "characters_per_s": 441.0})
    assert "in text" not in text, "3% is within what texts differ by"
    assert "output, text, chars/s" not in columns


def test_one_model_is_not_compared_in_text(record: Build) -> None:
    figures = {"output_tokens_per_s": 100.0, "characters_per_s": 400.0}
    runs = [
        record("a", number=n, quantisation=kind, metrics={**figures, "characters_per_s": text})
        for n, (kind, text) in enumerate(((None, 400.0), ("awq", 300.0)))
    ]
    points = gathered(runs)
    section = sidebyside.side_by_side_section(points, places(points), NOWHERE)
    assert section is not None
    assert "characters" not in paragraphs(section.blocks)


def test_memory_energy_and_price_stand_beside_the_speed(record: Build) -> None:
    figures = {
        "vram_peak_bytes": 2.0**30,
        "energy_per_output_token_j": 2.0,
        "usd_per_million_output_tokens": 1.5,
    }
    text, columns = side_by_side(record, figures, {name: v * 2 for name, v in figures.items()})
    assert "VRAM in use, peak: 2 GiB against 1 GiB." in text
    assert "energy per token, which has no interval here: 4 J against 2 J, 2 times" in text
    assert "a million output tokens, which has no interval here: 3 USD against 1.5 USD" in text
    assert {"energy, J/tok", "price, USD/Mtok"} <= columns


def test_models_that_share_no_cell_are_not_compared(record: Build) -> None:
    points = gathered([record("a", batch=1), record("b", batch=2)])
    assert sidebyside.side_by_side_section(points, places(points), NOWHERE) is None


def test_a_batch_that_stops_fitting_is_named(record: Build) -> None:
    def prose(**changes: object) -> str:
        given = {"facts": EngineFacts(block_size=16), "batch": 4, **changes}
        figures = {"kv_pool_tokens": 10_000, "kv_pool_bytes": 2**30}
        runs = [record(**given, prompt_tokens=n, metrics=figures) for n in (64, 128)]
        section = lengths.lengths_section(gathered(runs), places(gathered(runs)), "x")
        return paragraphs(section.blocks) if section else ""

    # 10,000 tokens for 4 requests: 156 blocks of 16 for each, of which 32 tokens are output
    assert "At batch 4 they stop fitting at prompts of more than 2,464 tokens" in prose()
    small = Engine(model="m", max_model_len=1024)
    assert "the longest context, 1,024 tokens, ends before the pool does" in prose(engine=small)
    assert "At batch" not in prose(batch=None, rate=2.0)


# ---- lessons and failures ----------------------------------------------------------------------


def test_a_simulated_server_teaches_nothing_of_models(record: Build) -> None:
    real = curve(record, {1: 10, 2: 19})
    assert lessons.lessons_section(real, places(real)) is not None
    runs = [r for p in real for r in p.records]
    fake = gathered(replace(r, facts=EngineFacts(version="simulated 0.1")) for r in runs)
    assert lessons.lessons_section(fake, places(fake)) is None


def test_failures_of_one_cause_stand_together_with_the_sizes(record: Build) -> None:
    failed = [
        record(batch=batch, prompt_tokens=8000, number=batch, status="failed", error="too long")
        for batch in (1, 2)
    ]
    points = gathered([*failed, record(prompt_tokens=64)])
    section = failures.failures_section(points, places(points))
    assert section is not None
    text = paragraphs(section.blocks)
    assert "Failed: batch 1 · 8,000 prompt tokens, batch 2 · 8,000 prompt tokens." in text
    assert "needs 8,032 tokens of context; the server was started for 4,096" in text
    words = [block.lines for block in section.blocks if block.kind == "verbatim"]
    assert words == [(Spoken("too long"),)]


def test_a_cell_that_was_tried_again_and_measured_is_no_failure(record: Build) -> None:
    gone = {"status": "interrupted", "error": "stopped after 3 of 26 requests", "identity": "ab"}
    stopped = record(number=0, **gone)
    good = record(number=1, identity="ab", metrics={"ttft_s.p50": 0.1})
    other = record(number=2, identity="cd", metrics={"ttft_s.p50": 0.1}, batch=2)
    for records, is_failure in (
        ([stopped, good], False),
        ([stopped, other], True),
        ([stopped, replace(good, experiment_id="e2")], True),
    ):
        points = gathered(records)
        assert (failures.failures_section(points, places(points)) is not None) is is_failure


def test_a_model_that_does_not_fit_has_its_sizes_and_the_engines_words(
    record: Build,
) -> None:
    last_words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 112.00 MiB."
    name = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    config = dict(find_model(name).config)
    facts = EngineFacts(config=config, last_words=last_words)
    points = gathered(
        [record(name, prompt_tokens=4064, status="failed", error="out of memory", facts=facts)]
    )
    section = failures.failures_section(points, places(points))
    assert section is not None
    text = paragraphs(section.blocks)
    assert "The weights need 87 GiB, and the GPU has 48 GiB." in text
    assert "A request of 4,096 tokens takes 512 MiB of KV cache on each GPU." in text
    verbatim = [block.lines for block in section.blocks if block.kind == "verbatim"]
    assert verbatim == [(Spoken("out of memory"),), (last_words,)]


def test_the_reason_why_a_run_is_not_believed_is_said(record: Build) -> None:
    doubt = Doubt("errors", {"sentence": "Too many failed: look at the log."}, "invalid")
    points = gathered([record(status="invalid", doubts=(doubt,))])
    section = failures.failures_section(points, places(points))
    assert section is not None
    assert section.blocks[-1] == Verbatim((doubt,))


# ---- the page ----------------------------------------------------------------------------------


def section_of(whole: Page, key: str) -> Section:
    return next(
        section
        for section in whole.sections
        if isinstance(section.heading, Sentence) and section.heading.key == key
    )


def test_doubts_are_marked_once_for_each_rule(
    record: Build, day_of: Callable[..., Day], experiment: Callable[..., ExperimentRecord]
) -> None:
    flag, note = (
        Doubt("drift", {"sentence": "It drifts: wait."}, "flag"),
        Doubt("none", {"sentence": "No meter."}, "note"),
    )
    runs = [
        record(batch=1, number=1, status="flagged", doubts=(note, flag), metrics={"errors": 0}),
        record(batch=2, number=2, doubts=(note,)),
    ]
    cells = section_of(log_page(day_of(runs)), "cells.heading")
    table, notes = cells.blocks
    assert table.kind == "table"
    assert notes.kind == "bullets"
    assert notes.marks == ("a", "b")
    assert [spoken(item) for item in notes.items] == [
        "drift: It drifts: wait. (batch 1 · 64 prompt tokens)",
        "none: No meter. (every cell)",
    ]
    assert [row[-1].mark for row in table.rows] == ["a b", "b"]


def test_an_experiment_without_runs_still_has_its_question(
    day_of: Callable[..., Day], experiment: Callable[..., ExperimentRecord]
) -> None:
    whole = log_page(day_of([], experiment(question="Does it start?")))
    assert words("en").paragraph(whole.lead, str) == "1 experiment began, and no cell was run."
    section, *places = whole.sections
    assert whole.first == ()
    assert [block.kind for each in places for block in each.blocks] == ["own", "own"]
    assert section.blocks[0].text == "Does it start?"  # type: ignore[union-attr]
