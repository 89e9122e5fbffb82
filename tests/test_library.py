"""`import journal` does in a script whatever `journal run` does."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import journal
from journal.records.progress import Event


def test_every_public_name_is_there_and_nothing_else_is() -> None:
    assert all(getattr(journal, name) is not None for name in journal.__all__)
    assert set(journal.__all__) <= set(dir(journal))
    assert not hasattr(journal, "no_such_name")


def test_import_costs_next_to_nothing() -> None:
    code = "import sys, journal; print(len([m for m in sys.modules if m.startswith('journal')]))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "1"


def test_a_run_from_a_script(fake_server: Callable[..., str], tmp_path: Path) -> None:
    server = journal.attach(fake_server(ttft_s=0.02, itl_s=0.002))
    experiment = journal.Experiment(
        name="script",
        question="Does it work?",
        grid=journal.Grid(batch=(1, 4), prompt_tokens=(16,), output_tokens=(8,)),
        load=journal.Load(requests=12, repeats=2),
    )
    events: list[Event] = []
    result = journal.run(experiment, tmp_path, endpoint=server, listener=events.append)
    assert result.ok
    assert [(r.cell.batch, r.cell.repeat) for r in result.records] == [
        (1, 0),
        (4, 0),
        (1, 1),
        (4, 1),
    ]
    assert result.log.html.is_file()
    assert result.experiment.status == "done"
    assert result.experiment.experiment == experiment
    assert {event.stage for event in events} >= {"cell", "record", "log"}
    with journal.open_store(tmp_path) as store:
        for record in result.records:
            samples = store.samples(record.id)
            assert samples is not None
            assert len(samples.traces) == 12 + 2
            assert sum(trace.warmup for trace in samples.traces) == 2
            assert record == store.run(record.id)
    assert journal.recompute(tmp_path) == ()


def test_an_endpoint_is_measured_whatever_engine_an_experiment_names(
    fake_server: Callable[..., str], tmp_path: Path
) -> None:
    server = journal.attach(fake_server(ttft_s=0.0, itl_s=0.0))
    grid = journal.Grid(prompt_tokens=(4,), output_tokens=(2,))
    named = journal.load_experiment("quickstart")
    result = journal.run(replace(named, grid=grid), tmp_path, endpoint=server)
    assert [record.cell.model for record in result.records] == ["simulated-model"]
    assert result.experiment.experiment.engines == ()
