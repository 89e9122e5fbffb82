"""Mixes: requests whose lengths differ in kind, drawn from distributions.

Lengths are quantiles of their distribution, evenly spaced, in an order of the cell's seed: a few
requests already have the distribution that was asked for, and each repeat has the same lengths.
"""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import exp, log1p, sqrt
from pathlib import Path
from statistics import NormalDist, fmean

from journal.errors import SpecError
from journal.paths import anything_is_at, file_is_at
from journal.records.workload import MOST_TOKENS, Length, Part

Quantile = Callable[[float], int]  # of a share between 0 and 1, in tokens
FINE = 1000  # quantiles that a mean is taken over
_UNIFORM = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_LOG_NORMAL = re.compile(r"(\d{1,9})~(\d{1,3}(?:\.\d{1,6})?)")
FORMS = "a number, 64..256 (uniform), 2048~0.5 (log-normal: mean and spread), or @FILE"


def mixed(mix: Sequence[Part], count: int, seed: int) -> list[tuple[int, int]]:
    """The prompt and output tokens of `count` requests of a mix, in an order of `seed`. Each part
    has its share of them, to the nearest request. Raises SpecError as `quantile` does."""
    drawn: list[tuple[int, int]] = []
    for number, (part, share) in enumerate(zip(mix, shares(mix, count), strict=True)):
        prompts, outputs = (
            _drawn(length, share, random.Random(f"mix {seed} {number} {name}"))
            for name, length in (("prompt", part.prompt_tokens), ("output", part.output_tokens))
        )
        drawn += zip(prompts, outputs, strict=True)
    random.Random(f"mix {seed}").shuffle(drawn)
    return drawn


def shares(mix: Sequence[Part], count: int) -> list[int]:
    """The requests of each part, whose sum is `count`: those left by rounding down go to the parts
    that lost most by it."""
    whole = sum(part.weight for part in mix)
    exact = [count * part.weight / whole for part in mix]
    each = [int(share) for share in exact]
    order = sorted(range(len(mix)), key=lambda place: each[place] - exact[place])
    for place in order[: count - sum(each)]:
        each[place] += 1
    return each


def means(mix: Sequence[Part]) -> tuple[int, int]:
    """The mean prompt and output tokens of a mix, rounded, at least 1. Raises SpecError as
    `quantile` does."""
    whole = sum(part.weight for part in mix)
    prompt = sum(part.weight * _mean(part.prompt_tokens) for part in mix) / whole
    output = sum(part.weight * _mean(part.output_tokens) for part in mix) / whole
    return max(1, round(prompt)), max(1, round(output))


def content_of(mix: Sequence[Part]) -> str | None:
    """The SHA-256, in hex, of the files of lengths of a mix; None where it has none."""
    lengths = [length for part in mix for length in (part.prompt_tokens, part.output_tokens)]
    files = [_numbers(one[1:]) for one in lengths if isinstance(one, str) and one.startswith("@")]
    return hashlib.sha256(repr(files).encode()).hexdigest() if files else None


def quantile(length: Length) -> Quantile:
    """The quantiles of a length. Raises SpecError for a text of no known form, and for a file that
    cannot be read."""
    if isinstance(length, int):
        return lambda _: length
    if length.startswith("@"):
        numbers = _numbers(length[1:])
        return lambda share: numbers[min(int(share * len(numbers)), len(numbers) - 1)]
    if (match := _UNIFORM.fullmatch(length)) and 0 < int(match[1]) <= int(match[2]) <= MOST_TOKENS:
        low, high = int(match[1]), int(match[2])
        return lambda share: low + min(int(share * (high - low + 1)), high - low)
    match = _LOG_NORMAL.fullmatch(length)
    if match and 0 < int(match[1]) <= MOST_TOKENS and float(match[2]) > 0:
        sigma, mean = sqrt(log1p(float(match[2]) ** 2)), int(match[1])
        normal = NormalDist(0.0, sigma)
        scale = mean / exp(sigma**2 / 2)
        return lambda share: min(MOST_TOKENS, max(1, round(scale * exp(normal.inv_cdf(share)))))
    raise SpecError(f"{length[:60]!r} is no length of a mix: give {FORMS}")


def _drawn(length: Length, count: int, chance: random.Random) -> list[int]:
    at = quantile(length)
    drawn = [at((number + 0.5) / count) for number in range(count)]
    chance.shuffle(drawn)
    return drawn


def _mean(length: Length) -> float:
    at = quantile(length)
    return fmean(at((number + 0.5) / FINE) for number in range(FINE))


@lru_cache(maxsize=16)
def _numbers(name: str) -> tuple[int, ...]:
    """The whole numbers in the lines of a file, rising."""
    path = Path(name)
    if anything_is_at(path) and not file_is_at(path):
        raise SpecError(f"{path} is no plain file, which is read several times: save it as one")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the lengths {path} cannot be read: {error}") from error
    numbers = []
    for line, text in enumerate(lines, start=1):
        word = text.strip()
        if not word:
            continue
        if not (word.isascii() and word.isdigit() and 0 < int(word[:12]) <= MOST_TOKENS):
            raise SpecError(f"{path}: line {line} is no number of tokens from 1 to {MOST_TOKENS:,}")
        numbers.append(int(word))
    if not numbers:
        raise SpecError(f"{path} has no length to draw")
    return tuple(sorted(numbers))
