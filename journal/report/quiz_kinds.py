"""The kinds of quiz questions: each takes its values from the measured points of one experiment,
and its answer from the code that writes the log."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from journal import units
from journal.compare.difference import difference
from journal.compare.knee import THROUGHPUT, batch_steps, knee, served_at
from journal.compare.points import Point, Points, lines
from journal.compare.room import Room, room
from journal.errors import SpecError
from journal.records.load_shape import Closed
from journal.report.document import Text, say
from journal.theory.architecture import parameters
from journal.theory.gpu_table import find_gpu
from journal.theory.kv_types import KvType
from journal.theory.memory import weight_bytes
from journal.theory.predictions import ServedModel

Part = Literal["weights", "token", "kv_cache"]
Unit = Literal["bytes", "s", "tok/s", "1"]

# Twice or thrice what was measured: a length and a batch that no table of the log has.
LONGER, LARGER = 3, 2
GPU = "A100 80GB"  # where the journal's own GPU is not known
GROWN = 1.2  # times: a smaller growth is lost in the rounding of what is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """One question: `values` fill its phrases, `answer` is in SI units (`unit`). `simple` is the
    result of the worked answer, which leaves out what the question's last phrase names."""

    name: str
    part: Part
    unit: Unit
    answer: float
    simple: float
    tolerance: float
    values: Mapping[str, Text]


Found: TypeAlias = Posed | None


def posed_by(points: Points) -> Iterator[Posed]:
    """The questions that the points of one experiment can pose, each of another kind. Left out is
    one whose worked answer misses the answer by more than half of its tolerance."""
    good = tuple(point for point in points if point.good and not point.lengths_differ)
    for kind in KINDS:
        found = kind(good)
        if found and abs(found.simple / found.answer - 1) <= found.tolerance / 2:
            yield found


# ---- memory ----------------------------------------------------------------------------------


def _asked_room(points: Points) -> tuple[Point, Room, ServedModel | None] | None:
    """The last point whose pool and blocks are known, with the room for requests of LONGER prompts;
    None where layers keep different spans, so that tokens are no measure of the pool."""
    for point in reversed(points):
        held, model, prompt = room(point), served_at(point), point.prompt_tokens
        if held and held.block_tokens and prompt and not (model and model.model.mixed):
            length = held.length + (LONGER - 1) * prompt
            return point, replace(held, length=length), model
    return None


def _lengths(point: Point, held: Room) -> dict[str, Text]:
    return {
        "model": point.setup.model,
        "prompt": f"{LONGER * (point.prompt_tokens or 0):,}",
        "output": units.whole(point.output_tokens),
        "length": f"{held.length:,}",
        "block": f"{held.block_tokens or 1:,}",
        "blocks": f"{held.held // (held.block_tokens or 1):,}",
        "held": f"{held.held:,}",
    }


def _kv_room(points: Points) -> Found:
    """Requests of a length that a pool of so many tokens holds at once, in whole blocks."""
    found = _asked_room(points)
    if found is None or found[1].requests < 1:
        return None
    point, held, _ = found
    values = _lengths(point, held) | {
        "pool": f"{held.tokens:,.0f}",
        "usable": f"{held.usable:,.0f}",
        "result": f"{held.requests:,}",
    }
    return Posed(
        name="kv_room",
        part="kv_cache",
        unit="1",
        answer=held.requests,
        simple=held.requests,
        tolerance=0.05,
        values=values,
    )


def _kv_request(points: Points) -> Found:
    """Bytes of the KV cache that one request takes, from the sizes of the model."""
    found = _asked_room(points)
    point, held, served = found or (None, None, None)
    if point is None or held is None or served is None or served.model.latent is not None:
        return None
    model, kv = served.model, served.kv
    held = replace(held, token_bytes=served.kv_bytes_per_token)
    element = kv.element_bytes if isinstance(kv, KvType) else kv
    if held.request_bytes is None or element is None:
        return None
    token = 2 * model.layers * model.kv_heads * model.head_dim * element
    values = _lengths(point, held) | {
        "layers": str(model.layers),
        "heads": str(model.kv_heads),
        "dim": str(model.head_dim),
        "element": units.number(element),
        "token": f"{token:,.0f}",
        "result": units.data_size(held.request_bytes),
    }
    return Posed(
        name="kv_request",
        part="kv_cache",
        unit="bytes",
        answer=held.request_bytes,
        simple=token * held.held,
        tolerance=0.05,
        values=values,
    )


def _weights(points: Points) -> Found:
    """Bytes of the weights of a build with 8 bits in the matrices of its layers."""
    for point in reversed(points):
        served = served_at(point)
        try:
            count = parameters(served.model) if served else None
            if served is None or count is None or served.precision in ("fp8", "int8", None):
                continue
            answer = weight_bytes(served.model, "fp8")
        except SpecError:
            continue
        return Posed(
            name="weights",
            part="weights",
            unit="bytes",
            answer=answer,
            simple=count.linear + 2 * (count.total - count.linear),
            tolerance=0.05,
            values={
                "model": point.setup.model,
                "total": f"{count.total:,}",
                "linear": f"{count.linear:,}",
                "others": f"{count.total - count.linear:,}",
                "result": units.data_size(answer),
            },
        )
    return None


# ---- time ------------------------------------------------------------------------------------


