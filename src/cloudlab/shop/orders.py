"""Orders: placing them, reading them, and the states they go through.

    pending_payment → paid → processing → shipped → delivered, or cancelled, or refunded

Every verb is one change of state, made by compare-and-set on `order_version`, with its event in the same transaction;
the version of an order is that of its event stream. The database refuses an illegal change whoever asks for it.

Standard: §3.1 Strong Consistency (CP from CAP), §5.2 Pagination
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.events import together
from cloudlab.events.together import StreamAppend
from cloudlab.session import Session
from cloudlab.shop.order import NewOrder, Order, OrderItem, OrderLine, order_row
from cloudlab.shop.placing import MOST_LINES, place, place_all
from cloudlab.values import NewEvent, Page, decode_cursor, encode_cursor

__all__ = [
    "MOST_LINES", "Change", "NewOrder", "Order", "OrderItem", "OrderLine", "advance_all", "find", "find_by_numbers",
    "items", "list_for_user", "note", "place", "place_all", "record_all",
]  # fmt: skip

_AFTER_ALL = (datetime.max.replace(tzinfo=UTC).isoformat(), str(UUID(int=(1 << 128) - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of state of one order: when, by default now, and the version last read by the caller, None = any."""

    order_id: UUID
    at: datetime | None = None
    expected_version: int | None = None


async def find(s: Session, order_id: UUID) -> Order:
    """Return an order by id; NotFound when there is none. Cost: one round trip."""
    return await s.fetch_one(
        order_row,
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
        order_row,
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
        order_row,
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


async def advance_all(
    s: Session, changes: Sequence[Change], *, to: str, receipt_keys: Sequence[str] | None = None
) -> list[tuple[Order, bool]]:
    """Bring orders into another state, all or none; the caller queues what follows from it and appends the events.

    Args:
        s: The session.
        changes: Of different orders.
        to: The state.
        receipt_keys: For each of them a key; where a receipt under it is on record, nothing is changed.

    Returns:
        For each, in the order given, the order as it stands then and whether it was changed.

    Raises:
        NotFound: One of them does not exist.
        IllegalTransition: One of them cannot go there from its state.
        VersionConflict: One of them is no longer at the expected version.
        InvalidInput: One of them is named twice.

    Cost: one round trip, none without orders; locks them, in sorted order.
    """
    if not changes:
        return []
    if len({change.order_id for change in changes}) != len(changes):
        raise InvalidInput("an order is named twice", hint="One call changes the state of an order once.")
    now = datetime.now(UTC)
    places = sorted(range(len(changes)), key=lambda place: changes[place].order_id)
    ordered = [changes[place] for place in places]
    advanced = await s.fetch(
        _advanced,
        """
        SELECT /* orders.advance_all */ order_id, order_number, user_id, status, currency, total_amount, line_count,
               order_version, placed_at, created_at, is_changed
        FROM advance_orders(
            %(to)s::order_status, %(order_ids)s::uuid[], %(at)s::timestamptz[], %(expected_versions)s::integer[],
            %(receipt_keys)s::varchar[])
        """,
        to=to,
        order_ids=[change.order_id for change in ordered],
        at=[(change.at or now).isoformat() for change in ordered],
        expected_versions=[change.expected_version for change in ordered],
        receipt_keys=[receipt_keys[place] for place in places] if receipt_keys is not None else None,
    )
    found = {order.order_id: (order, is_changed) for order, is_changed in advanced}
    return [found[change.order_id] for change in changes]


def _advanced(
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
    is_changed: bool,
) -> tuple[Order, bool]:
    order = order_row(
        order_id,
        order_number,
        user_id,
        status,
        currency,
        total_amount,
        line_count,
        order_version,
        placed_at,
        created_at,
    )
    return order, is_changed


async def record_all(
    s: Session, orders: Sequence[Order], event_type: str, facts: Sequence[Mapping[str, object]] | None = None
) -> None:
    """Append the events of changes of state. Each describes its whole order, so that one event makes its row elsewhere.

    Cost: none of its own: it travels with the next statement or with COMMIT, unless an inline projection listens.
    """
    appends = [
        StreamAppend(
            order.stream,
            [NewEvent(event_type, _described(order) | dict(facts[number] if facts else {}))],
            expected_version=order.version - 1,
        )
        for number, order in enumerate(orders)
    ]
    if not appends:
        return
    if len(appends) == 1:
        # One stream alone takes half the time in the function made for one.
        (only,) = appends
        await events.append_next(s, only.stream, only.events, expected_version=orders[0].version - 1)
    else:
        await together.append_all_next(s, appends)


async def note(s: Session, order_id: UUID, event_type: str, facts: Mapping[str, object]) -> Order:
    """Append an event that leaves the state of its order as it is; return the order. Cost: one round trip."""
    order = await s.fetch_one(
        order_row,
        """
        UPDATE /* orders.note */ orders
        SET order_version = order_version + 1
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
        RETURNING order_id, order_number, user_id, status, currency, total_amount, line_count, order_version, placed_at,
                  created_at
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
    await record_all(s, [order], event_type, [facts])
    return order


def _described(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "order_number": order.order_number,
        "user_id": order.user_id,
        "status": order.status,
        "currency": order.total.currency,
        "total_amount": f"{order.total.amount:.4f}",
        "line_count": order.line_count,
        "placed_at": order.placed_at,
    }
