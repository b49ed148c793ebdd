"""The generated year: repeatable, sound, and as awkward as a real one."""

import hashlib
from collections import Counter
from decimal import Decimal
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlab.errors import BadMoney, InvalidInput
from cloudlab.shop.dataset import VENDOR_NAMES, Dataset, sum_of_lines
from cloudlab.shop.sample import LONGEST_BASKET, browsing, generate
from cloudlab.values import Money, minor_digits

# Of the default year. It must be the same on every Python and every machine; change it only with the generator.
DIGEST = "d81fe48b2673d1a3"


@pytest.fixture(scope="module")
def year() -> Dataset:
    return generate()


def digest(dataset: Dataset) -> str:
    return hashlib.sha256(repr(dataset).encode()).hexdigest()[:16]


def test_the_same_seed_gives_the_same_year_everywhere(year: Dataset) -> None:
    assert year == generate(seed=7)
    assert year != generate(seed=8)
    assert digest(year) == DIGEST


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(),
    orders=st.integers(1, 60),
    products=st.integers(1, 50),
    customers=st.integers(1, 20),
    currency=st.sampled_from(["GBP", "EUR", "JPY", "KWD"]),
    year=st.integers(1970, 9000),
)
def test_whatever_is_asked_for_is_repeatable_and_sound(
    seed: int, orders: int, products: int, customers: int, currency: str, year: int
) -> None:
    def make() -> Dataset:
        return generate(seed=seed, orders=orders, products=products, customers=customers, currency=currency, year=year)

    dataset = make()
    assert dataset == make()
    assert list(browsing(dataset, seed)) == list(browsing(dataset, seed))
    assert (dataset.order_count, len(dataset.products), len(dataset.customers)) == (orders, products, customers)
    is_sound(dataset, year)


def test_the_default_year_is_sound(year: Dataset) -> None:
    is_sound(year, 2025)


def is_sound(dataset: Dataset, year: int) -> None:
    skus = {product.sku for product in dataset.products}
    countries = {customer.customer_id: customer.country for customer in dataset.customers}
    ordered: Counter[str] = Counter()
    for order in dataset.orders:
        total = sum_of_lines(order.lines)
        assert order.total_amount == total == round(total, minor_digits(dataset.currency))
        assert [line.line_no for line in order.lines] == list(range(1, len(order.lines) + 1))
        assert len(order.lines) <= LONGEST_BASKET
        assert order.placed_at.year == year
        assert order.customer_id is None or order.country == countries[order.customer_id]
        for line in order.lines:
            assert line.sku in skus
            assert line.quantity > 0
            assert line.unit_price > 0
            ordered[line.sku] += line.quantity
    assert len({order.order_number for order in dataset.orders}) == dataset.order_count
    assert len({product.name for product in dataset.products}) == len(dataset.products)
    assert all(product.stock > ordered[product.sku] for product in dataset.products)
    assert all(product.price > Money(0, dataset.currency) for product in dataset.products)
    times = [order.placed_at for order in dataset.orders]
    assert times == sorted(times)
    returns_are_of_what_was_ordered(dataset)


def returns_are_of_what_was_ordered(dataset: Dataset) -> None:
    orders = {f"C{order.order_number}": order for order in dataset.orders}
    for credit in dataset.credit_lines:
        order = orders[credit.credit_note]
        assert any(
            (line.sku, line.unit_price) == (credit.sku, credit.unit_price) and line.quantity >= -credit.quantity > 0
            for line in order.lines
        )
        assert (credit.customer_id, credit.country) == (order.customer_id, order.country)
        assert credit.credited_at > order.placed_at
    times = [credit.credited_at for credit in dataset.credit_lines]
    assert times == sorted(times)


def test_baskets_are_as_awkward_as_real_ones(year: Dataset) -> None:
    sizes = [len(order.lines) for order in year.orders]
    assert 13 <= median(sizes) <= 17
    assert max(sizes) == LONGEST_BASKET
    repeated = sum(len({line.sku for line in order.lines}) < len(order.lines) for order in year.orders)
    assert 0.11 <= repeated / year.order_count <= 0.17
    baskets = Counter(sku for order in year.orders for sku in {line.sku for line in order.lines})
    hottest = baskets.most_common(1)[0][1] / year.order_count
    assert 0.09 <= hottest <= 0.13
    assert min(baskets[product.sku] for product in year.products) / year.order_count < hottest / 3


def test_the_year_has_seasons_and_shared_seconds(year: Dataset) -> None:
    times = Counter(order.placed_at for order in year.orders)
    shared = sum(count for count in times.values() if count > 1)
    assert 0.11 <= shared / year.order_count <= 0.17
    months = Counter(order.placed_at.month for order in year.orders)
    assert months[11] > 1.5 * months[1]
    days = Counter(order.placed_at.weekday() for order in year.orders)
    assert days[3] > 2 * days[5]
    assert sum(8 <= order.placed_at.hour <= 20 for order in year.orders) > 0.85 * year.order_count


def test_prices_change_guests_buy_and_some_goods_come_back(year: Dataset) -> None:
    prices: dict[str, set[Decimal]] = {}
    for order in year.orders:
        for line in order.lines:
            prices.setdefault(line.sku, set()).add(line.unit_price)
    assert sum(len(each) > 1 for each in prices.values()) > 0.7 * len(prices)
    guests = sum(len(order.lines) for order in year.orders if order.customer_id is None)
    assert 0.2 <= guests / year.line_count <= 0.3
    assert 0.015 <= len(year.credit_lines) / year.line_count <= 0.025
    assert {product.vendor for product in year.products} == set(VENDOR_NAMES)
    first = {order.customer_id: order.placed_at for order in reversed(year.orders)}
    assert all(each.first_order_at == first.get(each.customer_id) for each in year.customers)


def test_a_large_catalogue_keeps_its_hottest_product() -> None:
    dataset = generate(orders=1500, products=4000)
    baskets = Counter(sku for order in dataset.orders for sku in {line.sku for line in order.lines})
    assert 0.09 <= baskets.most_common(1)[0][1] / 1500 <= 0.13


def test_browsing_precedes_every_order_and_favours_the_popular(year: Dataset) -> None:
    views = Counter(browsing(year))
    assert 4 <= views.total() / year.order_count <= 8
    assert set(views) <= {product.sku for product in year.products}
    assert views.most_common(1)[0][1] > 20 * median(views.values())
    assert list(browsing(year, 1)) != list(browsing(year, 2))


@pytest.mark.parametrize("wrong", [{"orders": 0}, {"products": 0}, {"customers": -1}, {"year": 0}, {"year": 9999}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=str(next(iter(wrong.values())))):
        generate(**wrong)


def test_an_impossible_currency_is_refused() -> None:
    with pytest.raises(BadMoney, match="pounds"):
        generate(currency="pounds")