def _step_floor(points: Points) -> Found:
    """The floor of a decode step by what it reads, at a batch that was not measured."""
    closed = [point for point in points if isinstance(point.shape, Closed)]
    point = max(closed, key=lambda one: one.load, default=None)
    served = served_at(point) if point else None
    if point is None or served is None or point.prompt_tokens is None:
        return None
    gpu = served.gpu or find_gpu(GPU)
    served = replace(served, gpu=gpu)
    batch, context = LARGER * round(point.load), point.prompt_tokens
    floor, token, weights = (
        served.tpot_floor_s(batch, context),
        served.kv_bytes_per_token,
        served.weights_bytes,
    )
    if not floor or not token or not weights or served.decode_bound(batch, context) != "memory":
        return None
    table = 0 if served.model.tied else 2 * parameters(served.model).embedding
    read, cached = weights - table, batch * context * token
    bandwidth = gpu.bandwidth * served.tensor_parallel
    return Posed(
        name="step_floor",
        part="token",
        unit="s",
        answer=floor,
        simple=(read + cached) / bandwidth,
        tolerance=0.1,
        values={
            "model": point.setup.model,
            "gpu": gpu.name or "GPU",
            "bandwidth": f"{units.number(bandwidth / 1e9)} GB/s",
            "weights": units.data_size(read),
            "token": f"{token:,}",
            "batch": f"{batch:,}",
            "context": f"{context:,}",
            "cached": units.data_size(cached),
            "read": units.data_size(read + cached),
            "result": units.seconds(floor),
        },
    )


def _throughput(points: Points) -> Found:
    """Tokens/s of all requests in flight, from the times of one of them: Little's law."""
    closed = [p for p in points if isinstance(p.shape, Closed) and p.load > 1]
    for point in sorted(closed, key=lambda one: -one.load):
        ttft, tpot, made = map(point.value, ("ttft_s.mean", "tpot_s.mean", THROUGHPUT))
        output = point.output_tokens
        if not ttft or not tpot or not made or output is None:
            continue
        takes = ttft + (output - 1) * tpot
        return Posed(
            name="throughput",
            part="token",
            unit="tok/s",
            answer=made,
            simple=point.load * output / takes,
            tolerance=0.15,
            values={
                "model": point.setup.model,
                "batch": f"{point.load:,.0f}",
                "prompt": units.whole(point.prompt_tokens),
                "output": f"{output:,}",
                "further": f"{output - 1:,}",
                "ttft": units.seconds(ttft),
                "tpot": units.seconds(tpot),
                "takes": units.seconds(takes),
                "worked": units.rate(point.load * output / takes),
                "result": units.rate(made),
            },
        )
    return None


def _prefill(points: Points) -> Found:
    """The growth of TTFT for each further token of the prompt, where the test sees one."""
    for line in lines(points, "prompt_tokens"):
        first, last = line[0], line[-1]
        figures = first.figure("ttft_s.p50"), last.figure("ttft_s.p50")
        between = difference(*figures)
        if between is None or between.verdict != "rises" or between.ratio < GROWN:
            continue
        less, more = (figure.value or 0.0 for figure in figures if figure)
        assert first.prompt_tokens is not None and last.prompt_tokens is not None  # of a line
        tokens = last.prompt_tokens - first.prompt_tokens
        growth = (more - less) / tokens
        return Posed(
            name="prefill",
            part="token",
            unit="s",
            answer=growth,
            simple=growth,
            tolerance=0.1,
            values={
                "model": first.setup.model,
                "load": say(f"at.{last.shape.axis}", n=last.load_text),
                "first": f"{first.prompt_tokens:,}",
                "last": f"{last.prompt_tokens:,}",
                "less": units.seconds(less),
                "more": units.seconds(more),
                "tokens": f"{tokens:,}",
                "result": units.seconds(growth),
            },
        )
    return None


def _batch_lines(points: Points) -> list[Points]:
    return [line for line in lines(points, "batch") if len(batch_steps(line)) > 0]


def _doubling(points: Points) -> Found:
    """The gain in throughput for each doubling of the batch, over the last step of a line."""
    for line in _batch_lines(points):
        step = batch_steps(line)[-1]
        less, more = step.before.value(THROUGHPUT), step.after.value(THROUGHPUT)
        return Posed(
            name="doubling",
            part="token",
            unit="1",
            answer=step.gain,
            simple=step.gain,
            tolerance=0.05,
            values={
                "model": step.before.setup.model,
                "prompt": units.whole(step.before.prompt_tokens),
                "few": f"{step.before.load:,.0f}",
                "many": f"{step.after.load:,.0f}",
                "less": units.rate(less),
                "more": units.rate(more),
                "result": units.number(step.gain),
            },
        )
    return None


def _knee(points: Points) -> Found:
    """The batch from which on a doubling is certain to gain less than a fifth."""
    for line in _batch_lines(points):
        step = knee(line)
        if step is None:
            continue
        return Posed(
            name="knee",
            part="token",
            unit="1",
            answer=step.before.load,
            simple=step.before.load,
            tolerance=0.0,
            values={
                "model": step.before.setup.model,
                "prompt": units.whole(step.before.prompt_tokens),
                "rates": tuple(
                    f"{point.load:,.0f}: {units.rate(point.value(THROUGHPUT))}" for point in line
                ),
                "gain": units.number(step.gain),
                "result": f"{step.before.load:,.0f}",
            },
        )
    return None


KINDS: tuple[Callable[[Points], Found], ...] = (
    _weights,
    _kv_room,
    _kv_request,
    _step_floor,
    _throughput,
    _prefill,
    _doubling,
    _knee,
)
