"""Labels of servers that stand beside each other, by the settings that set them apart."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from journal.compare.setups import Setup, differing
from journal.report.document import Text, say

DIFFERENCES_SHOWN = 2  # more than this, and a letter stands for them
LONGEST = 60  # characters of a setting, such as the JSON of a flag, beyond which one does too


def last_part(models: Sequence[str]) -> dict[str, str]:
    """Short names of `models`, by name: without their organisations, where they stay different."""
    short = {model: model.rstrip("/").rpartition("/")[2] for model in models}
    doubles = Counter(short.values())
    return {model: name if doubles[name] == 1 else model for model, name in short.items()}


def abbreviated(models: Sequence[str]) -> dict[str, str]:
    """Shorter names of `models`, by name: the first words, as few as distinguish them; of names
    that begin alike, the first and the last word."""
    words = {model: name.split("-") for model, name in last_part(models).items()}
    for count in (2, 3):
        short = {model: "-".join(parts[:count]) for model, parts in words.items()}
        if len(set(short.values())) == len(short):
            return short
    ends = {model: "…".join(dict.fromkeys((parts[0], parts[-1]))) for model, parts in words.items()}
    return ends if len(set(ends.values())) == len(ends) else last_part(models)


def labels(
    setups: Iterable[Setup], name: Callable[[Sequence[str]], dict[str, str]] = last_part
) -> dict[Setup, Text]:
    """A label for each setup, different from all others': its model's name, its quantisation, the
    tool that measured it where that was another, and the settings that set it apart from those like
    it."""
    setups = list(dict.fromkeys(setups))
    names = name(list(dict.fromkeys(setup.model for setup in setups)))
    labels_: dict[Setup, Text] = {}
    for setup in setups:
        alike = [other for other in setups if _kind(other) == _kind(setup)]
        kind = (setup.quantisation or "", setup.get("tool"))
        parts = (names[setup.model], *kind, _difference(setup, alike))
        text = " ".join(part for part in parts if part)
        marked = say("setup.nameless" if text == "simulated" else "setup.simulated", name=text)
        labels_[setup] = marked if setup.simulated else text
    return labels_


def _kind(setup: Setup) -> tuple[str, str | None, str]:
    """The parts that every label has: model, quantisation, and the tool of an imported run."""
    return setup.model, setup.quantisation, setup.get("tool")


def _difference(setup: Setup, alike: list[Setup]) -> str:
    names = differing(alike)
    if not names:
        return ""
    longest = max(len(other.get(name)) for other in alike for name in names)
    if len(names) > DIFFERENCES_SHOWN or longest > LONGEST:
        return f"({chr(ord('A') + alike.index(setup) % 26)})"
    return ", ".join(f"{name} {setup.get(name) or '–'}" for name in names)
