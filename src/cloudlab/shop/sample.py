"""Generates a seeded, realistic year of a shop, for when there is no data at hand.

It has what makes real orders hard: a few products in very many orders, the same SKU twice in one basket,
baskets of 200 lines, prices that change, orders of the same second, guests, and returns; the shares are those
of a real gift retailer's year (19,959 orders). The same arguments give the same dataset on every Python and
every machine: all chance comes from random(), whose sequence Python guarantees, and no result hangs on a
float's last bit.
"""

import math
import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Generic, TypeVar

from cloudlab.errors import InvalidInput
from cloudlab.shop.dataset import (
    VENDOR_NAMES,
    CreditLine,
    Dataset,
    DatasetCustomer,
    DatasetLine,
    DatasetOrder,
    DatasetProduct,
    quantities,
    sum_of_lines,
)
from cloudlab.values import Money, minor_digits

T = TypeVar("T")

LONGEST_BASKET = 200
_MEDIAN_BASKET = 15
_BASKET_SPREAD = 1.05
_HOTTEST_SHARE = 0.11
_REPEATED_SKU_SHARE = 0.145
_SAME_SECOND_CHANCE = 0.0726  # of following the order before it; 1 - (1 - p)^2 = 14 % then share their time
_GUEST_SHARE = 0.25
_RETURN_SHARE = 0.02
_SCALE = 10**12  # weights are whole numbers: sums of floats may differ in their last bit

_MONTHS = (60, 58, 66, 68, 74, 76, 78, 74, 92, 108, 140, 120)
_WEEKDAYS = (100, 112, 108, 118, 96, 34, 62)
_HOURS = (1, 0, 0, 0, 0, 1, 3, 8, 22, 40, 62, 66, 78, 70, 66, 62, 48, 34, 22, 18, 22, 20, 12, 5)
_QUANTITIES = {1: 300, 2: 170, 3: 70, 4: 75, 6: 120, 8: 40, 10: 45, 12: 95, 16: 10, 20: 14, 24: 30, 48: 8}
_PRICE_CHANGES = {0: 14, 1: 40, 2: 30, 3: 16}
_PRICE_ENDINGS = (25, 49, 50, 75, 95, 99)
_HOME = {"GBP": "United Kingdom", "EUR": "Germany", "USD": "United States", "JPY": "Japan"}
_COUNTRIES = {
    "Germany": 45, "France": 40, "United Kingdom": 40, "Ireland": 29, "Netherlands": 22, "Belgium": 20,
    "Spain": 18, "Italy": 14, "Switzerland": 11, "Portugal": 9, "Austria": 9, "Finland": 8, "Sweden": 8,
    "Denmark": 6, "Norway": 6, "Poland": 6, "Australia": 5, "Japan": 4, "United States": 4, "Canada": 2,
}  # fmt: skip

# Per vendor: the code of its family, the things, the range of their prices in hundredths.
_FAMILIES = (
    ("LMP", ("Reading Lamp", "Table Lamp", "Lantern", "Night Light"), (1295, 8900)),
    ("CND", ("Pillar Candle", "Tealight Holder", "Scented Candle", "Candlestick"), (195, 1895)),
    ("MUG", ("Mug", "Espresso Cup", "Teapot", "Milk Jug"), (425, 3450)),
    ("BWL", ("Salad Bowl", "Soup Bowl", "Serving Dish", "Cake Stand"), (695, 4250)),
    ("TXT", ("Tea Towel", "Oven Glove", "Apron", "Table Runner"), (295, 2495)),
    ("CSH", ("Cushion", "Throw", "Blanket", "Bed Cover"), (995, 7450)),
    ("CLK", ("Wall Clock", "Alarm Clock", "Kitchen Timer", "Sand Glass"), (695, 5995)),
    ("FRM", ("Picture Frame", "Mirror", "Letter Rack", "Key Hook"), (495, 4495)),
    ("STN", ("Notebook", "Card Set", "Wrapping Paper", "Pencil Tin"), (85, 1250)),
    ("TOY", ("Jigsaw", "Spinning Top", "Doll House", "Skittles Set"), (125, 3995)),
    ("GRD", ("Plant Pot", "Watering Can", "Bird Box", "Garden Lantern"), (165, 3695)),
    ("BAG", ("Shopper", "Lunch Box", "Wash Bag", "Picnic Basket"), (165, 5450)),
)
_STYLES = "Vintage Nordic Rustic Classic Little Grand Botanical Striped Dotted Midnight Coastal Meadow"
_COLOURS = "Ivory Sage Ochre Slate Rose Teal Amber Copper Indigo Charcoal Olive Scarlet Pearl Sand"


