"""Renting: which GPU, the task file as SkyPilot itself reads it, and the way there and back."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from journal.errors import JournalError, MissingExtra, SpecError, UsageError
from journal.host.rent import CLOUDS, SKYPILOT, Rental, launch, rental, write_task
from journal.theory.gpu_table import GPU_KINDS

TOML = """
[engine]
model = "{model}"
tensor_parallel = {gpus}

[grid]
batch = [1, {batch}]
prompt_tokens = [128, {prompt}]
output_tokens = [128]
"""


def experiment(
    folder: Path, model: str = "mistralai/Mistral-7B-Instruct-v0.2", batch: int = 8, **more: int
) -> str:
    values = {"gpus": 1, "prompt": 512} | more
    path = folder / "My test: 1.toml"
    path.write_text(TOML.format(model=model, batch=batch, **values))
    return str(path)


def test_every_gpu_that_we_know_can_be_rented() -> None:
    assert list(SKYPILOT) == [kind.name for kind in GPU_KINDS if kind.name in SKYPILOT]
    assert len(SKYPILOT) > 15


def test_the_smallest_gpu_that_holds_the_largest_cell(tmp_path: Path) -> None:
    assert rental(experiment(tmp_path)).gpu == "L4"
    larger = rental(experiment(tmp_path, batch=32, prompt=4096))
    assert larger.gpu == "A100"
    assert larger.hints == (
        "The largest cell (32 x 4,224 tokens) fits on: A100, A40, L40, L40S, RTXA6000, RTX6000-Ada,"
        " A100-80GB, H100, H100-SXM, GH200, H200, B200",
    )
    assert rental(experiment(tmp_path, gpus=2)).count == 2


def test_a_gpu_that_is_too_small_is_rented_with_a_warning(tmp_path: Path) -> None:
    path = experiment(tmp_path, batch=32, prompt=4096)
    rented = rental(path, gpu="rtx 4090")
    assert (rented.gpu, rented.count) == ("RTX4090", 1)
    assert "does not hold its largest cell (32 x 4,224 tokens) on RTX4090" in rented.hints[0]
    unknown = rental(path, gpu="MI300X:2")
    assert (unknown.gpu, unknown.count) == ("MI300X", 2)
    assert "MI300X is not in the table" in unknown.hints[0]
    odd = rental(experiment(tmp_path, model="someone/strange"), gpu="H100")
    assert "not known here" in odd.hints[0]


def test_what_cannot_be_rented(tmp_path: Path) -> None:
    path = experiment(tmp_path, gpus=2)
    for arguments, said in (
        ({"gpu": "A100-80GB:1"}, "over 2"),
        ({"gpu": "A100-80GB:none"}, "'none'"),
        ({"gpu": "two words: 1"}, "two words"),
        ({"cloud": "elsewhere"}, "elsewhere"),
        ({"hours": 0.0}, "0.0"),
    ):
        with pytest.raises(SpecError, match=said):
            rental(path, **arguments)  # type: ignore[arg-type]
    for model, said in (("someone/strange", "--gpu"), (str(tmp_path), "directory")):
        with pytest.raises(SpecError, match=said):
            rental(experiment(tmp_path, model=model))
    with pytest.raises(SpecError, match="journal run"):
        rental("quickstart")


def test_only_a_task_of_ours_is_written_over(tmp_path: Path) -> None:
    rented = rental(experiment(tmp_path))
    write_task(rented, tmp_path / "task.yaml")
    write_task(rented, tmp_path / "task.yaml")
    (tmp_path / "mine").write_text("name: mine\n")
    with pytest.raises(UsageError, match="--out"):
        write_task(rented, tmp_path / "mine")
    with pytest.raises(UsageError, match="--out"):
        write_task(rented, tmp_path / "no" / "such" / "folder")
    assert (tmp_path / "mine").read_text() == "name: mine\n"


# ---- as SkyPilot reads it ------------------------------------------------------------------------

READ = """
import json, sys
from sky import Task
for path in sys.argv[1:]:
    try:
        task = Task.from_yaml(path)
    except ValueError as error:
        print(json.dumps({"refused": str(error)}))
        continue
    (machine,) = task.resources
    print(json.dumps({
        "name": task.name, "cloud": machine.cloud and str(machine.cloud).lower(),
        "gpus": machine.accelerators, "disk": machine.disk_size,
        "down": machine.autostop_config.down, "idle": machine.autostop_config.idle_minutes,
        "mounts": task.file_mounts, "run": task.run, "setup": task.setup,
    }))
