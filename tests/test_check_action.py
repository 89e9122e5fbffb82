"""The composite action that runs `journal check` in CI: its script, with a stand-in for the
program."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ACTION = Path(__file__).parent.parent / ".github" / "actions" / "check" / "action.yml"


def run(tmp_path: Path, code: int, **inputs: str) -> tuple[int, list[str], str, str]:
    """The exit code of the script, the arguments that `journal` got, the verdict that it puts out,
    and the summary of the job."""
    action: dict[str, Any] = yaml.safe_load(ACTION.read_text())
    (step,) = action["runs"]["steps"]
    given = {name: row.get("default", "") for name, row in action["inputs"].items()} | inputs
    variables = {
        name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in step["env"].items()
    }
    (tmp_path / "journal").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > args\necho "## verdict" > gate.md\nexit {code}\n'
    )
    (tmp_path / "journal").chmod(0o755)
    around = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=variables | around, check=False)
    read = [(tmp_path / name).read_text() for name in ("args", "output", "summary")]
    return done.returncode, read[0].splitlines(), read[1].strip(), read[2]


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "PASS"), (1, "FAIL"), (3, "INCONCLUSIVE"), (2, "ERROR")]
)
def test_the_job_ends_as_the_check_does(tmp_path: Path, code: int, verdict: str) -> None:
    ended, args, output, summary = run(tmp_path, code, baseline="a tag")
    assert (ended, output, summary) == (code, f"verdict={verdict}", "## verdict\n")
    assert args[:7] == ["check", "--baseline", "a tag", "--candidate", "today", "--home", "lab"]
    assert "--max-regression" not in args


def test_a_job_may_pass_where_the_runs_cannot_tell(tmp_path: Path) -> None:
    assert run(tmp_path, 3, baseline="x", inconclusive="pass")[0] == 0
    assert run(tmp_path, 1, baseline="x", inconclusive="pass")[0] == 1


def test_each_line_is_a_limit(tmp_path: Path) -> None:
    limits = "ttft_s.p50=10%\n\noutput_tokens_per_s=3%\n"
    _, args, _, _ = run(
        tmp_path, 0, baseline="x", across="engine_version", **{"max-regression": limits}
    )
    assert args[-6:] == [
        "--max-regression",
        "ttft_s.p50=10%",
        "--max-regression",
        "output_tokens_per_s=3%",
        "--across",
        "engine_version",
    ]
