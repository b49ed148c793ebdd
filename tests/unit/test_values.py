"""Money, cursors and identifiers."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlab.errors import BadCursor, BadMoney
from cloudlab.values import Money, decode_cursor, encode_cursor, minor_digits, uuid7

AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=4)


@pytest.mark.parametrize("amount", [1.0, 0.1, True])
def test_a_float_is_a_type_error(amount: object):
    with pytest.raises(TypeError, match="decimal string"):
        Money(amount, "EUR")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("amount", ["", "1,5", "NaN", "Infinity", "1.00001", "1e16", "0x10"])
def test_what_is_no_amount_is_refused_by_name(amount: str):
    with pytest.raises(BadMoney, match=amount.replace(".", r"\.") or "''"):
        Money(amount, "EUR")


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "E1R", "€€€"])
def test_what_is_no_currency_is_refused_by_name(currency: str):
    with pytest.raises(BadMoney, match="ISO 4217"):
        Money("1", currency)


@given(AMOUNTS, AMOUNTS)
def test_sums_are_exact(a: Decimal, b: Decimal):
    assert (Money(a, "EUR") + Money(b, "EUR")).amount == a + b
    assert (Money(a, "EUR") - Money(b, "EUR")).amount == a - b


def test_different_currencies_do_not_mix():
    with pytest.raises(BadMoney, match="EUR with USD"):
        Money("1", "EUR") + Money("1", "USD")
    with pytest.raises(BadMoney, match="EUR with USD"):
        assert Money("1", "EUR") < Money("1", "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "payable"),
    [("2.345", "EUR", "2.34"), ("2.355", "EUR", "2.36"), ("2.5", "JPY", "2"), ("1.0005", "KWD", "1.000")],
)
def test_what_can_be_paid_depends_on_the_currency(amount: str, currency: str, payable: str):
    assert Money(amount, currency).rounded() == Money(payable, currency)


def test_amounts_are_shown_with_the_decimals_they_have():
    shown = [str(Money("1234.5", "EUR")), str(Money("1.234", "EUR")), str(Money("5", "JPY"))]
    assert shown == ["1,234.50 EUR", "1.234 EUR", "5 JPY"]
    assert [minor_digits(code) for code in ("EUR", "JPY", "KWD")] == [2, 0, 3]


def test_a_cursor_comes_back_as_it_went():
    key = [datetime(2011, 1, 1, tzinfo=UTC), uuid4(), "x"]
    assert decode_cursor("orders", encode_cursor("orders", key)) == ["2011-01-01T00:00:00+00:00", str(key[1]), "x"]


@given(st.text())
def test_nothing_but_its_own_cursor_is_accepted(text: str):
    with pytest.raises(BadCursor):
        decode_cursor("orders", text)


def test_a_cursor_belongs_to_its_listing():
    with pytest.raises(BadCursor, match="another listing"):
        decode_cursor("orders", encode_cursor("products", ["x"]))
    forged = json.dumps({"a": 1})
    with pytest.raises(BadCursor):
        decode_cursor("orders", forged)


def test_identifiers_of_a_process_only_grow():
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(one.version, one.variant) for one in made} == {(7, UUID(int=0x8 << 60).variant)}
