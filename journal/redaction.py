"""Secrets: how they are recognised, and how a text is shown without them."""

import re
from collections.abc import Iterable, Mapping

Secret = re.Pattern[str] | None

HIDDEN = "***"
SHORTEST = 8  # characters: a shorter value may be a common word, and hiding it would spoil the text
NAME = re.compile(
    r"((^|[_-])((API)?KEY|TOKEN|SECRET|PASSPHRASE|CREDENTIALS?)|PASSW(OR)?D)$", re.IGNORECASE
)


def pattern(values: Iterable[str]) -> Secret:
    """A pattern of all of `values`, each as a word of its own; None where `values` are empty."""
    words = sorted(set(filter(None, values)), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, words))})(?!\w)") if words else None


def among(variables: Mapping[str, str]) -> Secret:
    """A pattern of the values of those `variables` (name: value) that are keys or tokens by their
    names; values of fewer than SHORTEST characters are left out."""
    secrets = (value for name, value in variables.items() if NAME.search(name))
    return pattern(value for value in secrets if len(value) >= SHORTEST)


def hidden(text: str, secret: Secret) -> str:
    """`text` with *** in the place of every match of `secret`."""
    return secret.sub(HIDDEN, text) if secret else text
