"""`journal doctor`, and what later runs keep of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.records.experiment import Grid, Load


def test_the_doctor_tells_and_a_later_run_keeps_it(
    tmp_path: Path, fake_server: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o700)
    asked = ["doctor", "--python", str(python), "--home", str(tmp_path)]
    as_json = CliRunner().invoke(app, [*asked, "--json"])
    assert as_json.exit_code == 1  # no vLLM there
    told = json.loads(as_json.stdout)
    assert not told["ok"]
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert (states["vllm"], states["hub"]) == ("missing", "note")
    assert "vllm" in told["verdict"]
    table = CliRunner().invoke(app, asked, env={"COLUMNS": "80"})
    assert table.exit_code == 1
    assert "MISSING" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80

    endpoint = journal.attach(fake_server(itl_s=0.001))
    experiment = journal.Experiment(
        name="after", grid=Grid(output_tokens=(4,)), load=Load(requests=2)
    )
    result = journal.run(experiment, tmp_path, endpoint=endpoint)
    for record in result.records:
        assert record.environment["doctor_vllm"] == "missing"
        assert record.environment["doctor_disk_journal"] == states["disk: journal"]
        assert str(record.environment["doctor_at"]) >= told["made_at"][:19]
