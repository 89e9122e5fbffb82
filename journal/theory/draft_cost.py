"""The cost of drafts: what a model that drafts adds to a step of the model that it drafts for."""

from journal.errors import SpecError
from journal.records.engine import EngineFacts
from journal.serve.engines.vllm.drafting import draft_model
from journal.theory.model_table import find_model
from journal.theory.predictions import served_model


def draft_share(facts: EngineFacts, weights_bytes: float | None) -> float | None:
    """The weights that a step of the draft model reads over those of the model that it drafts for,
    `weights_bytes`: its share of a step's time while reading weights takes it. None where no whole
    model drafts, or where one of them is not known."""
    name = draft_model(facts.argv or ())
    if name is None or not weights_bytes:
        return None
    try:
        drafting = served_model(
            EngineFacts(config=find_model(name).config, dtype=facts.dtype), None
        )
    except SpecError:
        return None
    own_bytes = None if drafting is None else drafting.weights_bytes
    return None if own_bytes is None else own_bytes / weights_bytes


def speed_up_of(tokens_per_step: float, drafted: float, share: float) -> float:
    """The speed-up of decoding by drafts of `drafted` tokens, each of which costs `share` of a
    step.

    Source: Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding",
    theorem 3.8.
    """
    return tokens_per_step / (1 + drafted * share)
