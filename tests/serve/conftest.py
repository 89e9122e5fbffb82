"""A scripted stand-in for the engine, and a way to see that nothing of it is left."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from journal.records import Engine
from journal.serve.process import runs

STAND_IN = Path(__file__).with_name("stand_in.py")
REPOSITORY = Path(__file__).parents[2]
StandIn = Callable[..., Engine]
Gone = Callable[..., bool]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    config = {"max_position_embeddings": 8192, "vocab_size": 49152, "model_type": "llama"}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture
def stand_in(tmp_path: Path, model: Path) -> StandIn:
    """An engine whose interpreter is the stand-in: `stand_in({script}, **engine_fields)`."""
    python = tmp_path / "python"
    command = shlex.join([sys.executable, str(STAND_IN)])
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o700)

    def build(script: dict[str, object] | None = None, **fields: object) -> Engine:
        env = {
            "STAND_IN": json.dumps(script or {}),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        given: dict[str, object] = {"model": str(model), "python": str(python), "env": env}
        return Engine(**(given | fields))  # type: ignore[arg-type]

    return build


@pytest.fixture
def gone() -> Gone:
    """`gone(pids, within_s=20.0)`: whether all have ended in time; zombies have."""

    def check(pids: Iterable[int], within_s: float = 20.0) -> bool:
        deadline = time.monotonic() + within_s
        while left := {pid for pid in pids if runs(pid)}:
            if time.monotonic() > deadline:
                return not left
            time.sleep(0.02)
        return True

    return check
