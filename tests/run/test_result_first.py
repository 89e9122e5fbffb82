"""The result of a run is there before MLflow is told, which may be interrupted."""

from collections.abc import Callable
from pathlib import Path

import pytest

import journal
from journal.records.experiment import Experiment
from journal.records.progress import Event
from journal.run.stages import Result

Server = Callable[..., str]
SMALL = Experiment(
    name="small",
    grid=journal.Grid(batch=(1,), prompt_tokens=(4,), output_tokens=(2,)),
    load=journal.Load(requests=6, warmup=1),
)


def test_the_result_is_stored_and_in_the_log_before_mlflow_is_told(
    fake_server: Server, tmp_path: Path
) -> None:
    order: list[str] = []

    def on_result(result: Result) -> None:
        order.append("result")
        assert result.log.markdown.is_file()
        with journal.open_store(tmp_path) as store:
            assert [run.id for run in store.runs()] == [run.id for run in result.records]

    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    result = journal.run(
        SMALL,
        tmp_path,
        endpoint=endpoint,
        listener=lambda event: order.append(event.stage),
        on_result=on_result,
    )
    assert order[-3:] == ["log", "result", "tracking"]
    assert "Connection refused" in str(result.tracking_error)


@pytest.mark.mlflow
def test_an_interrupt_while_mlflow_is_told_leaves_it_to_sync(
    fake_server: Server, tmp_path: Path
) -> None:
    def listener(event: Event) -> None:
        if event.stage == "tracking":
            raise KeyboardInterrupt

    endpoint = journal.attach(fake_server(itl_s=0.001, ttft_s=0.01))
    result = journal.run(SMALL, tmp_path, endpoint=endpoint, listener=listener)
    assert result.ok
    assert "journal sync" in str(result.tracking_error)
    with journal.open_store(tmp_path) as store:
        assert [run.id for run in store.pending()[1]] == [run.id for run in result.records]
