"""What the tokens cost, in money and in energy."""

from collections.abc import Callable, Iterator

from journal import units
from journal.compare.points import Point, Points
from journal.report.document import Paragraph, Section, Text, say
from journal.report.places import Places

THROUGHPUT = "output_tokens_per_s"
ENERGY = "energy_per_output_token_j"


def answer(found: Points, usd_per_hour: float | None, places: Places) -> Section | None:
    """The cheapest and the dearest cell; None where there is neither a price nor a meter."""
    sentences = (*_money(found, usd_per_hour, places), *_energy(found, places))
    if not sentences:
        return None
    return Section(3, say("cost.heading"), (Paragraph(sentences),))


def _money(found: Points, usd_per_hour: float | None, places: Places) -> Iterator[Text]:
    if usd_per_hour is None:
        return
    usd_per_million_s = usd_per_hour / 3600 * 1e6

    def price(point: Point) -> float | None:
        rate = point.value(THROUGHPUT)
        return usd_per_million_s / rate if rate else None

    yield from _ends(
        found, price, places, "tokens", lambda usd: f"{usd:.2f}", rate=f"{usd_per_hour:.2f}"
    )


def _energy(found: Points, places: Places) -> Iterator[Text]:
    counted = [point.value("energy_by_counter_j") is not None for point in found]
    by = "counter" if counted and all(counted) else "power"
    yield from _ends(
        found,
        lambda point: point.value(ENERGY),
        places,
        "energy",
        lambda joules: units.rate(joules, "J"),
        by=say(f"cost.by.{by}"),
    )
    used = [value for point in found if (value := point.value(ENERGY))]
    if used:
        yield say("cost.per_watt", most=units.rate(1 / min(used), "tok/s"))


def _ends(
    found: Points,
    pick: Callable[[Point], float | None],
    places: Places,
    kind: str,
    shown: Callable[[float], str],
    **given: Text,
) -> Iterator[Text]:
    """The sentence on the least and the most of what `pick` gives, or on the only one."""
    having = [(value, n) for n, point in enumerate(found) if (value := pick(point)) is not None]
    if not having:
        return
    (least, best), (most, worst) = min(having), max(having)
    given |= {"least": shown(least), "place": places.cell(found[best])}
    if len(having) == 1:
        yield say(f"cost.{kind}_once", **given)
        return
    yield say(f"cost.{kind}", most=shown(most), other=places.cell(found[worst]), **given)
