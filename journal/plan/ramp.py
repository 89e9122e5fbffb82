"""Rates that change: their profiles, and when their requests are due.

A profile is "10..100 in 60s", a rate that rises or falls evenly, or "10,20,40 each 30s", steps.
Requests come at the times at which the area under the rate has grown by as much as the gaps of an
open loop say, so that they have its burstiness at every rate.
"""

import re
from collections.abc import Sequence
from math import fsum, sqrt
from typing import NamedTuple

from journal.errors import SpecError
from journal.records.experiment import LONGEST_S

_NUMBER = r"(\d+(?:\.\d+)?)"
_EVENLY = re.compile(rf"{_NUMBER}\s*\.\.\s*{_NUMBER}\s+in\s+{_NUMBER}\s*s")
_STEPS = re.compile(rf"({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s+each\s+{_NUMBER}\s*s")
HIGHEST = 1e6  # requests/s


class Stretch(NamedTuple):
    """A stretch of `lasts_s` in which the rate goes evenly from one value to another, in
    requests/s."""

    begins_per_s: float
    ends_per_s: float
    lasts_s: float

    @property
    def requests(self) -> float:
        """The area under the rate."""
        return (self.begins_per_s + self.ends_per_s) / 2 * self.lasts_s

    def at(self, requests: float) -> float:
        """The time in s from its beginning at which so many requests have come."""
        slope = (self.ends_per_s - self.begins_per_s) / self.lasts_s
        root = sqrt(max(0.0, self.begins_per_s**2 + 2 * slope * requests))
        whole = self.begins_per_s + root
        return 2 * requests / whole if whole > 0 else 0.0


def is_profile(text: str) -> bool:
    """Whether `text` is meant as a profile, and not as a list of rates."""
    return ".." in text or " in " in text or " each " in text


def stretches(profile: str) -> list[Stretch]:
    """The stretches of a profile. Raises SpecError for a text of another form, and for a profile in
    which no request comes."""
    made: list[Stretch] = []
    if match := _EVENLY.fullmatch(profile.strip()):
        begins, ends, lasts_s = map(float, match.groups())
        made = [Stretch(begins, ends, lasts_s)] if lasts_s > 0 else []
    elif match := _STEPS.fullmatch(profile.strip()):
        rates = [float(rate) for rate in match[1].split(",")]
        lasts_s = float(match.groups()[-1])
        made = [Stretch(rate, rate, lasts_s) for rate in rates] if lasts_s > 0 else []
    sound = fsum(one.lasts_s for one in made) <= LONGEST_S and requests_of(made) >= 2
    if not made or not sound or any(max(one[:2]) > HIGHEST for one in made):
        raise SpecError(
            f"rate {profile[:60]!r} is no profile of a rate: give 10..100 in 60s, or 10,20,40 each "
            "30s, with two requests or more in it"
        )
    return made


def requests_of(made: Sequence[Stretch]) -> int:
    """The number of requests that come in all stretches."""
    return round(fsum(one.requests for one in made))


def mean_rate(profile: str) -> float:
    """The mean rate of a profile in requests/s. Raises SpecError as `stretches` does."""
    made = stretches(profile)
    return fsum(one.requests for one in made) / fsum(one.lasts_s for one in made)


def ramped(profile: str, shares: Sequence[float]) -> list[float]:
    """The times in s at which so large `shares` (0 to 1, rising) of the requests of a profile have
    come."""
    made = stretches(profile)
    whole = fsum(one.requests for one in made)
    times: list[float] = []
    begun_s, before, left = 0.0, 0.0, iter(made)
    stretch = next(left)
    for share in shares:
        came = share * whole
        while came > before + stretch.requests and (following := next(left, None)) is not None:
            begun_s, before = begun_s + stretch.lasts_s, before + stretch.requests
            stretch = following
        times.append(begun_s + min(stretch.lasts_s, stretch.at(max(0.0, came - before))))
    return times
