"""Crossovers in words: which of two setups is faster up to which batch."""

import math
from collections.abc import Sequence

from journal.compare.crossover import crossover
from journal.compare.ratios import Ratio
from journal.report.document import Sentence, Text, say


def crossover_sentence(
    ratios: Sequence[tuple[float, Ratio]], a: Text, b: Text, prompt_tokens: int | None = None
) -> Sentence | None:
    """The sentence on the crossover of the ratios B / A of a throughput, each with its batch; None
    where there is none. `prompt_tokens` names the place where there are several."""
    found = crossover(ratios)
    if found is None:
        return None
    place = "" if prompt_tokens is None else say("crossover.place", n=f"{prompt_tokens:,}")
    return say(
        "crossover.found",
        a=b if found.falls else a,
        b=a if found.falls else b,
        load=f"{found.load:.0f}",
        low=f"{math.floor(found.low)}",
        high=f"{math.ceil(found.high)}",
        place=place,
    )
