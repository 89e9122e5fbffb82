"""The requests of a load that are still to be sent, those drawn while it lasts among them."""

import time
from collections import deque
from collections.abc import Iterable

from journal.load.backlog import LoadPart
from journal.records.request import Request

READY = 8  # groups drawn ahead, so that a stream that is free need not wait for a prompt
DRAWING_S = 0.001  # the longest slice in which prompts are drawn while answers stream


class Supply:
    """The groups of requests that are still to be sent: single requests, or conversations. Where a
    time limits the load, it begins with the first measured request that is taken."""

    def __init__(self, groups: Iterable[list[Request]], part: LoadPart | None = None) -> None:
        """`part` has the time and the endless requests; None: `groups` are all there are."""
        self._listed = deque(groups)
        self._lasts_s = None if part is None else part.duration_s
        self._endless = None if part is None else part.endless
        self._number, self._step = (0, 1) if part is None else part.share
        self._after = deque([one] for one in (self._endless.after if self._endless else ()))
        self._drawn: deque[list[Request]] = deque()
        self._ends_s: float | None = None
        for _ in range(READY):
            self._draw()

    @property
    def over(self) -> bool:
        """Whether the time of the load is over."""
        return self._ends_s is not None and time.monotonic() >= self._ends_s

    def take(self) -> list[Request] | None:
        """The next group; None where nothing more is to be sent."""
        if self._listed and self._listed[0][0].filler and self._ends_s is None:
            return self._listed.popleft()
        if self._lasts_s is not None and self._ends_s is None:
            self._ends_s = time.monotonic() + self._lasts_s
        if self.over:
            return self._after.popleft() if self._after else None
        if self._listed:
            return self._listed.popleft()
        if not self._drawn:
            self._draw()
        return self._drawn.popleft() if self._drawn else None

    def work(self) -> None:
        """Draw groups until READY are there, for up to DRAWING_S."""
        until_s = time.monotonic() + DRAWING_S
        while len(self._drawn) < READY and self._endless and time.monotonic() < until_s:
            self._draw()

    def _draw(self) -> None:
        if self._endless is not None:
            self._drawn.append(self._endless.group(self._number))
            self._number += self._step
