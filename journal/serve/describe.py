"""The facts of an endpoint that the files of its model and the GPUs of its host give."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import psutil

from journal.errors import NotFound, SpecError
from journal.records.engine import Endpoint, EngineFacts, GpuName
from journal.records.experiment import Engine
from journal.serve import gpu_memory, models
from journal.theory.architecture import architecture, essence
from journal.theory.checkpoint import read_checkpoint
from journal.theory.memory import DTYPE_BYTES
from journal.theory.model_table import find_model


def described(endpoint: Endpoint, engine: Engine | None) -> EngineFacts:
    """The facts of `endpoint` with its model's config, the size of its checkpoint, its GPUs and
    their kind (where all are alike), as far as they are known on this machine. `engine` is the
    engine that was started (None: its command line says it). A server that was started elsewhere
    shows no command line: only the config is taken, by the model's name, since its files may be
    others. Nothing is fetched, and a fact that cannot be read stays None."""
    used = _gpus(endpoint)
    kinds = set(gpu_memory.names(used))
    kind = kinds.pop() if len(kinds) == 1 else None
    # `card` and `cards` are names in stored facts: the kind and the number of the GPUs.
    facts = replace(endpoint.facts, card=kind, cards=len(used) or None)
    model, revision = _started_with(endpoint, engine)
    config = _config(endpoint.model if model is None else model, revision)
    if config is None:
        return facts
    size = None if model is None else _checkpoint_bytes(config, model, revision, facts)
    return replace(facts, config=essence(config), checkpoint_bytes=size)


def undescribed(engine: Engine, facts: EngineFacts) -> EngineFacts:
    """The `facts` of an engine that never answered, with those that its model's files give."""
    config = _config(engine.model, engine.revision)
    if config is None:
        return facts
    size = _checkpoint_bytes(config, engine.model, engine.revision, facts)
    return replace(facts, config=essence(config), checkpoint_bytes=size)


def _started_with(endpoint: Endpoint, engine: Engine | None) -> tuple[str | None, str | None]:
    """The model and the revision of an engine that the journal started; None where it did not."""
    if engine is not None:
        return engine.model, engine.revision
    flags = dict(pairwise(endpoint.facts.argv))
    return flags.get("--model"), flags.get("--revision")


def _config(model: str, revision: str | None) -> dict[str, Any] | None:
    """The config from the model's directory or the hub's cache, else from the table of well-known
    models; None where none of them has it."""
    try:
        return models.read_config(model, revision) or dict(find_model(model).config)
    except SpecError:
        return None


def _checkpoint_bytes(
    config: dict[str, Any], model: str, revision: str | None, facts: EngineFacts
) -> int | None:
    """The bytes of the tensors as they are served: a tensor that is not packed takes the dtype that
    the engine logged."""
    folder = models.local_dir(model, revision)
    if folder is None:
        return None
    try:
        model_sizes = architecture(config)
        checkpoint = read_checkpoint(folder, tied=model_sizes.tied, layers=model_sizes.layers)
    except (NotFound, SpecError, OSError):
        return None
    return checkpoint.bytes_in(DTYPE_BYTES.get(facts.dtype or ""))


def _gpus(endpoint: Endpoint) -> tuple[GpuName, ...]:
    """The GPUs of this host that serve `endpoint`."""
    if not endpoint.gpus and endpoint.pid is not None:
        return gpu_memory.held_by(_tree(endpoint.pid))
    return endpoint.gpus


def _tree(pid: int) -> set[int]:
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}
