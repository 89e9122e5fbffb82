"""Words for differences that a test sees, does not see, or cannot decide, and for counts."""

from collections.abc import Mapping

from journal import units
from journal.compare.difference import Difference, Verdict
from journal.compare.ratios import MOST_STARTS
from journal.compare.room import Room
from journal.report.document import Text, say

# The end of the key of a phrase for each verdict: a rise and a fall are said alike.
KINDS: Mapping[Verdict, str] = {
    "rises": "moved",
    "falls": "moved",
    "equal": "equal",
    "undecided": "undecided",
    "unknown": "unknown",
}
SMALLEST = 0.005  # a share below it is shown as no end of its own
MOST = 9.0  # above it, ten times as much, an end says nothing by its figures


def open_words(between: Difference, more: str) -> dict[str, Text]:
    """The values {range} and {tell} of a phrase on an undecided difference: how far it may go in
    the direction `more` (longer, more) and against it, and what would tell."""
    if between.verdict != "undecided" or between.low is None or between.high is None:
        return {"range": "", "tell": ""}
    return {"range": range_words(between.low, between.high, more), "tell": tell(between.repeats)}


def range_words(low: float, high: float, more: str) -> Text:
    """The ends of the interval of a relative difference, `low` below 0 and `high` above."""
    less, most = min(1.0, max(0.0, -low)), max(0.0, high)
    above = say("range.beyond", most=units.percent(MOST)) if most > MOST else units.percent(most)
    shown: dict[str, Text] = {"less": units.percent(less), "most": above}
    if less < SMALLEST:
        return say(f"range.up_to.{more}", **shown)
    if most < SMALLEST:
        return say(f"range.down_to.{more}", **shown)
    return say(f"range.both.{more}", **shown)


def tell(repeats: int | None) -> Text:
    """The words on how many repeats would tell; None: more than can be advised."""
    if repeats is None:
        return say("tell.many", n=f"{MOST_STARTS}")
    return say("tell.about", n=f"{repeats}")


def requests_held(held: Room) -> Text:
    """The number of requests that a pool holds; at most, where its blocks are not known."""
    count = f"{held.requests:,}"
    return count if held.block_tokens else say("memory.at_most", n=count)
