"""What an endpoint serves, as far as the files of its model and the cards of its host tell."""

from dataclasses import replace
from typing import Any

import psutil

from journal.errors import NotFound, SpecError
from journal.explain.architecture import architecture, essence
from journal.explain.checkpoint import read_checkpoint
from journal.explain.memory import DTYPE_BYTES
from journal.explain.models import find_model
from journal.records import Endpoint, Engine, EngineFacts
from journal.serve import cards, models


def described(endpoint: Endpoint, engine: Engine | None) -> EngineFacts:
    """The facts of `endpoint` with its model's config, the size of its checkpoint and the name of
    its cards, as far as they are known on this machine. `engine` is what it was started from;
    of a server of someone else's (None) only the config is taken, by the model's name: its files
    may be others. Nothing is fetched, and what cannot be read stays None."""
    name, revision = (engine.model, engine.revision) if engine else (endpoint.model, None)
    config = _config(name, revision)
    facts = replace(endpoint.facts, card=_card(endpoint))
    if config is None:
        return facts
    size = None if engine is None else _checkpoint_bytes(config, engine, facts)
    return replace(facts, config=essence(config), checkpoint_bytes=size)


def undescribed(engine: Engine, facts: EngineFacts) -> EngineFacts:
    """The `facts` of an engine that never answered, with what its model's files say."""
    config = _config(engine.model, engine.revision)
    if config is None:
        return facts
    size = _checkpoint_bytes(config, engine, facts)
    return replace(facts, config=essence(config), checkpoint_bytes=size)


def _config(name: str, revision: str | None) -> dict[str, Any] | None:
    """From the model's directory or the hub's cache, else from the table of well-known models."""
    try:
        return models.read_config(name, revision) or dict(find_model(name).config)
    except SpecError:
        return None


def _checkpoint_bytes(config: dict[str, Any], engine: Engine, facts: EngineFacts) -> int | None:
    """The tensors as they are served: what is not packed takes the dtype that the engine said."""
    folder = models.local_dir(engine.model, engine.revision)
    if folder is None:
        return None
    try:
        checkpoint = read_checkpoint(folder, tied=architecture(config).tied)
    except (NotFound, SpecError, OSError):
        return None
    return checkpoint.bytes_in(DTYPE_BYTES.get(facts.dtype or ""))


def _card(endpoint: Endpoint) -> str | None:
    """The one kind of card that serves; None where it is elsewhere or of several kinds."""
    used = endpoint.gpus
    if not used and endpoint.pid is not None:
        used = cards.held_by(_tree(endpoint.pid))
    names = set(cards.names(used))
    return names.pop() if len(names) == 1 else None


def _tree(pid: int) -> set[int]:
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}
