"""Trials of a change over HTTP: the simulator in the place of the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
from simulated_tries import TOKEN_BYTES, serve

import journal
from journal import Engine, Experiment, Grid, Load
from journal.errors import SpecError, UsageError
from journal.run.tries import _named_values

SLOW = Engine(model="simulated", flags=("--max-num-seqs", "2"))
QUICK = Load(requests=24, warmup=2, repeats=1)


def measured(home: Path, engine: Engine = SLOW) -> None:
    grid = Grid(batch=(8,), prompt_tokens=(16,), output_tokens=(16,))
    experiment = Experiment(name="limited", engines=(engine,), grid=grid, load=QUICK)
    assert journal.run(experiment, home, serve=serve).records[0].good


@pytest.mark.slow
@pytest.mark.alone
def test_a_queue_is_found_its_limit_raised_and_the_change_kept(tmp_path: Path) -> None:
    measured(tmp_path)
    (found,) = journal.try_change("last", tmp_path, starts=2, serve=serve)
    assert found.trial.setting == "engine.max_num_seqs=8"
    assert found.trial.cause == "queue"
    assert found.verdict == "kept", found
    assert found.ratio is not None and 2 < found.ratio.value < 5
    assert found.as_predicted
    text = next(tmp_path.rglob("*.md")).read_text()
    assert "What was tried" in text and "Kept: throughput is" in text
    assert '+ flags = ["--max-num-seqs", "8"]' in text


@pytest.mark.slow
@pytest.mark.alone
def test_a_useless_change_is_not_kept_and_steps_end(tmp_path: Path) -> None:
    measured(tmp_path, Engine(model="simulated"))
    results = journal.try_change(
        "last", tmp_path, setting="engine.useless=1", steps=3, starts=2, serve=serve
    )
    assert [found.verdict for found in results[:1]] != ["kept"]
    assert len(results) == 1, "what limits it then calls for nothing"


@pytest.mark.slow
@pytest.mark.alone
def test_steps_go_on_from_what_was_kept_until_nothing_helps(tmp_path: Path) -> None:
    """Behind a limit of two requests lies a pool for four: eight need both changes."""
    blocks = 4 * 2 * 16 * TOKEN_BYTES  # requests of two blocks of 16 tokens
    measured(tmp_path, replace(SLOW, kv_cache_memory_bytes=blocks))
    results = journal.try_change("last", tmp_path, steps=5, starts=2, serve=serve)
    assert [found.trial.cause for found in results[:2]] == ["queue", "kv_pool"]
    assert [found.verdict for found in results[:2]] == ["kept", "kept"], results
    assert "--max-num-seqs" in results[1].before.flags
    assert results[1].before == results[0].after
    assert len(results) < 5, "what limits it then calls for nothing, or a change does not help"


def test_what_cannot_be_tried_is_said(tmp_path: Path) -> None:
    measured(tmp_path, Engine(model="simulated"))
    with pytest.raises(UsageError, match=r"cannot be told|no setting of its engine"):
        journal.try_change("last", tmp_path, serve=serve)
    with pytest.raises(SpecError, match=r"write engine\.NAME=VALUE"):
        journal.try_change("last", tmp_path, setting="load.warmup=3", serve=serve)


def test_a_remedy_names_its_setting_and_value() -> None:
    text = "the memory was short: lower gpu_memory_utilization from 0.92 to 0.87, or max_num_seqs"
    assert [str(each) for each in _named_values(text)] == ["engine.gpu_memory_utilization=0.87"]
    assert [str(each) for each in _named_values("set max_model_len to 8,192")] == [
        "engine.max_model_len=8192"
    ]
    text = "lower max_num_seqs (the flag --max-num-seqs) from 256 to 128, or lower it"
    assert [str(each) for each in _named_values(text)] == ["engine.max_num_seqs=128"]
    text = "lower max_model_len to about 20,480, or raise kv_cache_memory_bytes"
    assert [str(each) for each in _named_values(text)] == ["engine.max_model_len=20480"]
    assert not list(_named_values("free memory that others hold"))
