"""Prices as people write them."""

import pytest

from journal.records.money import Money, read_money


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("1.20", Money(amount=1.2, currency="USD")),
        ("12.5 CNY", Money(amount=12.5, currency="CNY")),
        ("¥12.5", Money(amount=12.5, currency="CNY")),
        ("￥ 12", Money(amount=12.0, currency="CNY")),
        ("12.5元", Money(amount=12.5, currency="CNY")),
        ("12.5 rmb", Money(amount=12.5, currency="CNY")),
        ("$1.2", Money(amount=1.2, currency="USD")),
        ("€.9", Money(amount=0.9, currency="EUR")),
        ("1,200 JPY", Money(amount=1200.0, currency="JPY")),
    ],
)
def test_a_price_has_a_unit(text: str, price: Money) -> None:
    assert read_money(text) == price


@pytest.mark.parametrize("text", ["", "0", "-1", "CNY", "12.5 yuan", "$1 USD", "nan", "inf", "1e9"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    assert read_money(text) is None


def test_a_price_is_shown_with_its_currency() -> None:
    assert str(Money(amount=12.5, currency="CNY")) == "12.50 CNY"
