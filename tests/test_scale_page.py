"""docs/scale.md: what it shows runs, and its plan is what its assumptions and figures give."""

import datetime as dt
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import journal
from benchmarks.page import PAGE
from benchmarks.plan import SCALE, planned, section
from journal.cli.app import app
from journal.simulator.http import Script, running
from journal.store import compact

PLAN = section("plan", SCALE.read_text())


def test_two_hosts_are_merged_and_compacted_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.delenv("JOURNAL_DB", raising=False)
    monkeypatch.chdir(tmp_path)

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Later":
            return super().now(tz) + dt.timedelta(days=40)

    monkeypatch.setattr(compact, "datetime", Later)
    blocks = re.findall(r"<!-- run -->\n```sh\n(.*?)```", SCALE.read_text(), re.DOTALL)
    told = []
    with running(Script(model="simulated", ttft_s=0.01, itl_s=0.001)) as url:
        for line in "".join(blocks).replace("http://127.0.0.1:8000/v1", url).splitlines():
            result = CliRunner().invoke(app, line.split()[1:], env={"COLUMNS": "160"})
            assert result.exit_code == 0, (line, result.output)
            told.append(" ".join(result.output.split()))
    assert "taken in: 1 experiment, 1 run" in told[2]
    assert "2 runs with" in told[-2] and "would move" in told[-2]
    assert "2 runs with" in told[-1] and "moved into 1 file" in told[-1]
    with journal.open_store(tmp_path / "host-a") as store:
        runs = store.runs()
        assert len(runs) == 2 and all(store.samples(run.id) for run in runs)
        assert (tmp_path / "host-a" / "journal.db.requests").is_dir()


def test_the_plan_is_computed_from_the_figures() -> None:
    assert planned(PAGE.read_text(), SCALE.read_text()) == PLAN.strip()


def test_the_plan_is_right() -> None:
    """A few of its rows, by another way."""
    value = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PLAN, re.MULTILINE))
    assert value["runs in the year"] == "7,300,000"
    assert value["requests in the year, each a row"] == "7,300,000,000"
    assert value["runs stored, while all measure"] == "0.69 per s"
    hours = float(value["hours of GPUs in the year"].replace(",", ""))
    assert hours == pytest.approx(7_300_000 * 2 / 60, abs=1)
    assert value["their price"] == f"{2 * 7_300_000 / 30:,.0f} USD"