"""


@pytest.fixture(scope="module")
def skypilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has SkyPilot, whose requirements differ from ours."""
    if find_spec("uv") is None:
        pytest.skip("uv is not installed, which makes an environment for SkyPilot")
    folder = tmp_path_factory.mktemp("skypilot")
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    install = [*uv, "pip", "install", "-q", "--python", str(python), "skypilot>=0.14,<1"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        pytest.skip(f"SkyPilot cannot be installed here: {done.stderr.strip()[-200:]}")
    return python


@pytest.mark.slow
def test_skypilot_takes_the_task(skypilot: Path, tmp_path: Path) -> None:
    path, paths = experiment(tmp_path, batch=32, prompt=4096), []
    rented = [rental(path, gpu="A100-80GB", cloud=cloud, hours=2.5) for cloud in CLOUDS]
    rented.append(rental(path, gpu="H100-SXM:2"))
    for number, one in enumerate(rented):
        write_task(one, tmp_path / f"{number}.yaml")
        paths.append(str(tmp_path / f"{number}.yaml"))
    (tmp_path / "bad.yaml").write_text(rented[0].task.replace("idle_minutes", "idle_hours"))
    environment = os.environ | {"HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    command = [str(skypilot), "-c", READ, *paths, str(tmp_path / "bad.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    *tasks, bad = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    assert "idle_hours" in bad["refused"]
    assert [task["cloud"] for task in tasks] == [*CLOUDS, None]
    assert tasks[0]["gpus"] == {"A100-80GB": 1}
    assert tasks[-1]["gpus"] == {"H100-SXM": 2}
    for task in tasks:
        assert task["name"] == "journal-my-test-1"
        assert (task["down"], task["idle"]) == (True, 20)
        assert task["disk"] >= 150
        assert task["mounts"] == {"~/my-test-1.toml": path}
        assert "[vllm]" in task["setup"]
    assert "timeout --kill-after=300 9000 journal run ~/my-test-1.toml" in tasks[0]["run"]


def test_the_shell_can_read_what_the_machine_is_to_do(tmp_path: Path) -> None:
    task = rental(experiment(tmp_path)).task
    for part in ("setup", "run"):
        script = task.split(f"\n{part}: |\n")[1].split("\nrun: |\n")[0]
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


# ---- there and back ------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$RENT_LOG"
case "$(basename "$0") $1" in
    "sky launch") exit "${LAUNCH:-0}" ;;
    "sky down") exit "${DOWN:-0}" ;;
    rsync*) [ "${FETCH:-0}" = 0 ] && touch "$3/journal.db"; exit "${FETCH:-0}" ;;
esac
"""


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for `sky` and `rsync` that write down what they are called with; nothing is
    rented."""
    (tmp_path / "bin").mkdir()
    for name in ("sky", "rsync"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("RENT_LOG", str(tmp_path / "calls"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path


def launched(folder: Path) -> bool:
    rented: Rental = rental(experiment(folder), gpu="L4")
    return launch(rented, folder / "task.yaml", folder / "fetched", say=lambda step: None)


def calls(folder: Path) -> list[str]:
    return [" ".join(line.split()[:2]) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(("code", "well"), [("0", True), ("100", False)])
def test_the_journal_comes_back_and_the_machine_ends(
    clouds: Path, monkeypatch: pytest.MonkeyPatch, code: str, well: bool
) -> None:
    monkeypatch.setenv("LAUNCH", code)
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert launched(clouds) is well
    assert (clouds / "fetched" / "journal.db").exists()
    first, *_ = (clouds / "calls").read_text().splitlines()
    assert first == f"sky launch -y -c journal-my-test-1 --secret HF_TOKEN {clouds}/task.yaml"
    assert calls(clouds) == ["sky launch", "rsync -az", "sky down"]


def test_a_machine_whose_journal_is_not_here_yet_is_left_to_end_itself(
    clouds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCH", "255")
    with pytest.raises(JournalError, match="within 20 minutes"):
        launched(clouds)
    assert calls(clouds) == ["sky launch", "rsync -az"]


@pytest.mark.parametrize(("code", "fetch"), [("1", "255"), ("100", "23")])
def test_a_machine_without_a_journal_is_ended(
    clouds: Path, monkeypatch: pytest.MonkeyPatch, code: str, fetch: str
) -> None:
    monkeypatch.setenv("LAUNCH", code)
    monkeypatch.setenv("FETCH", fetch)
    assert launched(clouds) is False
    assert calls(clouds)[-1] == "sky down"


def test_what_may_still_cost_money_is_said(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOWN", "1")
    with pytest.raises(JournalError, match="not sure"):
        launched(clouds)
    (clouds / "bin" / "sky").unlink()
    with pytest.raises(MissingExtra, match=r"serving-journal\[rent\]"):
        launched(clouds)
