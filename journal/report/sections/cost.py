"""The cost of tokens, in money and in energy (J)."""

from collections.abc import Callable, Iterator

from journal import units
from journal.compare.difference import difference
from journal.compare.knee import THROUGHPUT
from journal.compare.points import Point, Points
from journal.records.money import USD, Money
from journal.report.document import Paragraph, Section, Sentence, Text, say
from journal.report.places import Places

PRICES = ("usd_per_million_output_tokens", "price_per_million_output_tokens")
ENERGY = "energy_per_output_token_j"
PER_WATT = "output_tokens_per_s_per_w"


def cost_section(points: Points, price: Money | None, places: Places) -> Section | None:
    """A section on the cheapest and the dearest cell; None without a price and without a meter."""
    sentences = (*_money(points, price, places), *_energy(points, places))
    if not sentences:
        return None
    return Section(3, say("cost.heading"), (Paragraph(sentences),))


def _money(points: Points, price: Money | None, places: Places) -> Iterator[Text]:
    """The sentences on the price of tokens, where that of the host is known."""
    if price is None:
        return
    name, currency = PRICES[price.currency != USD], price.currency
    yield from _ends(
        points,
        name,
        places,
        "tokens",
        lambda amount: money(amount, currency),
        rate=money(price.amount, currency),
    )


def money(amount: float, currency: str) -> Text:
    """An amount of money in words, with the name of the currency where the language has one."""
    named = Sentence(f"cost.currency.{currency}", {}, otherwise=currency)
    return say("cost.money", amount=f"{amount:,.2f}", currency=named)


def _energy(points: Points, places: Places) -> Iterator[Text]:
    counted = [point.value("energy_by_counter_j") is not None for point in points]
    by = "counter" if counted and all(counted) else "power"
    yield from _ends(
        points,
        ENERGY,
        places,
        "energy",
        lambda joules: units.rate(joules, "J"),
        by=say(f"cost.by.{by}"),
    )
    gained = [value for point in points if (value := point.value(PER_WATT))]
    if gained:
        yield say("cost.per_watt", most=units.rate(max(gained), "tok/s"))


def _ends(
    points: Points,
    name: str,
    places: Places,
    kind: str,
    shown: Callable[[float], Text],
    **given: Text,
) -> Iterator[Text]:
    """The sentence on the least and the most of the metric `name`, or on the only value. The least
    is called the best where the test tells the two apart."""
    known = [point for point in points if point.value(name) is not None]
    values = [(value, n) for n, p in enumerate(known) if (value := p.value(name)) is not None]
    if not values:
        return
    (least, best), (most, worst) = min(values), max(values)
    given |= {"least": shown(least), "place": places.cell(known[best])}
    if len(values) == 1:
        yield say(f"cost.{kind}_once", **given)
        return
    apart = _rises(name, known[best], known[worst])
    if name in PRICES:  # the hour's price over the throughput, which has an interval of its own
        apart = apart or _rises(THROUGHPUT, known[worst], known[best])
    yield say(
        f"cost.{kind}" if apart else f"cost.{kind}_open",
        most=shown(most),
        other=places.cell(known[worst]),
        **given,
    )


def _rises(name: str, before: Point, after: Point) -> bool:
    between = difference(before.figure(name), after.figure(name))
    return between is not None and between.verdict == "rises"
