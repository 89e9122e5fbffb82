"""`import journal` does in a script whatever `journal run` does."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import journal
from journal.records.progress import Event


def test_every_public_name_is_there_and_nothing_else_is() -> None:
    assert all(getattr(journal, name) is not None for name in journal.__all__)
    assert set(journal.__all__) <= set(dir(journal))
    assert not hasattr(journal, "no_such_name")


ROOMS = ("run", "serve", "plan", "compare")
VERBS = (
    "doctor fit explain ask serve watch plan run compare log note checklist quiz recompute merge "
    "export"
)


def test_the_verbs_of_the_command_line_are_functions_also_where_a_room_has_their_name() -> None:
    code = f"""
import importlib, pkgutil, types, journal
for room in {ROOMS}:
    for module in pkgutil.iter_modules(importlib.import_module("journal." + room).__path__):
        importlib.import_module(f"journal.{{room}}.{{module.name}}")
import journal.serve.standing
from journal.plan import cells
assert isinstance(cells, types.ModuleType)
verbs = "{VERBS}".split()
print([name for name in verbs if isinstance(getattr(journal, name), types.FunctionType)])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == str(VERBS.split()), result.stderr


FORMER = {
    "Advice": "Fit",
    "Watch": "watch",
    "advise": "fit",
    "answer": "ask",
    "as_json": "run_json",
    "cells": "plan",
    "cost": "plan",
    "examine": "doctor",
    "serving": "serve",
    "verdict": "checkup_verdict",
    "write_experiment_log": "log",
    "write_log": "log",
    "write_week_log": "log",
}


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_works_and_warns_with_the_present_one(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"journal.{name} is journal.{FORMER[name]} now"):
        former = getattr(journal, name)
    assert callable(former)
    assert FORMER[name] in journal.__all__
    assert name not in journal.__all__


def test_former_names_do_what_they_did() -> None:
    with pytest.warns(DeprecationWarning):
        cells, cost = journal.cells, journal.cost
    with pytest.warns(DeprecationWarning):
        advice = journal.advise("Mistral-7B-Instruct-v0.2", gpu="L4")
    experiment = journal.load_experiment("quickstart")
    assert cells(experiment) == journal.plan(experiment).cells
    assert cost(cells(experiment)) == journal.plan(experiment).cost
    assert advice == journal.fit("Mistral-7B-Instruct-v0.2", gpu="L4")


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
            fillers = 0 if record.cell.batch == 1 else 4 + 3 + 3
            assert len(samples.traces) == 12 + 2 + fillers
            assert sum(trace.warmup for trace in samples.traces) == 2 + fillers
            assert record == store.run(record.id)
    assert journal.recompute(tmp_path) == ()


def test_runs_results_and_logs_read_as_text_and_in_a_notebook(
    fake_server: Callable[..., str], tmp_path: Path
) -> None:
    grid = journal.Grid(batch=(1, 2), prompt_tokens=(4,), output_tokens=(3,))
    experiment = journal.Experiment(
        name="<script>", grid=grid, load=journal.Load(requests=20, warmup=1)
    )
    result = journal.run(experiment, tmp_path, endpoint=journal.attach(fake_server(ttft_s=0.02)))
    first, last = result.records
    assert re.fullmatch(
        rf"{first.id[:8]} simulated-model, batch 1, 4 \+ 3 tokens: \w+, TTFT p50 .+ ms, .+ tok/s",
        str(first),
    )
    assert str(result).splitlines() == [str(first), str(last), f"log: {result.log.markdown}"]
    assert str(result.log) == result.log.markdown.read_text()
    shown = result._repr_html_()
    assert str(last) in shown and shown.count("<iframe") == 1
    assert "<script>" not in shown
    failed = replace(first, status="failed", error="no <answer>")
    assert str(failed).endswith(": failed: no <answer>") and "no &lt;answer" in failed._repr_html_()


def test_an_endpoint_is_measured_whatever_engine_an_experiment_names(
    fake_server: Callable[..., str], tmp_path: Path
) -> None:
    server = journal.attach(fake_server(ttft_s=0.0, itl_s=0.0))
    grid = journal.Grid(prompt_tokens=(4,), output_tokens=(2,))
    named = journal.load_experiment("quickstart")
    result = journal.run(replace(named, grid=grid), tmp_path, endpoint=server)
    assert [record.cell.model for record in result.records] == ["simulated-model"]
    assert result.experiment.experiment.engines == ()


def test_an_experiment_is_run_by_its_file(fake_server: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[engine]\nmodel = "m"\n[grid]\nprompt_tokens = [4]\noutput_tokens = [2]\n')
    server = journal.attach(fake_server(ttft_s=0.0, itl_s=0.0))
    for named in (file, str(file)):
        result = journal.run(named, tmp_path / "lab", endpoint=server)
        assert (result.experiment.experiment.name, result.ok) == ("mine", True)
