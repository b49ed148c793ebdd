"""What an order is: wanted, as it stands, and its lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cloudlab.shop.idempotency import Form
from cloudlab.values import Money, Stream


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What is wanted: a product, how many, and the price agreed for one; by default the catalogue's price now."""

    product_id: UUID
    quantity: int
    unit_price: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order that is wanted.

    Attributes:
        lines: At least one. A product may stand in several lines.
        idempotency_key: The same key with the same order gives the first order again, and moves nothing.
        user_id: The customer, None for a guest.
        currency: Of the whole order; by default that of the first product.
        order_number: Unique in the tenant; by default one is made.
        placed_at: When the customer placed it; by default now. For imports.
        hold: How long the stock is kept without a payment.
        metadata: Who and why, for the event.
    """

    lines: Sequence[OrderLine | tuple[UUID, int]]
    idempotency_key: str
    user_id: UUID | None = None
    currency: str | None = None
    order_number: str | None = None
    placed_at: datetime | None = None
    hold: timedelta = timedelta(minutes=15)
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it stands at `version`; its lines are read by `items`."""

    order_id: UUID
    order_number: str
    user_id: UUID | None
    status: str
    total: Money
    line_count: int
    version: int
    placed_at: datetime
    created_at: datetime

    @property
    def stream(self) -> Stream:
        """The events of this order."""
        return Stream("Order", self.order_id)


@dataclass(frozen=True, slots=True)
class OrderItem:
    """A line of an order, as the product was called and cost when it was placed."""

    line_number: int
    product_id: UUID
    vendor_id: UUID
    sku: str
    name: str
    quantity: int
    price: Decimal
    line_total: Decimal


def order_row(
    order_id: UUID,
    order_number: str,
    user_id: UUID | None,
    status: str,
    currency: str,
    total_amount: Decimal,
    line_count: int,
    order_version: int,
    placed_at: datetime,
    created_at: datetime,
) -> Order:
    """Build an order from a row of `orders`."""
    total = Money(total_amount, currency)
    return Order(order_id, order_number, user_id, status, total, line_count, order_version, placed_at, created_at)


def _as_answer(order: Order) -> dict[str, Any]:
    return {
        "order_id": str(order.order_id),
        "order_number": order.order_number,
        "user_id": str(order.user_id) if order.user_id else None,
        "status": order.status,
        "currency": order.total.currency,
        "total_amount": str(order.total.amount),
        "line_count": order.line_count,
        "version": order.version,
        "placed_at": order.placed_at.isoformat(),
        "created_at": order.created_at.isoformat(),
    }


def _from_answer(answer: Mapping[str, Any]) -> Order:
    return Order(
        UUID(answer["order_id"]),
        answer["order_number"],
        UUID(answer["user_id"]) if answer["user_id"] else None,
        answer["status"],
        Money(answer["total_amount"], answer["currency"]),
        answer["line_count"],
        answer["version"],
        datetime.fromisoformat(answer["placed_at"]),
        datetime.fromisoformat(answer["created_at"]),
    )


ORDER_FORM: Form[Order] = Form(_as_answer, _from_answer)
"""How an order is kept as the answer to a command."""
