"""The commands that tell of memory, energy and money, called in this process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.cli.app import main

Journal = Callable[..., tuple[int, str, str]]
SMALL = ("--prompt-tokens", "16", "--output-tokens", "8", "--requests", "12", "--warmup", "1")


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Journal:
    """`journal("runs", "--json")`: the exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["journal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def parsed(told: tuple[int, str, str]) -> Any:
    code, out, error = told
    assert code == 0, error
    return json.loads(out)


# ---- money -----------------------------------------------------------------------------------


def test_the_price_of_a_host_is_a_setting(
    fake_server: Callable[..., str],
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ("run", "--endpoint", fake_server(itl_s=0.001), *SMALL, "--home", tmp_path, "--json")
    monkeypatch.setenv("JOURNAL_USD_PER_HOUR", "-1")
    code, _, error = journal(*asked)
    assert (code, "JOURNAL_USD_PER_HOUR = '-1'" in error) == (2, True)
    monkeypatch.setenv("JOURNAL_USD_PER_HOUR", "3.6")
    (run,) = parsed(journal(*asked))
    price = run["metrics"]["usd_per_million_output_tokens"]
    assert price == pytest.approx(3.6 / 3600 / run["output_tokens_per_s"] * 1e6)
