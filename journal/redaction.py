"""Secrets: how they are known, and how a text is shown without them."""

import re
from collections.abc import Iterable, Mapping

Secret = re.Pattern[str] | None

HIDDEN = "***"
SHORTEST = 8  # a shorter value may well be a common word, and hiding it would spoil the text
NAME = re.compile(
    r"((^|[_-])((API)?KEY|TOKEN|SECRET|PASSPHRASE|CREDENTIALS?)|PASSW(OR)?D)$", re.IGNORECASE
)


def pattern(values: Iterable[str]) -> Secret:
    """What finds any of `values` that stands by itself; None where there is none."""
    found = sorted(set(filter(None, values)), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, found))})(?!\w)") if found else None


def among(variables: Mapping[str, str]) -> Secret:
    """What finds the values of variables whose names say that they are keys or tokens."""
    named = (value for name, value in variables.items() if NAME.search(name))
    return pattern(value for value in named if len(value) >= SHORTEST)


def hidden(text: str, secret: Secret) -> str:
    """`text` with what `secret` finds starred out."""
    return secret.sub(HIDDEN, text) if secret else text
