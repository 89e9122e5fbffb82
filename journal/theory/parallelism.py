"""A model on several cards: how it may be cut, and what each card then holds.

Tensor parallel cuts every layer by its heads and the width of its matrices (Shoeybi et al. 2019,
"Megatron-LM"), pipeline parallel deals the layers out in stages (Huang et al. 2019, "GPipe"). The
rules are those of vLLM: its ModelConfig.verify_with_parallel_config, its Llama attention, and
distributed.utils.get_pp_indices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from journal.errors import SpecError
from journal.theory.architecture import Architecture, parameters
from journal.theory.memory import bytes_per_weight

MOST_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What each card of one pipeline stage holds of a model: `layers` of its layers, the table of
    embeddings in the `first` stage, the head in the `last`. `cache` is an architecture whose KV
    cache is that of the card."""

    layers: int
    first: bool
    last: bool
    tensor_parallel: int
    cache: Architecture


def check_sharing(
    name: str, model: Architecture, tensor_parallel: int, pipeline_parallel: int
) -> None:
    """Raises SpecError, in one sentence, where the model `name` cannot be cut so."""
    if not _divides(tensor_parallel, model):
        fitting = [n for n in range(1, model.heads + 1) if _divides(n, model)][:MOST_SHOWN]
        raise SpecError(
            f"tensor_parallel {tensor_parallel} cannot share out the {model.heads} attention heads "
            f"({model.kv_heads} of keys and values) and {model.intermediate:,} columns of {name}: "
            f"take {_either(fitting)}"
        )
    if pipeline_parallel > model.layers:
        raise SpecError(
            f"pipeline_parallel {pipeline_parallel} is more stages than {name} has layers "
            f"({model.layers}): lower it"
        )


def pieces(model: Architecture, tensor_parallel: int, pipeline_parallel: int) -> Iterator[Piece]:
    """What a card of each stage holds. Cards that outnumber the KV heads hold copies of them; what
    MLA keeps is the same on all cards of a stage."""
    for number, layers in enumerate(stages(model.layers, pipeline_parallel)):
        yield Piece(
            layers=layers,
            first=number == 0,
            last=number == pipeline_parallel - 1,
            tensor_parallel=tensor_parallel,
            cache=replace(
                model,
                layers=layers,
                windowed_layers=round(model.windowed_layers * layers / model.layers),
                kv_heads=max(1, model.kv_heads // tensor_parallel),
            ),
        )


def stages(layers: int, pipeline_parallel: int) -> list[int]:
    """The layers of each stage. What is left over goes to the last stages but one, which hold
    neither embeddings nor head."""
    each, left = divmod(layers, pipeline_parallel)
    first = pipeline_parallel - 1 - left
    return [each + (first <= number < first + left) for number in range(pipeline_parallel)]


def piece_weight_bytes(model: Architecture, piece: Piece, precision: str = "fp16") -> int:
    """Bytes of the weights on one card of a stage. Matrices, embeddings and head are cut by tensor
    parallel; norms, biases and routers are on every card of the stage. Raises SpecError where the
    architecture cannot be counted."""
    count, part = parameters(model), piece.layers / model.layers
    tables = count.embedding if piece.first or (piece.last and model.tied) else 0
    tables += count.head if piece.last else 0
    packed = count.linear * part / piece.tensor_parallel * bytes_per_weight(model, precision)
    plain = 4 if precision == "fp32" else 2
    return round(packed + plain * (tables / piece.tensor_parallel + count.other * part))


def _divides(cards: int, model: Architecture) -> bool:
    """Whether each card gets as many whole heads as any other: of keys and values at least one."""
    many, few = max(cards, model.kv_heads), min(cards, model.kv_heads)
    cut = (model.heads % cards, model.intermediate % cards)
    return cut == (0, 0) and (model.latent is not None or many % few == 0)


def _either(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last
