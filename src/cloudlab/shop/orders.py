"""Orders: placing them, reading them, and the states they go through before money is involved.

    pending_payment → paid → processing → shipped → delivered, or cancelled, or refunded

Every verb is one change of state, made by compare-and-set on `order_version`, with its event in the same transaction;
the version of an order is that of its event stream. The database refuses an illegal change whoever asks for it.

Standard: §3.1 Strong Consistency (CP from CAP), §5.2 Pagination
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cloudlab.crypto import fingerprint
from cloudlab.errors import InvalidInput, VersionConflict
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.values import Event, Money, NewEvent, Page, Stream, decode_cursor, encode_cursor, uuid7

MOST_LINES = 10_000
_LARGEST_INTEGER = 2**31 - 1
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_AFTER_ALL = (datetime.max.replace(tzinfo=UTC).isoformat(), str(UUID(int=(1 << 128) - 1)))


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What is wanted: a product, how many, and the price agreed for one; by default the catalogue's price now."""

    product_id: UUID
    quantity: int
    unit_price: Money | None = None


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


@dataclass(frozen=True, slots=True)
class _Placed:
    order_id: UUID
    is_replay: bool
    event_data: dict[str, Any] | None
    event_position: int | None
    recorded_at: datetime | None


def _order(
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
    total = Money(total_amount, currency)
    return Order(order_id, order_number, user_id, status, total, line_count, order_version, placed_at, created_at)


async def place(
    s: Session,
    *,
    lines: Sequence[OrderLine | tuple[UUID, int]],
    idempotency_key: str,
    user_id: UUID | None = None,
    currency: str | None = None,
    order_number: str | None = None,
    placed_at: datetime | None = None,
    hold: timedelta = timedelta(minutes=15),
    metadata: Mapping[str, Any] | None = None,
) -> Order:
    """Place an order: stock, order, lines, ledger, reservation, event and idempotency key, all or none.

    Args:
        s: The session; its transaction is the order's.
        lines: At least one. A product may stand in several lines.
        idempotency_key: The same key with the same order gives the first order again, and moves nothing.
        user_id: The customer, None for a guest.
        currency: Of the whole order; by default that of the first product.
        order_number: Unique in the tenant; by default one is made.
        placed_at: When the customer placed it; by default now. For imports.
        hold: How long the stock is kept without a payment.
        metadata: Who and why, for the event.

    Raises:
        OutOfStock: A product is short; the message names it and both quantities.
        NotFound: A product does not exist, is not for sale, or is priced in another currency.
        KeyReused: The key was used for a different order.
        InvalidInput: There is no line, or a quantity is not positive.

    Cost: one round trip; a repeated key takes two.
    """
    wanted = [line if isinstance(line, OrderLine) else OrderLine(*line) for line in lines]
    _check_lines(wanted, currency)
    request = {
        "user_id": user_id, "currency": currency, "order_number": order_number, "placed_at": placed_at,
        "lines": [(str(line.product_id), line.quantity, str(line.unit_price)) for line in wanted],
    }  # fmt: skip
    placed = await s.fetch_one(
        _Placed,
        """
        SELECT /* orders.place */ p.order_id, p.is_replay, p.event_data, p.event_position, p.recorded_at
        FROM place_order(
            %(order_id)s::uuid, %(order_number)s::varchar, %(user_id)s::uuid, %(currency)s::varchar,
            %(placed_at)s::timestamptz, %(product_ids)s::uuid[], %(quantities)s::integer[], %(prices)s::numeric[],
            %(idempotency_key)s::varchar, %(fingerprint)s::bytea, %(hold)s::interval, %(metadata)s::jsonb) AS p
        """,
        order_id=uuid7(),
        order_number=order_number or _new_order_number(),
        user_id=user_id,
        currency=currency,
        placed_at=placed_at,
        product_ids=[line.product_id for line in wanted],
        quantities=[line.quantity for line in wanted],
        prices=[line.unit_price.amount if line.unit_price else None for line in wanted],
        idempotency_key=idempotency_key,
        fingerprint=fingerprint(request),
        hold=hold,
        metadata=events.as_json(metadata) if metadata else None,
    )
    if placed.event_data is None or placed.event_position is None or placed.recorded_at is None:
        return await find(s, placed.order_id)
    if s.listens_to(("OrderPlaced",)):
        event = _event(s, placed.order_id, placed.event_data, placed.event_position, placed.recorded_at, metadata)
        await s.announce([event])
    return _from_event(placed.order_id, placed.event_data)


def _check_lines(lines: Sequence[OrderLine], currency: str | None) -> None:
    if not 1 <= len(lines) <= MOST_LINES:
        raise InvalidInput(f"an order has 1 to {MOST_LINES} lines, not {len(lines)}")
    for number, line in enumerate(lines, 1):
        if not 1 <= line.quantity <= _LARGEST_INTEGER:
            raise InvalidInput(f"line {number}: {line.quantity} units cannot be ordered", hint="Give at least 1.")
        if line.unit_price is None:
            continue
        if line.unit_price.amount < 0:
            raise InvalidInput(f"line {number}: the price {line.unit_price} is negative")
        if line.unit_price.currency != currency:
            raise InvalidInput(
                f"line {number}: the price is in {line.unit_price.currency}, the order in {currency}",
                hint="Name the currency of the order when lines carry prices of their own.",
            )


def _new_order_number() -> str:
    """Make a number of 13 letters and digits: 41 bits of milliseconds and 24 random ones, roughly in time order."""
    value = (time.time_ns() // 1_000_000 & (1 << 41) - 1) << 24 | secrets.randbits(24)
    return "CL-" + "".join(_CROCKFORD[value >> shift & 31] for shift in range(60, -1, -5))


def _event(
    s: Session, order_id: UUID, data: dict[str, Any], position: int, at: datetime, metadata: Mapping[str, Any] | None
) -> Event:
    return Event(
        event_position=position,
        event_id=None,
        tenant_id=s.tenant_id,
        aggregate_type="Order",
        aggregate_id=order_id,
        event_type="OrderPlaced",
        event_version=1,
        event_data=data,
        metadata=dict(metadata) if metadata else None,
        created_at=at,
    )


def _from_event(order_id: UUID, data: Mapping[str, Any]) -> Order:
    placed_at = datetime.fromisoformat(data["placed_at"])
    return Order(
        order_id=order_id,
        order_number=data["order_number"],
        user_id=UUID(data["user_id"]) if data["user_id"] else None,
        status=data["status"],
        total=Money(data["total_amount"], data["currency"]),
        line_count=data["line_count"],
        version=1,
        placed_at=placed_at,
        created_at=placed_at,
    )


async def find(s: Session, order_id: UUID) -> Order:
    """Return an order by id; NotFound when there is none. Cost: one round trip."""
    return await s.fetch_one(
        _order,
        """
        SELECT /* orders.find */ order_id, order_number, user_id, status, currency, total_amount, line_count,
               order_version, placed_at, created_at
        FROM orders
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


async def find_by_numbers(s: Session, order_numbers: Sequence[str]) -> dict[str, Order]:
    """Return those of the orders that exist, by their number. Cost: one round trip."""
    found = await s.fetch(
        _order,
        """
        SELECT /* orders.find_by_numbers */ order_id, order_number, user_id, status, currency, total_amount, line_count,
               order_version, placed_at, created_at
        FROM orders
        WHERE tenant_id = %(tenant_id)s::uuid AND order_number = ANY (%(order_numbers)s::varchar[])
        """,
        tenant_id=s.tenant_id,
        order_numbers=list(order_numbers),
    )
    return {order.order_number: order for order in found}


async def items(s: Session, order_id: UUID) -> list[OrderItem]:
    """Return the lines of an order. Cost: one round trip."""
    return await s.fetch(
        OrderItem,
        """
        SELECT /* orders.items */ line_number, product_id, vendor_id, sku, name, quantity, price, line_total
        FROM order_items
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
        ORDER BY line_number
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


async def list_for_user(s: Session, user_id: UUID, *, limit: int = 20, after: str | None = None) -> Page[Order]:
    """Return a page of a customer's orders, newest first.

    The cursor is (created_at, order_id): 14 % of real orders share their time with another, and a cursor of the time
    alone would lose some of them. Cost: one round trip, the same at any depth.

    Raises:
        BadCursor: `after` is not the `next` of a page of this customer's listing.

    Standard: §5.2 Pagination
    """
    listing = f"orders:{user_id}"
    created_at, order_id = decode_cursor(listing, after) if after else _AFTER_ALL
    found = await s.fetch(
        _order,
        """
        SELECT /* orders.list_for_user */ order_id, order_number, user_id, status, currency, total_amount, line_count,
               order_version, placed_at, created_at
        FROM orders
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid
          AND (created_at, order_id) < (%(created_at)s::timestamptz, %(order_id)s::uuid)
        ORDER BY created_at DESC, order_id DESC
        LIMIT %(limit)s::integer
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
        created_at=created_at,
        order_id=order_id,
        limit=limit + 1,
    )
    shown = found[:limit]
    more = len(found) > limit
    return Page(shown, encode_cursor(listing, [shown[-1].created_at, shown[-1].order_id]) if more else None)


async def advance(s: Session, order_id: UUID, *, to: str, at: datetime | None, expected_version: int | None) -> Order:
    """Bring an order into another state; the caller queues what follows from it and appends the event.

    Raises:
        NotFound: There is no such order.
        IllegalTransition: It cannot go there from its state.
        VersionConflict: It is no longer at the expected version.

    Cost: one round trip; locks the order.
    """
    changed = await advance_once(s, order_id, to=to, at=at, expected_version=expected_version, receipt_key=None)
    if changed is None:
        raise VersionConflict(f"order {order_id} is no longer at version {expected_version}")
    return changed


async def advance_once(
    s: Session, order_id: UUID, *, to: str, at: datetime | None, expected_version: int | None, receipt_key: str | None
) -> Order | None:
    """Do as `advance`, unless a receipt under this key is on record: then nothing is changed, and None returned."""
    changed = await s.fetch(
        _order,
        """
        UPDATE /* orders.advance_once */ orders
        SET status = %(to)s::order_status, order_version = order_version + 1,
            paid_at = CASE WHEN %(to)s = 'paid' THEN %(at)s::timestamptz ELSE paid_at END,
            processing_at = CASE WHEN %(to)s = 'processing' THEN %(at)s::timestamptz ELSE processing_at END,
            shipped_at = CASE WHEN %(to)s = 'shipped' THEN %(at)s::timestamptz ELSE shipped_at END,
            delivered_at = CASE WHEN %(to)s = 'delivered' THEN %(at)s::timestamptz ELSE delivered_at END,
            cancelled_at = CASE WHEN %(to)s = 'cancelled' THEN %(at)s::timestamptz ELSE cancelled_at END,
            refunded_at = CASE WHEN %(to)s = 'refunded' THEN %(at)s::timestamptz ELSE refunded_at END
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
          AND (%(expected_version)s::integer IS NULL OR order_version = %(expected_version)s::integer)
          AND (%(receipt_key)s::varchar IS NULL OR NOT EXISTS (
              SELECT FROM payment_transactions AS t
              WHERE t.tenant_id = %(tenant_id)s::uuid AND t.idempotency_key = %(receipt_key)s::varchar))
        RETURNING order_id, order_number, user_id, status, currency, total_amount, line_count, order_version,
                  placed_at, created_at
        """,
        to=to,
        at=at or datetime.now(UTC),
        tenant_id=s.tenant_id,
        order_id=order_id,
        expected_version=expected_version,
        receipt_key=receipt_key,
    )
    if changed:
        return changed[0]
    order = await find(s, order_id)
    if expected_version not in (None, order.version):
        raise VersionConflict(f"order {order.order_number} is at version {order.version}, not {expected_version}")
    return None


async def record(s: Session, order: Order, event_type: str, **facts: object) -> Order:
    """Append the event of a change of state. It describes the whole order, so that one event makes its row elsewhere.

    Cost: none of its own: it travels with the next statement or with COMMIT, unless an inline projection listens.
    """
    data = {
        "order_id": order.order_id,
        "order_number": order.order_number,
        "user_id": order.user_id,
        "status": order.status,
        "currency": order.total.currency,
        "total_amount": f"{order.total.amount:.4f}",
        "line_count": order.line_count,
        "placed_at": order.placed_at,
        **facts,
    }
    await events.append_next(s, order.stream, [NewEvent(event_type, data)], expected_version=order.version - 1)
    return order
