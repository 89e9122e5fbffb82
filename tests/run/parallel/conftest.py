"""What tests of several engines at a time share."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from journal.records.experiment import Engine


@pytest.fixture
def written(stand_in: Callable[..., Engine], tmp_path: Path) -> Callable[..., Path]:
    """`written(script, batch=..., output_tokens=...)`: the file of an experiment of two stand-in
    engines, which write their families to `first` and `second`."""

    def write(
        script: dict[str, object] | None = None,
        *,
        batch: Sequence[int],
        output_tokens: int,
        tensor_parallel: int = 1,
    ) -> Path:
        tables = ""
        for name, longest in (("first", 2048), ("second", 1024)):
            engine = stand_in({"family": str(tmp_path / name), **(script or {})})
            tables += (
                f"[[engine.variants]]\nmax_model_len = {longest}\n"
                f"model = {json.dumps(engine.model)}\npython = {json.dumps(engine.python)}\n"
                f"tensor_parallel = {tensor_parallel}\n[engine.variants.env]\n"
            )
            tables += "".join(f"{key} = {json.dumps(engine.env[key])}\n" for key in engine.env)
        file = tmp_path / "two.toml"
        file.write_text(
            f"{tables}[grid]\nbatch = {list(batch)}\nprompt_tokens = [4]\n"
            f"output_tokens = [{output_tokens}]\n[load]\nrequests = 8\nwarmup = 1\n"
        )
        return file

    return write
