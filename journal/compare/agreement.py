"""Agreement of two builds of a model on the same prompts."""

from collections.abc import Sequence


def agreement(outputs: Sequence[str], others: Sequence[str]) -> float | None:
    """The share (0 to 1) of an answer's words before two models first differ, on average over the
    prompts; None where there are no prompts. `outputs` and `others` are the answers of the two
    models, in the order of the prompts."""
    shares = []
    for one, other in zip(outputs, others, strict=False):
        a, b = one.split(), other.split()
        same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        longest = max(len(a), len(b))
        shares.append((min(len(a), len(b)) if same is None else same) / longest if longest else 1.0)
    return sum(shares) / len(shares) if shares else None
