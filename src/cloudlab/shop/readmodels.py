"""What follows the shop's events: customers' summaries, the product cache, and the facts in ClickHouse.

Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cloudlab.events.projections import InlineProjection, Projection, Stores
from cloudlab.session import Session
from cloudlab.shop.catalog import cache_key
from cloudlab.shop.sales import product_sales
from cloudlab.values import Event

_ORDER_COLUMNS = (
    "tenant_id", "order_id", "order_number", "user_id", "status", "currency", "total_amount", "line_count", "placed_at",
    "order_version", "epoch", "event_position",
)  # fmt: skip
_ITEM_COLUMNS = (
    "tenant_id", "order_id", "line_number", "product_id", "vendor_id", "sku", "quantity", "price", "currency",
    "placed_at", "epoch", "event_position",
)  # fmt: skip
_PAYMENT_COLUMNS = (
    "tenant_id", "payment_id", "order_id", "payment_method", "status", "currency", "captured_amount", "refunded_amount",
    "paid_at", "epoch", "event_position",
)  # fmt: skip


async def _summarise(s: Session, placed: Sequence[Event]) -> None:
    """Add placed orders to their customers' summaries, in the transaction of the orders."""
    known = [event.event_data for event in placed if event.event_data["user_id"] is not None]
    if not known:
        return
    # Sorted, so that two transactions never wait for each other in a circle.
    s.queue(
        """
        INSERT /* readmodels.user_order_summaries */ INTO user_order_summaries AS u
            (tenant_id, user_id, currency, order_count, placed_amount, last_placed_at)
        SELECT %(tenant_id)s::uuid, p.user_id, p.currency, count(*), sum(p.amount), max(p.placed_at)
        FROM unnest(%(user_ids)s::uuid[], %(currencies)s::varchar[], %(amounts)s::numeric[],
                    %(placed_at)s::timestamptz[])
             AS p (user_id, currency, amount, placed_at)
        GROUP BY p.user_id, p.currency
        ORDER BY p.user_id, p.currency
        ON CONFLICT (tenant_id, user_id, currency) DO UPDATE
        SET order_count = u.order_count + excluded.order_count,
            placed_amount = u.placed_amount + excluded.placed_amount,
            last_placed_at = greatest(u.last_placed_at, excluded.last_placed_at)
        """,
        tenant_id=s.tenant_id,
        user_ids=[data["user_id"] for data in known],
        currencies=[data["currency"] for data in known],
        amounts=[data["total_amount"] for data in known],
        placed_at=[data["placed_at"] for data in known],
    )


async def _invalidate(stores: Stores, changes: Sequence[Event]) -> None:
    """Refuse cached copies older than what has been committed; only the newest change of a product matters."""
    newest = {(event.tenant_id, event.aggregate_id): event.event_version for event in changes}
    for (tenant_id, product_id), version in newest.items():
        await stores.cache.raise_floor(cache_key(tenant_id, product_id), version)


async def _record_facts(stores: Stores, changes: Sequence[Event]) -> None:
    """Write orders, lines and payments; a batch that comes again replaces its own rows."""
    placed = [event for event in changes if event.event_type == "OrderPlaced"]
    paid = [event for event in changes if "payment_id" in event.event_data]
    await stores.analytics.insert("orders", _ORDER_COLUMNS, [_order_row(event) for event in changes])
    await stores.analytics.insert("order_items", _ITEM_COLUMNS, [row for event in placed for row in _item_rows(event)])
    await stores.analytics.insert("payments", _PAYMENT_COLUMNS, [_payment_row(event) for event in paid])


def _order_row(event: Event) -> tuple[object, ...]:
    data = event.event_data
    return (
        event.tenant_id,
        event.aggregate_id,
        data["order_number"],
        UUID(data["user_id"]) if data["user_id"] else None,
        data["status"],
        data["currency"],
        Decimal(data["total_amount"]),
        data["line_count"],
        datetime.fromisoformat(data["placed_at"]),
        event.event_version,
        event.epoch,
        event.event_position,
    )


def _item_rows(event: Event) -> list[tuple[object, ...]]:
    data = event.event_data
    placed_at = datetime.fromisoformat(data["placed_at"])
    return [
        (
            event.tenant_id,
            event.aggregate_id,
            line["line"],
            UUID(line["product_id"]),
            UUID(line["vendor_id"]),
            line["sku"],
            line["quantity"],
            Decimal(line["price"]),
            data["currency"],
            placed_at,
            event.epoch,
            event.event_position,
        )
        for line in data["lines"]
    ]


def _payment_row(event: Event) -> tuple[object, ...]:
    data = event.event_data
    captured, refunded = Decimal(data["captured_amount"]), Decimal(data.get("refunded_amount", "0"))
    return (
        event.tenant_id,
        UUID(data["payment_id"]),
        event.aggregate_id,
        data["payment_method"],
        _payment_status(captured, refunded),
        data["currency"],
        captured,
        refunded,
        event.created_at,
        event.epoch,
        event.event_position,
    )


def _payment_status(captured: Decimal, refunded: Decimal) -> str:
    if not refunded:
        return "captured"
    return "refunded" if refunded == captured else "partially_refunded"


ORDER_EVENTS = frozenset(
    {
        "OrderPlaced",
        "OrderPaid",
        "OrderPrepared",
        "OrderShipped",
        "OrderDelivered",
        "OrderCancelled",
        "OrderRefunded",
        "PaymentCaptured",
        "PaymentRefunded",
    }
)

user_order_summaries = InlineProjection(
    "user_order_summaries", frozenset({"OrderPlaced"}), _summarise, tables=("user_order_summaries",)
)
product_cache = Projection(
    "product_cache", frozenset({"ProductAdded", "ProductPriceChanged", "StockReceived", "StockCorrected"}), _invalidate
)
order_facts = Projection(
    "order_facts",
    ORDER_EVENTS,
    _record_facts,
    tables=("orders", "order_items", "payments"),
    batch_size=2000,
    rest_seconds=0.5,  # an insert costs ClickHouse three parts, however few rows it has
)

ALL = (user_order_summaries, product_sales, product_cache, order_facts)
