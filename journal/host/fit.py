"""Does a model fit on a GPU? Asked before anything is rented or downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from journal.errors import SpecError, UsageError
from journal.serve import gpu_memory, models
from journal.theory.architecture import Architecture, architecture
from journal.theory.gpu_table import GPU_KINDS, GpuKind, find_gpu
from journal.theory.headroom import Choice, Headroom, headroom, words
from journal.theory.memory import kv_bytes_per_token
from journal.theory.model_table import find_model
from journal.theory.parallelism import check_sharing, pieces
from journal.units import data_size

NAMELESS = "a GPU"
USUAL_CONTEXT = 8192  # of one conversation, where nobody says


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A GPU, or a memory of that size, and what fits there. `here`: it is in this host;
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
    asked = name.lower().rpartition("/")[2]
    own = next((each for each in known.names if each.lower().endswith(asked)), known.names[0])
    builds = {"fp16": own, **known.variants}
    if config is not None:
        return architecture(config), builds, "its config.json"
    packed = next((p for p, build in known.variants.items() if build.lower().endswith(asked)), None)
    model = replace(known.architecture, quantisation=packed) if packed else known.architecture
    return model, builds, "the table of well-known models"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A GPU that is meant: of this kind, or of so many bytes."""

    name: str
    kind: GpuKind | int
    here: bool = False
    unified: bool = False


def _candidates(gpu: str | None, vram_bytes: int | None) -> list[_Candidate]:
    """Each GPU that is meant. Raises UsageError where this host has some and none of them gives
    its memory."""
    if vram_bytes is not None:
        return [_Candidate(name=NAMELESS, kind=vram_bytes)]
    if gpu is not None:
        card = find_gpu(gpu)
        return [_Candidate(name=card.name, kind=card)]
    here = gpu_memory.here()
    known = {
        (name, size): _Candidate(name=name, kind=size, here=True, unified=each.unified)
        for each in here
        if (name := each.name or NAMELESS) and (size := each.memory_bytes) is not None
    }
    if here and not known:
        raise UsageError(
            f"the memory of {here[0].name or 'the GPU'} cannot be read here (journal doctor says "
            "why): say how much there is with --vram, or name its kind with --gpu"
        )
    return list(known.values()) or [_Candidate(name=card.name, kind=card) for card in GPU_KINDS]


def _answer(name: str, places: tuple[Place, ...], builds: Mapping[str, str]) -> str:
    short = name.rstrip("/").rpartition("/")[2]
    if len(places) > 1:
        return _from_which_on(short, places)
    place = places[0]
    told = f"{short} on {_said(place)}: {place.fit.advice}"
    best = place.fit.best
    if best is None or not builds:
        return told
    build = builds.get(best.precision)
    if build is not None:
        return told if build.lower().endswith(name.lower()) else f"{told} That is {build}."
    other = next(
        (each for each in place.fit.choices if each.fits and each.precision in builds), None
    )
    instead = "" if other is None else f", but {builds[other.precision]} fits as well"
    return f"{told} No {words(best.precision)} of it is known here{instead}."


def _said(place: Place) -> str:
    size, gpus = data_size(place.fit.vram_bytes), place.fit.gpu_count
    if place.unified:
        size = f"{size}, shared with the host"
    if place.name == NAMELESS:
        return f"{gpus} GPUs of {size}" if gpus > 1 else f"a GPU of {size}"
    return f"{gpus} x {place.name} ({size})" if gpus > 1 else f"{place.name} ({size})"


def _from_which_on(short: str, places: tuple[Place, ...]) -> str:
    """The smallest GPU for each precision; `places` are ordered by their memory."""
    smallest: dict[str, list[str]] = {}
    for number, choice in enumerate(places[0].fit.choices):
        first = next((place for place in places if place.fit.choices[number].fits), None)
        if first is not None:
            smallest.setdefault(_said(first), []).append(words(choice.precision))
    asked = f"{places[0].fit.batch} x {places[0].fit.context:,} tokens"
    if not smallest:
        what = "share it among more with --tensor-parallel"
        return f"{short}: {asked} fit on no GPU known here; {what}."
    the = "" if places[0].fit.gpu_count > 1 else "the "
    told = (f"{_listed(builds)} from {the}{gpu} on" for gpu, builds in smallest.items())
    return f"{short}, for {asked}: {'; '.join(told)}."


def _listed(builds: list[str]) -> str:
    *others, last = builds
    return f"{', '.join(others)} and {last}" if others else last


def verdict(choice: Choice) -> str:
    """Whether it fits, in a few words."""
    if not choice.runs:
        return "no kernels on this GPU"
    if choice.fits:
        return f"yes, {choice.sequences:,} at once"
    return "shorter or fewer" if choice.longest > 0 else "no"
