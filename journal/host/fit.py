"""Fit of a model on a GPU, before anything is rented or its weights are downloaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from journal.errors import SpecError, UsageError
from journal.host.fit_model import KnownModel, known_model
from journal.serve import gpu_memory
from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
from journal.theory.gpu_table import GPU_KINDS, GpuKind, find_gpu
from journal.theory.headroom import Choice, Headroom, ServedAs, build_name, headroom
from journal.theory.kv_types import KV_TYPES, Kv, kv_type
from journal.theory.memory import held_state_bytes, kv_bytes_per_token, sequences_that_fit
from journal.theory.parallelism import Piece, check_sharing, pieces
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
class UsersAt:
    """The number of users at once whose conversations have `context` tokens each, from the least to
    the most that the range of the pool allows, and at most as many as the engine serves at once
    (max_num_seqs)."""

    context: int
    users: int
    users_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The GPUs (`places`) on which a model fits, or not, for `batch` sequences of `context` tokens.
    `answer` says it in a sentence; `builds` are the known builds of the model by precision;
    `known_from` says where its sizes come from. One token takes `kv_bytes_per_token` on one GPU
    while all layers keep it, a sequence keeps `state_bytes` besides, and `mixed` says that some
    layers keep a window or a state only, so that tokens are no rate. `rooms` say how many users fit
    at which context, on the one GPU that was asked for."""

    model: str
    known_from: str
    context: int
    batch: int
    tensor_parallel: int
    pipeline_parallel: int
    kv_bytes_per_token: int
    state_bytes: int
    mixed: bool
    served: ServedAs
    builds: Mapping[str, str]
    places: tuple[Place, ...]
    rooms: tuple[UsersAt, ...]
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
    share: float = GPU_MEMORY_UTILIZATION,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
    kv_cache_dtype: str | None = None,
    correction_bytes: float = 0.0,
) -> Fit:
    """Whether the model `name` (a directory, a name on the hub, or a well-known one) fits on a GPU
    of that kind or size, or on several that share it, for `batch` sequences of `context` tokens.
    Without kind and size it is the GPU of this host, or every GPU known here where this host has
    none. The engine may use `share` of the memory (0 to 1) and takes its other limits as given,
    else vLLM's own; `correction_bytes` is what engines took beyond the estimate, as `fit_score`
    learned it. Of a model on the hub the config and the headers of its files are fetched, some
    kilobytes.

    Raises SpecError for a model, GPU or type of KV cache that is not known, and for a model that
    cannot be shared out so; UsageError for a context that the model does not have.
    """
    _check(gpu, vram_bytes, share)
    known = known_model(name)
    check_sharing(name, known.model, tensor_parallel, pipeline_parallel)
    context = _context(name, known.model.context, context)
    served = ServedAs(
        share=share,
        sequences=max_num_seqs,
        batched_tokens=max_num_batched_tokens,
        kv=_kv(kv_cache_dtype),
        correction_bytes=correction_bytes,
    )
    cut = tuple(pieces(known.model, tensor_parallel, pipeline_parallel))
    asked: dict[str, Any] = {"context": context, "batch": batch, "served": served}
    parts: dict[str, Any] = {
        "tensor_parallel": tensor_parallel,
        "pipeline_parallel": pipeline_parallel,
    }
    places = tuple(
        _place(known, candidate, {**asked, **parts}) for candidate in _candidates(gpu, vram_bytes)
    )
    return Fit(
        model=name,
        known_from=known.source,
        context=context,
        batch=batch,
        **parts,
        kv_bytes_per_token=max(kv_bytes_per_token(piece.cache, served.kv) for piece in cut),
        state_bytes=max(held_state_bytes(piece.cache, served.kv) for piece in cut),
        mixed=known.model.mixed,
        served=served,
        builds=known.builds,
        places=places,
        rooms=_rooms(cut, places, served, known.model.context),
        answer=_answer(name, places, known.builds),
    )


def _place(known: KnownModel, on: "_Candidate", asked: dict[str, Any]) -> Place:
    there = headroom(known.model, on.kind, name=on.name, stored=known.stored, **asked)
    return Place(name=on.name, here=on.here, unified=on.unified, fit=there)


def _check(gpu: str | None, vram_bytes: int | None, share: float) -> None:
    if gpu is not None and vram_bytes is not None:
        raise UsageError("a GPU is named by its kind (--gpu) or by its memory (--vram), not both")
    if not 0 < share <= 1:
        raise UsageError(f"--share {share:g} is no part of the memory: give 0.92 for 92% of it")


def _context(name: str, longest: int | None, asked: int | None) -> int:
    if asked is None:
        return USUAL_CONTEXT if longest is None else min(USUAL_CONTEXT, longest)
    if longest is not None and asked > longest:
        raise UsageError(f"{name} has a context of {longest:,} tokens, not of {asked:,}")
    return asked


def _kv(name: str | None) -> Kv:
    kind = kv_type(name)
    if kind is None:
        raise SpecError(
            f"a KV cache in {name!r} is not known here: it is auto, {', '.join(KV_TYPES)}"
        )
    return kind


def _rooms(
    cut: Sequence[Piece], places: Sequence[Place], served: ServedAs, longest: int | None
) -> tuple[UsersAt, ...]:
    """How many users fit at each doubling of the context, with the build to take (else the most
    packed one) on the only place."""
    if len(places) != 1:
        return ()
    fit_there = places[0].fit
    choice = fit_there.best or min(fit_there.choices, key=lambda each: each.weight_bytes)
    rooms = []
    for context in (2**power for power in range(11, 21)):
        if longest is not None and context > longest:
            break
        least, most = (
            min(
                sequences_that_fit(
                    piece.cache, pool, context, served.kv,
                    batched_tokens=fit_there.load.batched_tokens,
                )
                for piece in cut
            )
            for pool in (choice.pool_bytes, choice.pool_most_bytes)
        )  # fmt: skip
        if most:
            limit = fit_there.load.sequences
            rooms.append(
                UsersAt(context=context, users=min(least, limit), users_most=min(most, limit))
            )
    return tuple(rooms)


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
        most = f" to {choice.sequences_most:,}" if choice.sequences_most > choice.sequences else ""
        return f"yes, {choice.sequences:,}{most} at once"
    if choice.may_fit:
        return "just, or not"
    return "shorter or fewer" if choice.longest > 0 else "no"
