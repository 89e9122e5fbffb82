"""What a whole model that drafts adds to each step."""

import json

import pytest

from journal.records.engine import EngineFacts
from journal.theory.draft_cost import draft_share, speed_up_of
from journal.theory.model_table import find_model

SMALL = find_model("Llama-3.2-1B")


def facts(drafting: str | None, dtype: str | None = "bfloat16") -> EngineFacts:
    setup = json.dumps({"model": drafting, "num_speculative_tokens": 4})
    flags = () if drafting is None else (f"--speculative-config={setup}",)
    return EngineFacts(argv=("python", "-m", "vllm", *flags), dtype=dtype)


def test_the_share_of_a_draft_is_its_weights_over_those_of_the_model() -> None:
    assert draft_share(facts(SMALL.names[0]), 16e9) == 2 * SMALL.published / 16e9
    assert draft_share(facts(SMALL.names[0], "float32"), 16e9) == 4 * SMALL.published / 16e9


@pytest.mark.parametrize(
    ("drafting", "dtype", "weights_bytes"),
    [
        (None, "bfloat16", 16e9),
        ("nobody/none-such", "bfloat16", 16e9),
        (SMALL.names[0], None, 16e9),  # how the engine holds weights is not known
        (SMALL.names[0], "bfloat16", None),
        (SMALL.names[0], "bfloat16", 0.0),
    ],
)
def test_a_share_that_is_not_known_is_absent(
    drafting: str | None, dtype: str | None, weights_bytes: float | None
) -> None:
    assert draft_share(facts(drafting, dtype), weights_bytes) is None


def test_drafts_that_are_taken_speed_up_and_cost_their_share() -> None:
    assert speed_up_of(3.0, 4, 0.0) == 3.0
    assert speed_up_of(3.0, 4, 0.25) == 1.5
    assert speed_up_of(1.0, 4, 0.25) == 0.5  # none was taken
