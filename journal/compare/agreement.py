"""How far two builds of a model say the same to the same prompts."""

from collections.abc import Sequence


def agreement(outputs: Sequence[str], others: Sequence[str]) -> float | None:
    """The share of the words, 0 to 1, that two models say alike before they first differ, on
    average over the prompts; None where there is nothing to compare."""
    shares = []
    for one, other in zip(outputs, others, strict=False):
        a, b = one.split(), other.split()
        same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        longest = max(len(a), len(b))
        shares.append((min(len(a), len(b)) if same is None else same) / longest if longest else 1.0)
    return sum(shares) / len(shares) if shares else None
