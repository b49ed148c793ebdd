"""A shop's history as plain values: what a folder of CSV files and the generator both produce.

Nothing here touches a database. Amounts are Decimals in the dataset's currency, times are aware and in UTC. A
Dataset is held in memory whole, about 150 bytes per order line, because the opening stock of a product is
only known after the last order was read.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cloudlab.values import Money

VENDOR_NAMES = (
    "Alder & Finch",
    "Brightwater Goods",
    "Cobble Lane Supply",
    "Driftwood Trading",
    "Ember & Oak",
    "Foxglove Home",
    "Greyfriar Works",
    "Harbour Lantern",
    "Inkwell Papers",
    "Juniper Mill",
    "Kestrel Imports",
    "Larkspur Makers",
)
"""Invented sellers, used where the data names none."""

MAX_STOCK = 2_147_483_647
"""The largest quantity a line or an inventory row may hold: PostgreSQL's integer."""


@dataclass(frozen=True, slots=True)
class DatasetProduct:
    """A product as the shop opens with it; `stock` suffices for every order of the dataset."""

    sku: str
    name: str
    price: Money
    stock: int
    vendor: str


@dataclass(frozen=True, slots=True)
class DatasetCustomer:
    """A known customer; `first_order_at` is None for one who never ordered."""

    customer_id: str
    country: str
    first_order_at: datetime | None


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """One line of an order. The same SKU may stand on several lines of one order."""

    line_no: int
    sku: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class DatasetOrder:
    """An order with all its lines, ascending by `line_no`; `customer_id` is None for a guest.

    `total_amount` is the sum of the lines rounded to what can be paid in the currency.
    """

    order_number: str
    customer_id: str | None
    country: str
    placed_at: datetime
    currency: str
    lines: tuple[DatasetLine, ...]
    total_amount: Decimal


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One line of a credit note; `quantity` is negative.

    The SKU need not be one of the dataset's products (discounts and samples are credited under codes nobody
    ordered), and the customer need not be one of its customers.
    """

    credit_note: str
    line_no: int
    sku: str
    quantity: int
    unit_price: Decimal
    credited_at: datetime
    customer_id: str | None
    country: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was refused.

    `line` counts from 1 and includes the header; `row` is the text, cut after 300 characters, control
    characters escaped.
    """

    file: str
    line: int
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """One shop's history; `orders` and `credit_lines` are in time order and can be gone through repeatedly.

    `currency` is XXX (ISO 4217: no currency) if there is no order. `mended` counts the list prices that
    carried a binary float's rounding error and were rounded to four decimals; no charged amount is ever
    mended.
    """

    name: str
    currency: str
    products: tuple[DatasetProduct, ...]
    customers: tuple[DatasetCustomer, ...]
    orders: tuple[DatasetOrder, ...]
    credit_lines: tuple[CreditLine, ...] = ()
    rejects: tuple[Rejected, ...] = ()
    mended: int = 0

    @property
    def order_count(self) -> int:
        """Return how many orders there are, for a progress bar."""
        return len(self.orders)

    @property
    def line_count(self) -> int:
        """Return how many order lines there are, for a progress bar; goes through all orders."""
        return sum(len(order.lines) for order in self.orders)

    @property
    def revenue(self) -> Decimal:
        """Return the sum of the rounded order totals, before credit notes."""
        return sum((order.total_amount for order in self.orders), Decimal(0))


def sum_of_lines(lines: Iterable[DatasetLine]) -> Decimal:
    """Return the exact sum of quantity x unit price, not rounded."""
    return sum((line.quantity * line.unit_price for line in lines), Decimal(0))


def quantities(orders: Iterable[DatasetOrder]) -> Counter[str]:
    """Return how many pieces of each SKU were ordered: the stock that makes all these orders possible."""
    ordered: Counter[str] = Counter()
    for order in orders:
        for line in order.lines:
            ordered[line.sku] += line.quantity
    return ordered


def vendor_of(sku: str) -> str:
    """Return the invented vendor of an SKU: the CRC-32 of its first three characters picks one of the names.

    The same SKU has the same vendor on every machine, and neighbouring SKUs, which tend to be variants of one
    product, share it.
    """
    return VENDOR_NAMES[zlib.crc32(sku[:3].encode()) % len(VENDOR_NAMES)]
