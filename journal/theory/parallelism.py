"""A model on several GPUs: the ways to cut it, and the part that each GPU holds.

Tensor parallel cuts every layer by its heads and the width of its matrices (Shoeybi et al. 2019,
"Megatron-LM"), pipeline parallel deals the layers out in stages (Huang et al. 2019, "GPipe"). The
rules are those of vLLM: its ModelConfig.verify_with_parallel_config, its Llama attention, and
distributed.utils.get_pp_indices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from journal.errors import SpecError
from journal.theory.architecture import Architecture, parameters
from journal.theory.memory import matrix_bytes, plain_bytes

MOST_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The part of a model on each of the `tensor_parallel` GPUs of one pipeline stage: `layers` of
    its layers from the one at `start` on, the table of embeddings in the `first` stage, the head in
    the `last`. `cache` is an architecture with the KV cache of one such GPU."""

    start: int
    layers: int
    first: bool
    last: bool
    tensor_parallel: int
    cache: Architecture


def check_sharing(
    name: str, model: Architecture, tensor_parallel: int, pipeline_parallel: int
) -> None:
    """Refuse (SpecError) to cut the model `name` into `tensor_parallel` parts of each layer and
    `pipeline_parallel` stages where its heads, columns or layers do not divide so."""
    if not _divides(tensor_parallel, model):
        counts = [n for n in range(1, model.heads + 1) if _divides(n, model)][:MOST_SHOWN]
        raise SpecError(
            f"tensor_parallel {tensor_parallel} cannot share out the {model.heads} attention heads "
            f"({model.kv_heads} of keys and values) and {model.intermediate:,} columns of {name}: "
            f"take {_either(counts)}"
        )
    if pipeline_parallel > model.layers:
        raise SpecError(
            f"pipeline_parallel {pipeline_parallel} is more stages than {name} has layers "
            f"({model.layers}): lower it"
        )


def pieces(model: Architecture, tensor_parallel: int, pipeline_parallel: int) -> Iterator[Piece]:
    """The part on a GPU of each pipeline stage, in order. GPUs that outnumber the KV heads hold
    copies of them; with MLA each GPU of a stage keeps the whole cache of the stage."""
    start = 0
    for number, layers in enumerate(layers_by_stage(model.layers, pipeline_parallel)):
        plan = model.plan[start : start + layers]
        yield Piece(
            start=start,
            layers=layers,
            first=number == 0,
            last=number == pipeline_parallel - 1,
            tensor_parallel=tensor_parallel,
            cache=replace(model, plan=tuple(layer.on_one_of(tensor_parallel) for layer in plan)),
        )
        start += layers


def layers_by_stage(layers: int, pipeline_parallel: int) -> list[int]:
    """The number of layers in each stage. Layers left over by the division go one each to the
    stages before the last, which hold neither embeddings nor head."""
    share, left = divmod(layers, pipeline_parallel)
    first = pipeline_parallel - 1 - left
    return [share + (first <= number < first + left) for number in range(pipeline_parallel)]


def piece_weight_bytes(model: Architecture, piece: Piece, precision: str = "fp16") -> int:
    """Bytes of the weights on one GPU of a stage. Matrices, embeddings, head and towers are cut by
    tensor parallel; norms, biases and routers are on every GPU of the stage, and so is the table of
    rotations that an engine makes. Raises SpecError where the architecture cannot be counted."""
    count, part = parameters(model), piece.layers / model.layers
    own = tuple(enumerate(model.plan))[piece.start : piece.start + piece.layers]
    tables = count.embedding if piece.first or (piece.last and model.tied) else 0
    tables += (count.head if piece.last else 0) + (count.tower if piece.first else 0)
    matrices = sum(matrix_bytes(model, layer, number, precision) for number, layer in own)
    plain = tables / piece.tensor_parallel + count.other * part + model.rotary
    return round(matrices / piece.tensor_parallel + plain_bytes(precision) * plain)


def _divides(gpu_count: int, model: Architecture) -> bool:
    """Whether each GPU gets as many whole heads as any other, and at least one of keys and
    values; a model without attention is cut by its columns alone."""
    if not model.caches:
        return model.intermediate % gpu_count == 0
    many, few = max(gpu_count, model.kv_heads), min(gpu_count, model.kv_heads)
    cut = (model.heads % gpu_count, model.intermediate % gpu_count)
    return cut == (0, 0) and (model.latent is not None or many % few == 0)


def _either(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last
