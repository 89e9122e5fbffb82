"""The curves that MLflow draws, from records alone."""

import pytest
from builders import a_record

from journal.records.experiment import Engine
from journal.records.workload import Workload
from journal.tracking.mlflow_curves import curves


def test_the_trade_off_is_a_curve_over_the_tokens_of_one_user() -> None:
    runs = [
        a_record(
            batch=batch,
            number=batch,
            engine=Engine(model="m", tensor_parallel=2),
            metrics={"output_tokens_per_s": rate, "tpot_s.p50": batch / rate},
        )
        for batch, rate in ((1, 50.0), (4, 160.0))
    ]
    drawn = [
        point for point in curves(runs, several_outputs=False) if point.name.startswith("GPU/")
    ]
    assert {point.name for point in drawn} == {
        "GPU/p64 o32 by tokens of a user: tokens_per_s_of_a_gpu"
    }
    assert [(point.step, point.value) for point in drawn] == [(40, 80.0), (50, 25.0)]
    assert not [p for p in curves(runs[:1], several_outputs=False) if p.name.startswith("GPU/")]


def test_conversations_have_curves_over_the_turn_and_the_means_of_repeats() -> None:
    talk = Workload(turns=3)
    runs = [
        a_record(
            batch=2,
            number=repeat,
            workload=talk,
            metrics={
                **{f"turn_ttft_s.{turn}": 0.1 * turn + 0.02 * repeat for turn in (1, 2, 3)},
                **{f"turn_hit_fraction.{turn}": 0.3 * turn for turn in (2, 3)},
            },
        )
        for repeat in (0, 1)
    ]
    drawn = [one for one in curves(runs, several_outputs=False) if " by turn: " in one.name]
    ttft, hits = (
        {one.step: one.value for one in drawn if one.name.endswith(f"/u2 p64 o32 by turn: {name}")}
        for name in ("turn_ttft_s", "turn_hit_fraction")
    )
    assert ttft == pytest.approx({1: 0.11, 2: 0.21, 3: 0.31})
    assert hits == pytest.approx({2: 0.6, 3: 0.9})
    assert len(drawn) == 5
    alone = [a_record(number=2, metrics={"turn_ttft_s.1": 0.1})]
    assert not [one for one in curves(alone, several_outputs=False) if " by turn: " in one.name]


def test_cells_that_share_a_prefix_are_a_curve_over_the_hit_rate_asked() -> None:
    runs = [
        a_record(
            number=number,
            workload=Workload(shared_prefix=shared),
            metrics={"ttft_s.p50": ttft_s, **asked},
        )
        for number, (shared, ttft_s, asked) in enumerate(
            (
                (0, 0.4, {}),
                (32, 0.2, {"prefix_hit_asked_fraction": 0.5}),
                (58, 0.06, {"prefix_hit_asked_fraction": 0.9}),
                (58, 0.08, {"prefix_hit_asked_fraction": 0.9}),
            )
        )
    ]
    drawn = [one for one in curves(runs, several_outputs=False) if " by hit percent: " in one.name]
    assert {one.name for one in drawn} == {"TTFT/b1 p64 o32 by hit percent: ttft_s_p50"}
    assert {one.step: one.value for one in drawn} == pytest.approx({0: 0.4, 50: 0.2, 90: 0.07})
    alone = curves(runs[:1], several_outputs=False)
    assert not [one for one in alone if " by hit percent: " in one.name]
