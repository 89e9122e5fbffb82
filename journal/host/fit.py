"""Fit of a model on a GPU, before anything is rented or downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from journal.errors import SpecError, UsageError
from journal.serve import gpu_memory, models
from journal.theory.architecture import Architecture, architecture
from journal.theory.gpu_table import GPU_KINDS, GpuKind, find_gpu
from journal.theory.headroom import Choice, Headroom, build_name, headroom
from journal.theory.memory import kv_bytes_per_token
from journal.theory.model_table import find_model
from journal.theory.packing import Packing
from journal.theory.parallelism import check_sharing, pieces
from journal.units import data_size

NAMELESS = "a GPU"
USUAL_CONTEXT = 8192  # of one conversation, where nobody says


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A GPU, or a memory of that size, and the fit of the model there. `here`: it is in this host;
    `unified`: it shares the host's memory."""

    name: str
    here: bool
    fit: Headroom
    unified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The GPUs (`places`) on which a model fits, or not, for `batch` sequences of `context` tokens.
    `answer` says it in a sentence; `builds` are the known builds of the model by precision;
    `known_from` says where its sizes come from. One token takes `kv_bytes_per_token` on one GPU."""

    model: str
    known_from: str
    context: int
    batch: int
    tensor_parallel: int
    pipeline_parallel: int
    kv_bytes_per_token: int
    builds: Mapping[str, str]
    places: tuple[Place, ...]
    answer: str


def fit(
    name: str,
    *,
    gpu: str | None = None,
    vram_bytes: int | None = None,
    context: int | None = None,
    batch: int = 1,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
) -> Fit:
    """Whether the model `name` (a directory, a name in the hub's cache, or a well-known one) fits
    on a GPU of that kind or size, or on several that share it, for `batch` sequences of `context`
    tokens. Without kind and size it is the GPU of this host, or every GPU known here where this
    host has none. Nothing is fetched.

    Raises SpecError for a model or GPU that is not known, with the nearest names, and for a model
    that cannot be shared out so; UsageError for a context that the model does not have.
    """
    if gpu is not None and vram_bytes is not None:
        raise UsageError("a GPU is named by its kind (--gpu) or by its memory (--vram), not both")
    sizes, builds, known_from = _model(name)
    check_sharing(name, sizes, tensor_parallel, pipeline_parallel)
    longest = sizes.context
    if context is None:
        context = USUAL_CONTEXT if longest is None else min(USUAL_CONTEXT, longest)
    elif longest is not None and context > longest:
        raise UsageError(f"{name} has a context of {longest:,} tokens, not of {context:,}")
    places = tuple(
        Place(
            name=candidate.name,
            here=candidate.here,
            unified=candidate.unified,
            fit=headroom(
                sizes,
                candidate.kind,
                context=context,
                batch=batch,
                tensor_parallel=tensor_parallel,
                pipeline_parallel=pipeline_parallel,
            ),
        )
        for candidate in _candidates(gpu, vram_bytes)
    )
    return Fit(
        model=name,
        known_from=known_from,
        context=context,
        batch=batch,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        kv_bytes_per_token=max(
            kv_bytes_per_token(piece.cache)
            for piece in pieces(sizes, tensor_parallel, pipeline_parallel)
        ),
        builds=builds,
        places=places,
        answer=_answer(name, places, builds),
    )


def _model(name: str) -> tuple[Architecture, Mapping[str, str], str]:
    """The model's sizes, its known builds (16 bits: itself), and where they are known from."""
    config: dict[str, Any] | None = models.read_config(name)
    try:
        known = find_model(name)
    except SpecError:
        if config is None:
            raise
        return architecture(config), {}, "its config.json"
    end = name.lower().rpartition("/")[2]
    own = next((other for other in known.names if other.lower().endswith(end)), known.names[0])
    builds = {"fp16": own, **known.variants}
    if config is not None:
        return architecture(config), builds, "its config.json"
    packed = next((p for p, build in known.variants.items() if build.lower().endswith(end)), None)
    model = known.architecture
    if packed:
        model = replace(model, packing=Packing(name=packed))
    return model, builds, "the table of well-known models"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A GPU in question: of a kind, or of so many bytes."""

    name: str
    kind: GpuKind | int
    here: bool = False
    unified: bool = False


def _candidates(gpu: str | None, vram_bytes: int | None) -> list[_Candidate]:
    """The GPUs in question. Raises UsageError where this host's GPUs do not give their memory."""
    if vram_bytes is not None:
        return [_Candidate(name=NAMELESS, kind=vram_bytes)]
    if gpu is not None:
        kind = find_gpu(gpu)
        return [_Candidate(name=kind.name, kind=kind)]
    here = gpu_memory.here()
    known = {
        (name, size): _Candidate(name=name, kind=size, here=True, unified=seen.unified)
        for seen in here
        if (name := seen.name or NAMELESS) and (size := seen.memory_bytes) is not None
    }
    if here and not known:
        raise UsageError(
            f"the memory of {here[0].name or 'the GPU'} cannot be read here (journal doctor says "
            "why): give its size with --vram, or name its kind with --gpu"
        )
    return list(known.values()) or [_Candidate(name=kind.name, kind=kind) for kind in GPU_KINDS]


def _answer(name: str, places: tuple[Place, ...], builds: Mapping[str, str]) -> str:
    short = name.rstrip("/").rpartition("/")[2]
    if len(places) > 1:
        return _from_which_on(short, places)
    place = places[0]
    sentence = f"{short} on {_described(place)}: {place.fit.advice}"
    best = place.fit.best
    if best is None or not builds:
        return sentence
    build = builds.get(best.precision)
    if build is not None:
        return sentence if build.lower().endswith(name.lower()) else f"{sentence} That is {build}."
    other = next((one for one in place.fit.choices if one.fits and one.precision in builds), None)
    instead = "" if other is None else f", but {builds[other.precision]} fits as well"
    return f"{sentence} No {build_name(best.precision)} of it is known here{instead}."


def _described(place: Place) -> str:
    size, gpus = data_size(place.fit.vram_bytes), place.fit.gpu_count
    if place.unified:
        size = f"{size}, shared with the host"
    if place.name == NAMELESS:
        return f"{gpus} GPUs of {size}" if gpus > 1 else f"a GPU of {size}"
    return f"{gpus} x {place.name} ({size})" if gpus > 1 else f"{place.name} ({size})"


def _from_which_on(short: str, places: tuple[Place, ...]) -> str:
    """The smallest GPU for each precision in a sentence; `places` are ordered by their memory."""
    smallest: dict[str, list[str]] = {}
    for number, choice in enumerate(places[0].fit.choices):
        first = next((place for place in places if place.fit.choices[number].fits), None)
        if first is not None:
            smallest.setdefault(_described(first), []).append(build_name(choice.precision))
    load = f"{places[0].fit.batch} x {places[0].fit.context:,} tokens"
    if not smallest:
        advice = "share it among more with --tensor-parallel"
        return f"{short}: {load} fit on no GPU known here; {advice}."
    the = "" if places[0].fit.gpu_count > 1 else "the "
    parts = (f"{_listed(builds)} from {the}{gpu} on" for gpu, builds in smallest.items())
    return f"{short}, for {load}: {'; '.join(parts)}."


def _listed(builds: list[str]) -> str:
    *others, last = builds
    return f"{', '.join(others)} and {last}" if others else last


def choice_verdict(choice: Choice) -> str:
    """Whether a build fits, in a few words."""
    if not choice.runs:
        return "no kernels on this GPU"
    if choice.fits:
        return f"yes, {choice.sequences:,} at once"
    return "shorter or fewer" if choice.longest > 0 else "no"
