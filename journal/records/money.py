"""Prices in the currency in which they are asked, which is never converted."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

USD = "USD"
CURRENCY = "¤"  # any currency, in the unit of a metric
SIGNS = {"$": USD, "¥": "CNY", "￥": "CNY", "元": "CNY", "RMB": "CNY", "€": "EUR", "£": "GBP"}
PRICE = re.compile(
    r"(?P<sign>[$¥￥€£]?)\s*(?P<amount>\d[\d,]*\.?\d*|\.\d+)\s*(?P<unit>元|[A-Za-z]{3})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount of money in `currency`, a code of ISO 4217 such as CNY."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    amount: Annotated[float, Gt(0), Le(1e12)]
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:.2f} {self.currency}"


def in_currency(unit: str, currencies: Iterable[str | None]) -> str:
    """The `unit` of a metric with the one currency of `currencies` in it; with the sign for any
    where they are several."""
    known = {currency for currency in currencies if currency is not None}
    return unit.replace(CURRENCY, known.pop()) if len(known) == 1 else unit


def read_money(text: str) -> Money | None:
    """The price that `text` says, such as "12.5 CNY", "¥12.5", "$1.2" or a bare number of USD; None
    where it says none above 0."""
    match = PRICE.fullmatch(text.strip())
    if match is None or (match["sign"] and match["unit"]):
        return None
    unit = match["sign"] or (match["unit"] or USD).upper()
    amount = float(match["amount"].replace(",", ""))
    return Money(amount=amount, currency=SIGNS.get(unit, unit)) if 0 < amount <= 1e12 else None
