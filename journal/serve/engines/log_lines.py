"""Lines of an engine's log in a form that may be shown: bounded, and without control characters."""

import re

TAIL_LINES = 30
# Python's libraries print this at the end of any process.
NOISE = re.compile(
    r"^nanobind|^ - (?:leaked|\.\.\. skipped)|refleaks|resource_tracker: There|warnings\.warn"
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """`text` without terminal control characters."""
    return CONTROL.sub("", text)


def tail(text: str) -> str:
    """The last lines of a log that hold more than noise, without control characters."""
    lines = [clean(line) for line in text.splitlines()]
    telling = [line for line in lines if line.strip() and not NOISE.search(line)]
    return "\n".join(telling[-TAIL_LINES:])
