"""The text that the tokens of a model carry, and whether two models cut a text alike."""

from journal.compare.difference import ALIKE
from journal.compare.points import Point


def characters_per_token(point: Point) -> float | None:
    """The characters of text for each output token; None where either is not known."""
    characters, tokens = point.value("characters_per_s"), point.value("output_tokens_per_s")
    return characters / tokens if characters is not None and tokens else None


def cut_differently(first: Point, other: Point) -> bool:
    """Whether the tokens of two models carry different amounts of text, by more than ALIKE, so that
    equal numbers of tokens are not equal text."""
    a, b = characters_per_token(other), characters_per_token(first)
    if first.setup.model == other.setup.model or not a or not b:
        return False
    return abs(a / b - 1) > ALIKE
