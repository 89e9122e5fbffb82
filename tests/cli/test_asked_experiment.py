"""The experiment that a command is asked for, by its name and the options over it."""

from collections.abc import Callable

import pytest

from journal.cli.asked_experiment import asked_experiment
from journal.serve import models
from journal.serve.models import EMBEDDED


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let this host have a GPU that holds a 7B model, or none."""
    return lambda holds: monkeypatch.setattr(models, "_holds_7b", lambda: holds)


def test_a_small_host_takes_the_small_twin_and_says_so(
    host: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    host(False)
    asked = asked_experiment("prompt-length", grid={"batch": (2,)})
    assert asked.name == "prompt-length-small"
    assert asked.engines[0].model == EMBEDDED
    assert asked.grid.batch == (2,)
    said = capsys.readouterr()
    assert "prompt-length-small is taken for prompt-length" in said.err
    assert not said.out
    assert asked_experiment("prompt-length-small").name == "prompt-length-small"
    assert not capsys.readouterr().err


def test_a_model_or_a_server_of_ones_own_or_a_large_gpu_takes_the_experiment_itself(
    host: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    host(False)
    mine = asked_experiment("batch-size", engine={"model": "mine"})
    assert (mine.name, mine.engines[0].model) == ("batch-size", "mine")
    assert asked_experiment("batch-size", at_endpoint=True).name == "batch-size"
    host(True)
    assert asked_experiment("batch-size").name == "batch-size"
    assert not capsys.readouterr().err


def test_claims_about_engines_by_number_are_left_out_at_a_server_of_ones_own() -> None:
    asked = asked_experiment("mistral-vs-llama3", at_endpoint=True)
    assert asked.engines == ()
    assert [claim.metric for claim in asked.claims] == ["kv_bytes_per_token"] * 2
    variants = asked_experiment("structured", at_endpoint=True)
    assert any(claim.b == 2 for claim in variants.claims)
