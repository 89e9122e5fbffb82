"""The curves that MLflow draws, from records alone."""

from builders import a_record

from journal.records.experiment import Engine
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
    drawn = [point for point in curves(runs, several_outputs=False) if "trade_off" in point.name]
    assert {point.name for point in drawn} == {"trade_off p64 o32/tokens_per_s_of_a_gpu"}
    assert [(point.step, point.value) for point in drawn] == [(40, 80.0), (50, 25.0)]
    assert not [p for p in curves(runs[:1], several_outputs=False) if "trade_off" in p.name]
