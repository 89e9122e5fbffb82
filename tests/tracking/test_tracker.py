"""MLflow has the records of the journal, once, however often and after any error they are sent."""

import dataclasses
import http.server
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.records.figure import Figure
from journal.records.progress import Event
from journal.records.run import ExperimentRecord, Record
from journal.store.store import Store
from journal.tracking import tracker as tracking
from journal.tracking.mlflow_curves import searched
from journal.tracking.tracker import Tracker, sync, tracking_uri

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),  # MLflow's own code
]

NewRecord = Callable[..., Record]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def home(tmp_path: Path, mlflow_template: Path) -> Path:
    (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    return tmp_path


def client(home: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri(home))


def runs_there(home: Path, name: str = "first") -> list[Any]:
    """MLflow's runs of an experiment, oldest first."""
    mlflow = client(home)
    experiment = mlflow.get_experiment_by_name(name)
    return list(mlflow.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


def test_an_experiment_is_a_parent_and_its_runs_are_children(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    record = new_record(environment={"git_commit": "abc", "gpu_0_name": "H100"})
    (home / "log.md").write_text("# Today")
    with Tracker(store, home) as tracker:
        store.add_run(record, None)
        assert tracker.log(record)
        assert [run.info.status for run in runs_there(home)] == ["RUNNING", "FINISHED"]
        ended = store.end_experiment(begun.id, "done", record.started_at)
        assert tracker.finish(ended, [home / "log.md"])
    parent, child = runs_there(home)
    assert parent.info.status == child.info.status == "FINISHED"
    assert parent.info.run_name == "first 2026-03-01 09:00"
    assert child.info.run_name == "tiny awq b8 p64 o4"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["journal.id"] == record.id
    assert child.data.tags["mlflow.source.git.commit"] == "abc"
    assert child.data.tags["gpu"] == "H100"
    assert child.data.tags["status"] == "flagged"
    assert child.data.tags["doubts"] == "2"
    unworded, worded = child.data.tags["mlflow.note.content"].splitlines()[:2]
    assert unworded.startswith('- few-samples: {"requests": 2,')
    assert worded == "- It was on: switch it off."
    assert "Why?" in parent.data.tags["mlflow.note.content"]
    assert child.data.params == {
        "model": "tiny",
        "quantisation": "awq",
        "dtype": "float16",
        "tensor_parallel": "1",
        "pipeline_parallel": "1",
        "max_model_len": "none",
        "batch": "8",
        "rate": "none",
        "prompt_tokens": "64",
        "output_tokens": "4",
        "requests": "3",
        "convoy": "False",
        "length_spread": "0.0",
        "ramp": "none",
        "duration_s": "none",
        "abandon_after_s": "none",
        "repeat": "1",
        "seed": str(2**40),
        "workload": "random tokens",
    }
    assert child.data.metrics == {"latency/ttft_s_p50": 0.1}
    assert child.info.start_time == round(record.started_at.timestamp() * 1000)
    assert child.info.end_time - child.info.start_time == 250
    assert [file.path for file in client(home).list_artifacts(parent.info.run_id)] == ["log.md"]
    assert parent.info.artifact_uri.startswith((home / "mlflow-artifacts").as_uri())
    assert store.pending() == ([], [])
    assert store.run(record.id).mlflow_run_id == child.info.run_id
    assert store.experiment(begun.id).mlflow_run_id == parent.info.run_id


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("valid", "FINISHED"),
        ("flagged", "FINISHED"),
        ("invalid", "FAILED"),
        ("failed", "FAILED"),
        ("interrupted", "KILLED"),
    ],
)
def test_the_status_is_true(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord, ours: str, theirs: str
) -> None:
    record = new_record(status=ours, error="engine died", metrics={})
    store.add_run(record, None)
    with Tracker(store, home) as tracker:
        assert tracker.log(record)
        # Left without a word on how the experiment ended: the parent tells what the store says.
        store.end_experiment(begun.id, "interrupted", record.started_at)
    parent, child = runs_there(home)
    assert child.info.status == theirs
    assert child.data.tags["mlflow.note.content"].startswith("- engine died")
    assert parent.info.status == "KILLED"


def measured(
    new_record: NewRecord, tried: list[tuple[Engine, int, int, float | None]], **changes: object
) -> list[Record]:
    """A run of each engine, batch and prompt length, with this TTFT."""
    cell = new_record().cell
    cells = [
        dataclasses.replace(
            cell, engine=engine, model=engine.model, batch=batch, prompt_tokens=prompt
        )
        for engine, batch, prompt, _ in tried
    ]
    return [
        new_record(
            cell=one,
            metrics={"ttft_s.p50": Figure(ttft), "e2e_s.p99": Figure(9.0)},
            status="valid",
            **changes,
        )
        for one, (*_, ttft) in zip(cells, tried, strict=True)
    ]


def curve(home: Path, run: Any, name: str) -> list[tuple[int, float]]:
    points = client(home).get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def test_curves_stand_on_the_parent(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    tiny = Engine(model="tiny")
    tried = [(tiny, 1, 16, 0.1), (tiny, 2, 16, 0.2), (tiny, 2, 16, 0.4), (tiny, 4, 16, None)]
    for record in measured(new_record, [*tried, (tiny, 2, 64, 0.8)]):
        store.add_run(record, None)
    store.add_run(new_record(status="invalid"), None)
    assert Tracker(store, home).finish(begun)
    (parent,) = runs_there(home)
    assert set(parent.data.metrics) == {
        "TTFT/p16 by batch: ttft_s_p50",
        "TTFT/b2 by prompt: ttft_s_p50",
        "engine/weights_bytes",
        "least/ttft_s_p50",
    }
    assert curve(home, parent, "TTFT/p16 by batch: ttft_s_p50") == [
        (1, 0.1),
        (2, pytest.approx(0.3)),
    ]
    by_prompt = curve(home, parent, "TTFT/b2 by prompt: ttft_s_p50")
    assert by_prompt == [(16, pytest.approx(0.3)), (64, 0.8)]
    assert parent.data.tags["model"] == "tiny"
    assert parent.data.params["requests"] == "24"


def test_what_a_search_found_stands_on_the_parent(
    store: Store, home: Path, new_record: NewRecord
) -> None:
    slo = Slo(ttft_ms=200.0, good_fraction=0.9)
    searching = Experiment(name="search", find_capacity="rate", slo=slo)
    begun = store.begin_experiment(searching, new_record().started_at, {})
    tried = [(None, 1.0), (2.0, 1.0), (2.0, 1.0), (4.0, 0.99), (4.0, 0.99), (8.0, 0.5)]
    with Tracker(store, home) as tracker:
        for identity, (rate, good) in zip("abcdef", tried, strict=True):
            cell = dataclasses.replace(
                new_record().cell, experiment="search", slo=slo, load=Load(requests=24)
            )
            batch = 1 if rate is None else None
            cell = dataclasses.replace(cell, identity=identity, rate=rate, batch=batch)
            metrics = {"good_fraction": Figure(good, count=400)}
            record = new_record(cell=cell, experiment_id=begun.id, metrics=metrics, doubts=())
            store.add_run(record, None)
            assert tracker.log(record), tracker.error
        assert tracker.finish(store.end_experiment(begun.id, "done", begun.started_at))
    parent, *runs = sorted(
        runs_there(home, "search"), key=lambda run: run.data.tags["journal.level"] == "cell"
    )
    capacities = {name: value for name, value in parent.data.metrics.items() if "capacity/" in name}
    assert capacities == {
        "capacity/highest_held_requests_per_s": 4.0,
        "capacity/highest_held_good_fraction": 0.99,
        "capacity/lowest_beyond_requests_per_s": 8.0,
        "capacity/lowest_beyond_good_fraction": 0.5,
        "capacity/breaks_from_requests_per_s": 8.0,
    }
    assert all(run.data.params.keys() == parent.data.params.keys() for run in runs)
    assert parent.data.params["slo_ttft_ms"] == "200.0"
    assert parent.data.params["slo_good_fraction"] == "0.9"
    assert parent.data.params["rate"] == "searched"


def test_searches_at_several_lengths_have_names_of_their_own(new_record: NewRecord) -> None:
    slo = Slo(ttft_ms=200.0)
    searching = Experiment(name="search", find_capacity="concurrency", slo=slo)
    runs = []
    for prompt, batch, repeat in ((16, 4, 1), (16, 4, 2), (512, 2, 1), (512, 2, 2)):
        cell = dataclasses.replace(
            new_record().cell,
            prompt_tokens=prompt,
            batch=batch,
            slo=slo,
            load=Load(requests=200),
            identity=f"{prompt} {repeat}",
        )
        metrics = {"good_fraction": Figure(1.0, count=200)}
        runs.append(new_record(cell=cell, metrics=metrics, doubts=()))
    assert [(point.name, point.value) for point in searched(searching, runs)] == [
        ("capacity/p16_o4_highest_held_requests_in_flight", 4.0),
        ("capacity/p16_o4_highest_held_good_fraction", 1.0),
        ("capacity/p512_o4_highest_held_requests_in_flight", 2.0),
        ("capacity/p512_o4_highest_held_good_fraction", 1.0),
    ]


@pytest.fixture
def of_two(store: Store, begun: ExperimentRecord) -> tuple[ExperimentRecord, Engine, Engine]:
    """An experiment that compares two engines, one of which is given a secret."""
    first = Engine(model="org/a", env={"HF_TOKEN": "s3cret"})
    second = Engine(model="b", quantisation="awq", python="/elsewhere/python")
    searching = Experiment(
        name="two", engines=(first, second), grid=Grid(batch=(1, 2), prompt_tokens=(16,))
    )
    return (
        store.begin_experiment(searching, begun.started_at, {"gpu_0_name": "H100"}),
        first,
        second,
    )


def test_engines_that_are_compared_are_runs_between_with_one_name_for_each_curve(
    store: Store,
    home: Path,
    new_record: NewRecord,
    of_two: tuple[ExperimentRecord, Engine, Engine],
) -> None:
    begun, first, second = of_two
    tried = [(first, 1, 16, 0.1), (second, 1, 16, 0.2), (first, 2, 16, 0.3), (second, 2, 16, 0.4)]
    with Tracker(store, home) as tracker:
        for record in measured(new_record, tried, experiment_id=begun.id):
            cell = dataclasses.replace(record.cell, experiment="two")
            record = dataclasses.replace(record, cell=cell)
            store.add_run(record, None)
            assert tracker.log(record), tracker.error
        ended = store.end_experiment(begun.id, "done", record.started_at)
        assert tracker.finish(ended, summary="What came of it.")
    runs = {level: [] for level in ("experiment", "engine", "cell")}
    for run in runs_there(home, "two"):
        runs[run.data.tags["journal.level"]].append(run)
    (parent,), engines = runs["experiment"], runs["engine"]
    assert [run.info.run_name for run in engines] == ["a", "b awq"]
    assert {run.data.tags["mlflow.parentRunId"] for run in engines} == {parent.info.run_id}
    assert len(runs["cell"]) == 4
    for run, values in zip(engines, ((0.1, 0.3), (0.2, 0.4)), strict=True):
        name = "TTFT/p16 by batch: ttft_s_p50"
        assert curve(home, run, name) == [(1, values[0]), (2, values[1])]
        assert run.data.metrics["least/ttft_s_p50"] == values[0]
        own = [c for c in runs["cell"] if c.data.tags["mlflow.parentRunId"] == run.info.run_id]
        assert [c.data.params["batch"] for c in own] == ["1", "2"]
        assert {c.data.params["model"] for c in own} == {run.data.params["model"]}
        assert run.data.params.keys() == parent.data.params.keys() == own[0].data.params.keys()
        assert run.data.params["batch"] == "1, 2"
        assert run.data.tags["gpu"] == "H100"
        assert run.info.status == "FINISHED"
    assert {name: parent.data.metrics[name] for name in parent.data.metrics if "ttft" in name} == {
        "least/ttft_s_p50/1 a": 0.1,
        "least/ttft_s_p50/2 b awq": 0.2,
    }
    link, text = parent.data.tags["mlflow.note.content"].split("\n\n")
    known = store.experiment(begun.id)
    assert text == "What came of it."
    assert f"(#/experiments/{known.mlflow_experiment_id}/runs?" in link
    assert begun.id in link
    assert "s3cret" not in str([run.to_dictionary() for run in runs_there(home, "two")])


def test_curves_that_change_are_drawn_anew_and_not_over_the_old(
    store: Store,
    home: Path,
    new_record: NewRecord,
    of_two: tuple[ExperimentRecord, Engine, Engine],
) -> None:
    begun, first, second = of_two
    tried = [(engine, batch, 16, 0.1) for engine in (first, second) for batch in (1, 2)]
    states: list[dict[str, Any]] = []
    for more in (tried, [(first, 2, 16, 0.5)]):  # a repeat that came with a resumed experiment
        for record in measured(new_record, more, experiment_id=begun.id):
            cell = dataclasses.replace(record.cell, experiment="two")
            store.add_run(dataclasses.replace(record, cell=cell), None)
        report = sync(store, home)
        assert report.failed == 0, report.reason
        states.append({run.info.run_name: run for run in runs_there(home, "two")})
    old, new = (one["a"] for one in states)
    same, still = (one["b awq"] for one in states)
    assert same.info.run_id == still.info.run_id
    assert curve(home, new, "TTFT/p16 by batch: ttft_s_p50") == [(1, 0.1), (2, pytest.approx(0.3))]
    parents = [r.data.tags.get("mlflow.parentRunId") for r in runs_there(home, "two")]
    assert parents.count(new.info.run_id) == 3
    assert old.info.run_id not in parents


def test_an_engine_that_did_not_start_is_one_run_however_many_cells_it_was_for(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    cell = dataclasses.replace(new_record().cell, engine=Engine(model="m"))
    lost = {"status": "failed", "duration_s": 0.0, "metrics": {}, "doubts": ()}
    starts = [EngineFacts(log_path=name) for name in ("a.log", "b.log")]
    tracker = Tracker(store, home)
    for facts in starts:
        for _ in range(3):
            record = new_record(cell=cell, facts=facts, error="it lacks memory", **lost)
            store.add_run(record, None)
            assert tracker.log(record)
    assert sync(store, home).failed == 0
    _, *there = runs_there(home)
    assert [run.info.run_name for run in there] == ["failed start", "failed start"]
    assert {run.info.status for run in there} == {"FAILED"}
    kept = {run.mlflow_run_id for run in store.runs()}
    assert kept == {run.info.run_id for run in there}


def test_telling_twice_changes_nothing(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    record = new_record()
    store.add_run(record, None)
    first, again = Tracker(store, home), Tracker(store, home)
    assert first.log(record) and first.finish(begun)
    before = runs_there(home)
    assert again.log(record) and again.finish(begun)
    assert [run.to_dictionary() for run in runs_there(home)] == [
        run.to_dictionary() for run in before
    ]
    child = before[1].info.run_id
    assert len(client(home).get_metric_history(child, "latency/ttft_s_p50")) == 1


def test_a_crash_after_the_run_was_created_leaves_no_double(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    record = new_record()
    store.add_run(record, None)
    Tracker(store, home).finish(begun)
    mlflow = client(home)
    experiment = mlflow.get_experiment_by_name("first").experiment_id
    half = mlflow.create_run(experiment, tags={"journal.id": record.id}, run_name="half")
    mlflow.log_param(half.info.run_id, "batch", 8)
    report = sync(store, home)
    assert (report.logged, report.failed, report.reason) == (2, 0, None)
    assert store.run(record.id).mlflow_run_id == half.info.run_id
    (child,) = (run for run in runs_there(home) if "journal.identity" in run.data.tags)
    assert child.info.status == "FINISHED"
    assert child.data.params["prompt_tokens"] == "64"


def test_a_recomputed_run_is_corrected_in_place(
    store: Store, home: Path, new_record: NewRecord
) -> None:
    record = new_record(metrics={"ttft_s.p50": Figure(2.0), "e2e_s.p50": Figure(3.0)})
    store.add_run(record, None)
    assert sync(store, home).logged == 2
    store.replace_summary(record.id, {"ttft_s.p50": Figure(1.0)}, (), "valid")
    events: list[Event] = []
    assert sync(store, home, events.append).logged == 2
    assert [(event.done, event.total) for event in events] == [(0, 2), (1, 2)]
    _, child = runs_there(home)
    assert child.info.run_id == store.run(record.id).mlflow_run_id
    assert child.data.metrics["latency/ttft_s_p50"] == 1.0
    assert math.isnan(child.data.metrics["latency/e2e_s_p50"])
    assert child.data.tags["status"] == "valid"
    assert sync(store, home) == type(sync(store, home))(0, 0, None)


def test_an_address_that_mlflow_does_not_know_is_explained(
    store: Store, home: Path, begun: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "carrier-pigeon:/loft")
    tracker = Tracker(store, home)
    assert not tracker.finish(begun)
    assert "carrier-pigeon" in str(tracker.error)
    assert len(str(tracker.error)) > 100


def test_the_logs_of_the_day_come_with_a_late_sync(
    store: Store, home: Path, begun: ExperimentRecord
) -> None:
    day = begun.started_at.astimezone().date().isoformat()
    (home / "log").mkdir()
    (home / "log" / f"{day}.md").write_text("# The day")
    (home / "log" / day).mkdir()
    (home / "log" / day / "ttft.svg").write_text("<svg/>")
    store.end_experiment(begun.id, "done", begun.started_at)
    report = sync(store, home, describe=lambda ended, runs: f"{ended.status}, {len(runs)} runs")
    assert report.logged == 1
    (parent,) = runs_there(home)
    there = client(home).list_artifacts
    assert {file.path for file in there(parent.info.run_id)} == {f"{day}.md", day}
    assert [file.path for file in there(parent.info.run_id, day)] == [f"{day}/ttft.svg"]
    assert parent.data.tags["mlflow.note.content"] == "done, 0 runs"


@pytest.fixture
def answers_500() -> Iterator[str]:
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500, "out of order")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://me:pa55@127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def refuses() -> Iterator[str]:
    """A port that nobody listens on, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def hangs() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize(
    "server", ["answers_500", "refuses", pytest.param("hangs", marks=pytest.mark.slow)]
)
def test_an_mlflow_that_is_down_costs_no_row(
    store: Store,
    home: Path,
    new_record: NewRecord,
    begun: ExperimentRecord,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    server: str,
) -> None:
    address = request.getfixturevalue(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    records = [new_record() for _ in range(3)]
    began = time.monotonic()
    with Tracker(store, home) as tracker:
        for record in records:
            store.add_run(record, None)
            assert not tracker.log(record)
        ended = store.end_experiment(begun.id, "done", records[0].started_at)
        assert not tracker.finish(ended, [home / "not-there.md"])
    assert time.monotonic() - began < 60  # a default MLflow client takes 245 s for one call
    assert tracker.error is not None
    assert tracker.error.startswith("MLflow at http://")
    assert "pa55" not in tracker.error
    assert any(word in tracker.error for word in ("refused", "500", "timed out"))
    report = sync(store, home)
    assert (report.logged, report.failed, report.reason) == (0, 4, tracker.error)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(store, home).logged == 4
    assert len(runs_there(home)) == 4


def test_one_record_that_mlflow_refuses_does_not_hold_up_the_others(
    store: Store, home: Path, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    refused = store.begin_experiment(Experiment(name="x" * 600), begun.started_at, {})
    records = [new_record(experiment_id=refused.id), new_record()]
    cell = dataclasses.replace(records[0].cell, experiment="x" * 600)
    records[0] = dataclasses.replace(records[0], cell=cell)
    for record in records:
        store.add_run(record, None)
    report = sync(store, home)
    assert (report.logged, report.failed) == (2, 2)
    assert "length" in str(report.reason)
    assert store.pending() == ([refused], [records[0]])


@pytest.fixture
def mlflow_server(tmp_path: Path, tracking_server: Callable[[str], str]) -> str:
    return tracking_server(f"sqlite:///{tmp_path}/server.db")


@pytest.mark.slow
def test_a_tracking_server_takes_runs_over_http(
    store: Store,
    tmp_path: Path,
    new_record: NewRecord,
    begun: ExperimentRecord,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    record = new_record(metrics={f"m{index}": Figure(index / 7) for index in range(100)})
    store.add_run(record, None)
    (tmp_path / "log.md").write_text("# Today")
    with Tracker(store, tmp_path) as tracker:
        assert tracker.log(record), tracker.error
        ended = store.end_experiment(begun.id, "done", record.started_at)
        assert tracker.finish(ended, [tmp_path / "log.md"]), tracker.error
    store.replace_summary(record.id, {"m0": Figure(1.5)}, (), "valid")
    assert sync(store, tmp_path).logged == 2
    parent, child = runs_there(tmp_path)
    assert child.data.metrics["other/m0"] == 1.5
    assert child.data.params["batch"] == "8"
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:")
    assert (tmp_path / "served").exists()
    slow, waiting = new_record(), new_record()
    for one in (slow, waiting):
        store.add_run(one, None)
    with monkeypatch.context() as patch, Tracker(store, tmp_path) as tracker:
        patch.setattr(tracking, "SLOW_S", 0.0)
        assert tracker.log(slow)
        assert not tracker.log(waiting)  # the run goes on without it
        assert "s for one record): journal sync" in str(tracker.error)
    assert [record.id for record in store.pending()[1]] == [waiting.id]
    assert sync(store, tmp_path).failed == 0
    assert capfd.readouterr() == ("", "")
