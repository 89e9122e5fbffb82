"""Words for a bottleneck: its class, the evidence for it, and what would tell it."""

from collections.abc import Mapping

from journal import units
from journal.compare.bottleneck import Bottleneck
from journal.records.as_json import BottleneckJson
from journal.records.doubt import Value, Values
from journal.report.document import Sentence, Text, say
from journal.report.phrases import words

# The unit of each value of the evidence, as in `units.formatted`; those without one are counts.
UNITS: Mapping[str, str] = {
    **dict.fromkeys(("peak", "waits", "share", "used", "hits", "asked"), "fraction"),
    **dict.fromkeys(("serial", "kv"), "fraction"),
    **dict.fromkeys(("few_s", "many_s"), "s"),
    **dict.fromkeys(("gain", "ratio"), "1"),
}


def bottleneck_sentence(found: Bottleneck) -> Sentence:
    """The bottleneck and its evidence; where it cannot be told also what would tell it."""
    evidence = say(f"limit.seen.{found.variant}", **_values(found.values))
    if found.cause is not None:
        return say("limit.found", cause=cause_name(found), evidence=evidence)
    return say("limit.untold", evidence=evidence, would=say(f"limit.would.{found.would[0]}"))


def cause_name(found: Bottleneck) -> Sentence:
    """The name of its class."""
    return say(f"limit.class.{'none' if found.cause is None else found.cause}")


def _values(values: Values) -> dict[str, Text]:
    """Values of evidence as they are shown, by their names."""
    return {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Value) -> str:
    if not isinstance(value, int | float):
        return units.ABSENT
    if name == "weights_per_s":
        return units.rate(value / 1e9, "GB/s")
    return units.formatted(value, UNITS[name]) if name in UNITS else f"{value:,g}"


def bottleneck_json(found: Bottleneck) -> BottleneckJson:
    """The bottleneck as plain JSON: its class (null: cannot tell), the name and the values of its
    evidence in SI units, what would tell it, and an English sentence."""
    return {
        "class": found.cause,
        "evidence": found.variant,
        "values": dict(found.values),
        "would_tell": list(found.would),
        "sentence": words("en").say(bottleneck_sentence(found), str),
    }
