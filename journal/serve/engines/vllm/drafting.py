"""The draft model that a command line of vLLM names."""

import json
from collections.abc import Sequence

SPECULATIVE_FLAG = "--speculative-config"
OWN_LAYERS = ("eagle", "eagle3", "mtp", "medusa", "mlp_speculator")  # heads beside the target model


def draft_model(argv: Sequence[str]) -> str | None:
    """The model that drafts, whole and beside the one that is served; None without one, as with
    n-grams, or where the command line does not tell."""
    for place, word in enumerate(argv):
        name, joined, value = word.partition("=")
        if name != SPECULATIVE_FLAG:
            continue
        try:
            config = json.loads(value if joined else "".join(argv[place + 1 : place + 2]))
        except ValueError:
            return None
        if not isinstance(config, dict) or config.get("method") in OWN_LAYERS:
            return None
        model = config.get("model")
        return model if isinstance(model, str) else None
    return None