def generate(
    *,
    seed: int = 7,
    orders: int = 2000,
    products: int = 400,
    customers: int = 600,
    currency: str = "GBP",
    year: int = 2025,
) -> Dataset:
    """Make up one shop's year.

    The hottest product is in about 11 % of the orders, where the catalogue is large enough for the others to
    be in fewer; stock is what is ordered and a little more. A list price is the one in force at the end of
    the year. Returns of late orders run into the first weeks of the next year.

    Raises:
        InvalidInput: A count is below 1, or the year or the currency is none.

    Cost: 2,000 orders of 49,000 lines in about 0.2 s.
    """
    for name, value in (("orders", orders), ("products", products), ("customers", customers)):
        if value < 1:
            raise InvalidInput(f"{name} must be 1 or more, not {value}")
    if not 1970 <= year <= 9000:
        raise InvalidInput(f"year must be from 1970 to 9000, not {year}")
    chance = _chance(seed)
    catalogue = _catalogue(chance, products, Money(0, currency).currency, year)
    buyers = _Buyers(chance, customers, currency)
    placed = _orders(chance, catalogue, buyers, _times(chance, orders, year), currency)
    return _dataset(chance, catalogue, buyers, placed, currency)


def browsing(dataset: Dataset, seed: int = 7) -> Iterator[str]:
    """Yield the SKU of every product page looked at: before each order a few others and up to four of its own.

    The others follow a Zipf distribution over the products, most ordered first, so that a cache has something
    to win. Ends with the last order, after about six views for each; the same seed gives the same views.
    """
    chance = _chance(seed)
    ordered = Counter({product.sku: 0 for product in dataset.products})
    for order in dataset.orders:
        ordered.update({line.sku: 1 for line in order.lines})
    ranking = sorted(ordered, key=lambda sku: (-ordered[sku], sku))
    zipf = _Weighted((sku, _SCALE // rank) for rank, sku in enumerate(ranking, start=1))
    for order in dataset.orders:
        for _ in range(1 + _below(chance, 6)):
            yield zipf.pick(chance)
        for line in order.lines[: 1 + _below(chance, 4)]:
            yield line.sku


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  repeatable on purpose, and nothing secret comes of it


def _below(chance: random.Random, count: int) -> int:
    """Pick an index. randrange() and its kin may change with the version of Python, random() does not."""
    return int(chance.random() * count)


class _Weighted(Generic[T]):
    """Values to pick from by integer weights."""

    def __init__(self, weights: Iterable[tuple[T, int]]) -> None:
        pairs = list(weights)
        self.values = [value for value, _ in pairs]
        self.cumulative = list(accumulate(weight for _, weight in pairs))

    def pick(self, chance: random.Random) -> T:
        return self.values[bisect(self.cumulative, _below(chance, self.cumulative[-1]))]


@dataclass(frozen=True, slots=True)
class _Article:
    """A product and the prices it had: one more price than changes, the first before the first change."""

    sku: str
    name: str
    vendor: str
    prices: tuple[Decimal, ...]
    changes: tuple[datetime, ...]

    def price_at(self, moment: datetime) -> Decimal:
        return self.prices[bisect(self.changes, moment)]


def _catalogue(chance: random.Random, count: int, currency: str, year: int) -> list[_Article]:
    """Return the articles, hottest first, which has nothing to do with what they are."""
    adjectives = [f"{style} {colour}" for style in _STYLES.split() for colour in _COLOURS.split()]
    adjectives.sort(key=lambda _: chance.random())
    articles: list[_Article] = []
    for number in range(count):
        member, kind = divmod(number, len(_FAMILIES))
        code, things, prices = _FAMILIES[kind]
        series, thing = divmod(member, len(things))
        edition, adjective = divmod(series, len(adjectives))
        name = f"{adjectives[(adjective + 5 * kind + 3 * thing) % len(adjectives)]} {things[thing]}"
        if edition:
            name = f"{name} No. {edition + 1}"
        sku = f"{code}-{member + 1:04}"
        articles.append(_Article(sku, name, VENDOR_NAMES[kind], *_priced(chance, prices, currency, year)))
    return sorted(articles, key=lambda _: chance.random())


def _priced(
    chance: random.Random, bounds: tuple[int, int], currency: str, year: int
) -> tuple[tuple[Decimal, ...], tuple[datetime, ...]]:
    """Draw a price, cheap ones more often, and up to three changes of -15 to +20 percent, each at a midnight."""
    low, high = bounds
    drawn = low + int((high - low) * chance.random() ** 2)
    ending = _PRICE_ENDINGS[_below(chance, len(_PRICE_ENDINGS))]
    hundredths = [drawn // 100 * 100 + ending if drawn >= 100 else drawn]
    new_year = datetime(year, 1, 1, tzinfo=UTC)
    days = {1 + _below(chance, 364) for _ in range(_Weighted(_PRICE_CHANGES.items()).pick(chance))}
    for _ in days:
        hundredths.append(max(5, hundredths[-1] * (85 + _below(chance, 36)) // 500 * 5))
    scale = -2 if minor_digits(currency) else 0
    prices = tuple(Decimal(each).scaleb(scale) for each in hundredths)
    return prices, tuple(new_year + timedelta(days=day) for day in sorted(days))


class _Buyers:
    """Who buys: known customers, some far oftener than others, and guests."""

    def __init__(self, chance: random.Random, count: int, currency: str) -> None:
        home = _HOME.get(currency, "United Kingdom")
        abroad = {country: weight for country, weight in _COUNTRIES.items() if country != home}
        self.countries = _Weighted([(home, 4 * sum(abroad.values())), *abroad.items()])
        self.known = {f"{10_001 + number}": self.countries.pick(chance) for number in range(count)}
        self.often = _Weighted(
            (customer_id, _SCALE // (rank + 20)) for rank, customer_id in enumerate(self.known, start=1)
        )

    def pick(self, chance: random.Random) -> tuple[str | None, str]:
        """Return the customer_id, None for a guest, and the country of an order."""
        if chance.random() < _GUEST_SHARE:
            return None, self.countries.pick(chance)
        customer_id = self.often.pick(chance)
        return customer_id, self.known[customer_id]


def _times(chance: random.Random, count: int, year: int) -> list[datetime]:
    """Draw the moments of all orders, in order: by month, day of the week and hour, few after 22 December."""
    new_year = datetime(year, 1, 1, tzinfo=UTC)
    length = (datetime(year + 1, 1, 1, tzinfo=UTC) - new_year).days
    days = _Weighted((day, _busy(day)) for day in (new_year + timedelta(days=each) for each in range(length)))
    hours = _Weighted(enumerate(_HOURS))
    times: list[datetime] = []
    for number in range(count):
        if number and chance.random() < _SAME_SECOND_CHANCE:
            times.append(times[-1])
        else:
            seconds = hours.pick(chance) * 3600 + _below(chance, 3600)
            times.append(days.pick(chance) + timedelta(seconds=seconds))
    return sorted(times)


def _busy(day: datetime) -> int:
    weight = _MONTHS[day.month - 1] * _WEEKDAYS[day.weekday()]
    return weight // 4 if (day.month, day.day) > (12, 22) else weight


def _orders(
    chance: random.Random, catalogue: list[_Article], buyers: _Buyers, times: list[datetime], currency: str
) -> list[DatasetOrder]:
    sizes = [_basket_size(chance, len(catalogue)) for _ in times]
    popularity = _popularity(catalogue, sizes)
    counts = _Weighted(_QUANTITIES.items())
    orders: list[DatasetOrder] = []
    for number, (placed_at, size) in enumerate(zip(times, sizes, strict=True), start=1):
        customer_id, country = buyers.pick(chance)
        lines = tuple(
            DatasetLine(line_no, article.sku, counts.pick(chance), article.price_at(placed_at))
            for line_no, article in enumerate(_basket(chance, popularity, size), start=1)
        )
        total = Money(sum_of_lines(lines), currency).rounded().amount
        order_number = f"{placed_at.year}-{number:06}"
        orders.append(DatasetOrder(order_number, customer_id, country, placed_at, currency, lines, total))
    return orders


def _basket_size(chance: random.Random, articles: int) -> int:
    """Draw from a log-normal distribution; twelve uniform numbers make a normal one that is the same everywhere."""
    normal = math.fsum(chance.random() for _ in range(12)) - 6
    size = round(_MEDIAN_BASKET * math.exp(_BASKET_SPREAD * normal))
    return min(max(1, size), LONGEST_BASKET, articles)


def _popularity(catalogue: list[_Article], sizes: list[int]) -> _Weighted[_Article]:
    """Weigh the articles by 1 / (rank + shift), the shift such that the first is in 11 % of the baskets.

    A basket of n different ones of N articles takes about -N ln(1 - n / N) draws, each finding the first with
    probability p, so it is missing with probability (1 - p) ** draws.
    """
    articles = len(catalogue)
    draws = [(-articles * math.log(1 - size / (articles + 1)), many) for size, many in Counter(sizes).items()]

    def weights(shift: int) -> list[int]:
        return [_SCALE // (rank + shift) for rank in range(1, articles + 1)]

    def share(shift: int) -> float:
        first = weights(shift)[0] / sum(weights(shift))
        return 1 - math.fsum(many * (1 - first) ** drawn for drawn, many in draws) / len(sizes)

    low, high = 0, 100 * articles
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share(middle) <= _HOTTEST_SHARE else (middle + 1, high)
    return _Weighted(zip(catalogue, weights(low), strict=True))


def _basket(chance: random.Random, popularity: _Weighted[_Article], size: int) -> list[_Article]:
    """Fill a basket with different articles, then in some put one in twice; never waits for the rarest."""
    basket: dict[str, _Article] = {}
    for _ in range(20 * size):
        if len(basket) == size:
            break
        article = popularity.pick(chance)
        basket[article.sku] = article
    articles = [*basket.values()]
    if len(articles) > 1 and chance.random() < _REPEATED_SKU_SHARE:
        articles[-1] = articles[_below(chance, len(articles) - 1)]
    return articles


def _returns(chance: random.Random, orders: list[DatasetOrder]) -> Iterator[CreditLine]:
    """Send back some lines, wholly or in part, all of an order on one credit note within 45 days."""
    for order in orders:
        returned = [line for line in order.lines if chance.random() < _RETURN_SHARE]
        credited_at = order.placed_at + timedelta(days=1, seconds=_below(chance, 44 * 86_400))
        for line_no, line in enumerate(returned, start=1):
            whole = chance.random() < 0.5
            yield CreditLine(
                credit_note=f"C{order.order_number}",
                line_no=line_no,
                sku=line.sku,
                quantity=-(line.quantity if whole else 1 + _below(chance, line.quantity)),
                unit_price=line.unit_price,
                credited_at=credited_at,
                customer_id=order.customer_id,
                country=order.country,
            )


def _dataset(
    chance: random.Random,
    catalogue: list[_Article],
    buyers: _Buyers,
    orders: list[DatasetOrder],
    currency: str,
) -> Dataset:
    sold = quantities(orders)
    first = {order.customer_id: order.placed_at for order in reversed(orders)}
    products = (
        DatasetProduct(
            each.sku, each.name, Money(each.prices[-1], currency), sold[each.sku] * 21 // 20 + 5, each.vendor
        )
        for each in sorted(catalogue, key=lambda article: article.sku)
    )
    return Dataset(
        name="sample",
        currency=currency,
        products=tuple(products),
        customers=tuple(DatasetCustomer(who, where, first.get(who)) for who, where in buyers.known.items()),
        orders=tuple(orders),
        credit_lines=tuple(sorted(_returns(chance, orders), key=lambda line: line.credited_at)),
    )
