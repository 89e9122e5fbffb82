"""How often does the range of a KV pool hold a report that its constants never saw?

    python -m benchmarks.leave_one_out

The terms of the memory beside weights and pool (journal/theory/overhead.py) were set by the public
reports that docs/accuracy.md scores. Here each report is left out in turn: the terms, none below 0,
are fitted to the others with the least sum of absolute errors, each in widths of its range, and the
one left out is predicted by them. The peak of the activations, which was read from vLLM's code,
and the width of the range are the same throughout.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from journal.theory.accuracy import Reported, Scored, of_receipt, scored
from journal.theory.overhead import GIB, Terms

RECEIPTS = Path(__file__).parents[1] / "tests" / "theory" / "memory_receipts.json"
NONE = Terms(base=0, shared=0, stage=0, graphs=0, tower=0)
Row = tuple[list[float], float]
ROUNDS, LEAST_MISS = 50, 1e-3
UNITS = {name: 1.0 if name == "tower" else float(GIB) for name in asdict(NONE)}


def held_out(receipts: Sequence[Mapping[str, Any]], rounds: int = ROUNDS) -> list[Scored]:
    """Each of the `receipts` whose pool has a range, predicted by terms fitted to the others. With
    one of the `rounds` the fit is by least squares."""
    reports = [of_receipt(one) for one in receipts]
    known = [one for one in reports if scored(one).within is not None]
    rows = [_row(one) for one in known]
    return [
        scored(one, fitted([row for row in rows[:n] + rows[n + 1 :] if row is not None], rounds))
        for n, one in enumerate(known)
    ]


def fitted(rows: Sequence[Row], rounds: int = ROUNDS) -> Terms:
    """The terms with which the overheads of reports are nearest to what is left of the memory
    beside weights and pool."""
    factors = _least_absolute(
        np.array([f for f, _ in rows]), np.array([t for _, t in rows]), rounds
    )
    units = zip(UNITS.items(), factors, strict=True)
    return Terms(**{name: unit * float(factor) for (name, unit), factor in units})


def _row(reported: Reported) -> Row | None:
    """How much each unit of a term adds to the overhead of a report, and how much they are to add
    together, in widths of its range; None where it gives no pool."""
    score, left, plain = scored(reported), _left_bytes(reported), _overhead(reported, NONE)
    if left is None or score.pool is None:
        return None
    width = score.pool.high - score.pool.low
    added = [
        (_overhead(reported, replace(NONE, **{name: unit})) - plain) / width
        for name, unit in UNITS.items()
    ]
    return added, (left - plain) / width


def _left_bytes(reported: Reported) -> float | None:
    """Bytes beside weights and pool, as they follow from a report; None where it gives no pool."""
    score, pool = scored(reported), reported.pool_bytes
    if pool is None and score.token_bytes is not None and reported.pool_tokens is not None:
        pool = score.token_bytes * reported.pool_tokens
    if pool is None or reported.usable_bytes is None:
        return None
    return reported.usable_bytes * reported.served.share - score.weights_bytes - pool


def _overhead(reported: Reported, terms: Terms) -> float:
    return scored(reported, terms).overhead or 0.0


def _least_absolute(rows: np.ndarray, targets: np.ndarray, rounds: int) -> np.ndarray:
    """The factors, none below 0, with the least sum of absolute errors: by least squares that
    weigh each row by what it missed before."""
    weights = np.ones(len(targets))
    factors = np.zeros(rows.shape[1])
    for _ in range(rounds):
        factors = _not_negative(rows * weights[:, None], targets * weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(rows @ factors - targets), LEAST_MISS))
    return factors


def _not_negative(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Least squares without the factors that would fall below 0, one after the other."""
    free, factors = list(range(rows.shape[1])), np.zeros(rows.shape[1])
    while free:
        values = np.linalg.lstsq(rows[:, free], targets, rcond=None)[0]
        if values.min() >= 0:
            factors[free] = values
            break
        free.pop(int(values.argmin()))
    return factors


def main() -> None:
    receipts = json.loads(RECEIPTS.read_text())
    for score in held_out(receipts):
        print(f"{'in ' if score.within else 'OUT'}  {score.reported.model} on {score.reported.gpu}")
    for name, rounds in (("absolute errors", ROUNDS), ("squares", 1)):
        inside = [score.within for score in held_out(receipts, rounds)]
        print(
            f"least {name}: {sum(map(bool, inside))} of {len(inside)} in a range fitted to others"
        )


if __name__ == "__main__":
    main()
