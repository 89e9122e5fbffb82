"""Sentences on the way in which two sides were measured, and on the flags of their runs."""

from collections.abc import Iterator

from journal import units
from journal.compare.starts import Measured
from journal.report.document import Text, say


def measured_sentences(way: Measured, a: Text, b: Text) -> Iterator[Text]:
    """The order of the sides `a` and `b`, the starts that are counted, and the flags."""
    order = f"measured.{way.order.replace(' ', '_')}"
    yield say(order, a=a, b=b, drift=units.percent(way.drift))
    counts = {"m": f"{way.units[0]:,}", "n": f"{way.units[1]:,}"}
    yield say(f"measured.by_{way.unit}", a=a, b=b, **counts)
    if way.paired:
        yield say("measured.paired")
    for side, flags in zip((a, b), way.flags, strict=True):
        if flags:
            listed = tuple(f"{name} ×{count}" for name, count in flags.items())
            yield say("measured.flags", side=side, flags=listed)
