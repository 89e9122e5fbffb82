"""The model that `journal fit` is asked about: its sizes, and where they are known from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from journal.errors import NotFound, SpecError, UsageError
from journal.host.gguf_files import GgufModel, gguf_hint, read_gguf
from journal.host.hub import ask_hub, hub_endpoint, hub_is_off
from journal.paths import folder_is_at
from journal.serve import models
from journal.theory.architecture import Architecture, architecture
from journal.theory.checkpoint import Checkpoint, loaded, read_checkpoint
from journal.theory.headroom import WeightsOf
from journal.theory.memory import DTYPE_BYTES, weight_bytes
from journal.theory.model_table import find_model, near_models
from journal.theory.packing import Packing
from journal.theory.parallelism import Piece, piece_weight_bytes

ENGINE_BYTES = 2  # of an element that is not packed: engines convert 32-bit checkpoints
TABLE, CONFIG, HEADERS, GGUF = (
    *("the table of well-known models", "its config.json"),
    "its config.json and the headers of its safetensors files",
    "the headers of its GGUF files",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model's sizes, its known builds by precision (16 bits: itself), where they are known from,
    and the weights of each piece where its checkpoint gives them."""

    model: Architecture
    builds: Mapping[str, str]
    source: str
    stored: WeightsOf | None = None


def known_model(name: str) -> KnownModel:
    """The model of that name: a folder, the hub's cache, the table of well-known models, or the hub
    itself. Raises SpecError, with what to do, where none of them tells its sizes."""
    packed = read_gguf(name)
    if packed is not None:
        return _of_gguf(packed)
    folder = models.local_dir(name)
    config = models.read_config(name)
    builds, known = _builds(name)
    if config is not None:
        checkpoint = None if folder is None else _checkpoint(folder, config)
        return _known(name, config, builds, checkpoint, "", folder)
    if known is not None:
        return KnownModel(model=known, builds=builds, source=TABLE)
    path = Path(name).expanduser()
    if folder_is_at(path) or path.is_absolute() or name.startswith("."):
        raise SpecError(_no_config(name, folder))
    if models.HUB_NAME.fullmatch(name) is None or "/" not in name:
        find_model(name)  # raises, with the nearest names
    if hub_is_off():
        raise SpecError(
            f"{name} is not in {models.hub_cache_dir()} and HF_HUB_OFFLINE forbids asking the hub:"
            " unset it, or give the folder of the model"
        )
    try:
        found = ask_hub(name)
    except UsageError as error:
        near = near_models(name)
        hint = f". Did you mean {' or '.join(near)}?" if near else gguf_hint(name)
        raise SpecError(f"{error}{hint}") from error
    sizes = architecture(found.config)
    checkpoint = (
        None
        if found.tensors is None
        else loaded(found.tensors, tied=sizes.tied, layers=sizes.layers)
    )
    return _known(name, found.config, builds, checkpoint, f" ({hub_endpoint()})", None)


def _of_gguf(packed: GgufModel) -> KnownModel:
    model = architecture(packed.config)
    stored = _stored(model, loaded(packed.tensors, tied=False, layers=None))
    return KnownModel(model=model, builds={}, source=f"{GGUF} ({packed.where})", stored=stored)


def _no_config(name: str, folder: Path | None) -> str:
    if folder is None:
        return f"there is no folder {name}: correct the path"
    return f"{folder} holds no config.json: name the folder of a model"


def _checkpoint(folder: Path, config: Mapping[str, Any]) -> Checkpoint | None:
    """The tensors in `folder`; None where it holds no whole checkpoint."""
    sizes = architecture(config)
    try:
        return read_checkpoint(folder, tied=sizes.tied, layers=sizes.layers)
    except (NotFound, OSError):
        return None


def _known(
    name: str,
    config: Mapping[str, Any],
    builds: Mapping[str, str],
    checkpoint: Checkpoint | None,
    where: str,
    folder: Path | None,
) -> KnownModel:
    model = architecture(config)
    if checkpoint is not None:
        stored = _stored(model, checkpoint)
        return KnownModel(model=model, builds=builds, source=HEADERS + where, stored=stored)
    own = model.quantisation or "fp16"
    try:
        weight_bytes(model, own)
    except SpecError as error:
        at = folder or f"{hub_endpoint()}/{name}"
        raise SpecError(
            f"{name} cannot be sized: {_reason(model, error)}, and {at} holds no whole safetensors"
            " checkpoint whose headers would give its weights"
        ) from error
    return KnownModel(model=model, builds=builds, source=CONFIG + where)


def _reason(model: Architecture, error: SpecError) -> str:
    if model.counts is None:
        return f"the parameters of a {model.kind!r} model are not counted here"
    return str(error)


def _stored(model: Architecture, checkpoint: Checkpoint) -> WeightsOf:
    """The weights of each piece by the checkpoint's headers: its own precision as it is stored, cut
    as the counted parameters are, or evenly where those are not known; others are counted."""
    own = model.quantisation or "fp16"
    engine = DTYPE_BYTES.get(model.dtype or "", ENGINE_BYTES)
    total = checkpoint.bytes_in(min(engine, ENGINE_BYTES))
    counted_as, counted = _counted(model, own)

    def of_piece(piece: Piece, precision: str) -> int:
        if precision != own:
            return piece_weight_bytes(model, piece, precision)
        if counted is None:
            share = piece.layers / model.layers / piece.tensor_parallel
            return round(total * share)
        rotary = ENGINE_BYTES * model.rotary  # which the engine makes
        weights = piece_weight_bytes(model, piece, counted_as) - rotary
        return round(weights * total / counted) + rotary

    return of_piece


def _counted(model: Architecture, own: str) -> tuple[str, int | None]:
    """The precision by which a checkpoint is cut, its own or else 16 bits, and the bytes of all
    weights in it; None for a family that is not counted here."""
    for precision in (own, "fp16"):
        try:
            return precision, weight_bytes(model, precision)
        except SpecError:
            continue
    return own, None


def _builds(name: str) -> tuple[Mapping[str, str], Architecture | None]:
    """The builds of a well-known model, and its sizes as that of `name` is packed; none and None
    for others."""
    try:
        known = find_model(name)
    except SpecError:
        return {}, None
    end = name.lower().rpartition("/")[2]
    own = next((other for other in known.names if other.lower().endswith(end)), known.names[0])
    packed = next((p for p, build in known.variants.items() if build.lower().endswith(end)), None)
    model = known.architecture
    if packed:
        model = replace(model, packing=Packing(name=packed))
    return {"fp16": own, **known.variants}, model
