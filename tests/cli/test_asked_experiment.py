"""The experiment that a command is asked for, by its name and the options over it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journal.cli.app import app
from journal.cli.asked_experiment import asked_experiment
from journal.cli.run import _as_typed, _say_how_to_resume
from journal.errors import UsageError
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


@pytest.mark.parametrize(
    "words",
    [
        ["--header", "X-Key: abcd-1234"],
        ["--header=Authorization: abcd-1234"],
        ["--endpoint", "http://name:abcd-1234@127.0.0.1/v1"],
        ["--body", 'api_key="abcd-1234"'],
    ],
)
def test_a_command_with_a_secret_is_not_kept_and_is_shown_without_it(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", "own file.toml", "--repeats", "2"]
    monkeypatch.setattr("sys.argv", ["journal", *asked])
    assert _as_typed() == tuple(asked)
    monkeypatch.setattr("sys.argv", ["journal", *asked, *words])
    assert _as_typed() == ()
    _say_how_to_resume()
    shown = capsys.readouterr().err
    assert "abcd-1234" not in shown and "***" in shown and "--repeats 2" in shown


def test_a_header_without_a_server_to_send_it_to_is_refused(tmp_path: Path) -> None:
    words = ["run", "quickstart", "--home", str(tmp_path), "--header", "X-Key: abcd-1234"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, UsageError)
    assert "--header goes with --endpoint" in str(refused.exception)
    assert not list(tmp_path.iterdir())
