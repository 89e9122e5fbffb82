"""The machine under the tests: how late it wakes a program, which no clock of ours can better."""

import math
import time

SLEEPS = 200
SLEEP_S = 0.005


def late_s(part: float) -> float:
    """How late a program wakes that sleeps, in s: a `part` (0 to 1) of its sleeps are no later."""
    late = []
    for _ in range(SLEEPS):
        due_s = time.monotonic() + SLEEP_S
        time.sleep(SLEEP_S)
        late.append(time.monotonic() - due_s)
    return sorted(late)[math.ceil(part * SLEEPS) - 1]
