"""Stock held for orders: let go when nobody pays, held again when somebody pays late.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.values import NewEvent, Stream


@dataclass(frozen=True, slots=True)
class _Released:
    order_id: UUID
    order_version: int


def queue_status(s: Session, order_ids: list[UUID], status: str) -> None:
    """Set what became of the stock held for orders: held, claimed, shipped or released."""
    s.queue(
        """
        UPDATE /* reservations.status */ inventory_reservations
        SET status = %(status)s
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = ANY (%(order_ids)s::uuid[])
        """,
        tenant_id=s.tenant_id,
        order_ids=order_ids,
        status=status,
    )


def queue_stock(s: Session, order_ids: list[UUID], *, available: int, reserved: int, reason: str) -> None:
    """Move the stock of whole orders: each of their quantities so many times. Last in a transaction: others wait."""
    s.queue(
        """
        SELECT /* reservations.stock */ move_order_stock(
            %(order_ids)s::uuid[], %(available)s::integer, %(reserved)s::integer, %(reason)s::varchar)
        """,
        order_ids=order_ids,
        available=available,
        reserved=reserved,
        reason=reason,
    )


async def release(s: Session, order_id: UUID) -> bool:
    """Let go of what is held for an order that the caller has locked; False when it was let go before.

    Cost: one round trip.
    """
    released = await s.execute(
        """
        UPDATE /* reservations.release */ inventory_reservations
        SET status = 'released'
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid AND status IN ('held', 'claimed')
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
    if released:
        queue_stock(s, [order_id], available=1, reserved=-1, reason="cancellation")
    return released == 1


async def hold_again(s: Session, order_id: UUID) -> bool:
    """Hold the stock of an order whose hold had ended; False, and nothing moved, when it is not there any more.

    The caller has locked the order. Cost: one round trip; locks the stock of its products, in sorted order.
    """
    s.queue(
        """
        SELECT /* reservations.hold_again */ gather_stock(i.product_id, i.bucket_number)
        FROM (SELECT DISTINCT i.product_id, i.bucket_number FROM order_items AS i
              WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = %(order_id)s::uuid
              ORDER BY i.product_id OFFSET 0) AS i
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
    is_enough = await s.fetch(
        _enough,
        """
        SELECT /* reservations.hold_again */ n.available_quantity >= i.wanted AS enough
        FROM (SELECT i.tenant_id, i.product_id, i.bucket_number, sum(i.quantity) AS wanted FROM order_items AS i
              WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = %(order_id)s::uuid
              GROUP BY i.tenant_id, i.product_id, i.bucket_number) AS i
        JOIN inventory AS n
            ON n.tenant_id = i.tenant_id AND n.product_id = i.product_id AND n.bucket_number = i.bucket_number
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
    if not all(is_enough):
        return False
    queue_status(s, [order_id], "held")
    queue_stock(s, [order_id], available=-1, reserved=1, reason="order")
    return True


def queue_extend(s: Session, order_id: UUID, hold: timedelta) -> None:
    """Keep what is held for an order at least so long from now; never shortens a hold."""
    s.queue(
        """
        UPDATE /* reservations.extend */ inventory_reservations
        SET expires_at = greatest(expires_at, now() + %(hold)s::interval)
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid AND status = 'held'
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        hold=f"{hold.total_seconds()} seconds",
    )


async def expire_reservations(s: Session, *, limit: int = 100) -> list[UUID]:
    """Let go of the stock of unpaid orders past their hold; return which.

    An order with a payment that is authorised, under way or of unknown outcome keeps its stock, however late it is: the
    money may have moved. So does one that another transaction is at. The orders stay as they are: who pays late gets
    the goods if they are still there (`payments.conclude`), and `fulfilment.cancel` ends what nobody wants any more.

    Cost: three round trips, and COMMIT.
    """
    late = await s.fetch(
        _uuid,
        """
        SELECT /* reservations.late */ o.order_id
        -- The few that are late come first, in order, whatever the statistics say.
        FROM (SELECT r.tenant_id, r.order_id, r.expires_at FROM inventory_reservations AS r
              WHERE r.tenant_id = %(tenant_id)s::uuid AND r.status = 'held' AND r.expires_at <= now()
              ORDER BY r.expires_at OFFSET 0) AS r
        JOIN orders AS o ON o.tenant_id = r.tenant_id AND o.order_id = r.order_id
        WHERE o.tenant_id = %(tenant_id)s::uuid AND o.status = 'pending_payment'
          AND NOT EXISTS (
              SELECT FROM payments AS p
              WHERE p.tenant_id = r.tenant_id AND p.order_id = r.order_id
                AND p.status IN ('created', 'authorized', 'captured', 'partially_refunded', 'unknown'))
        ORDER BY r.expires_at
        LIMIT %(limit)s::integer
        FOR NO KEY UPDATE OF o SKIP LOCKED
        """,
        tenant_id=s.tenant_id,
        limit=limit,
    )
    if not late:
        return []
    # Asked again now that the orders are locked: a payment may have begun while the statement above was on its way.
    released = await s.fetch(
        _Released,
        """
        UPDATE /* reservations.expire */ inventory_reservations AS r
        SET status = 'released'
        FROM orders AS o
        WHERE r.tenant_id = %(tenant_id)s::uuid AND r.order_id = ANY (%(order_ids)s::uuid[]) AND r.status = 'held'
          AND o.tenant_id = r.tenant_id AND o.order_id = r.order_id AND o.status = 'pending_payment'
          AND NOT EXISTS (
              SELECT FROM payments AS p
              WHERE p.tenant_id = r.tenant_id AND p.order_id = r.order_id
                AND p.status IN ('created', 'authorized', 'captured', 'partially_refunded', 'unknown'))
        RETURNING o.order_id, o.order_version
        """,
        tenant_id=s.tenant_id,
        order_ids=late,
    )
    order_ids = sorted(each.order_id for each in released)
    if order_ids:
        await _record_expiry(s, released)
        queue_stock(s, order_ids, available=1, reserved=-1, reason="cancellation")
    return order_ids


async def _record_expiry(s: Session, released: list[_Released]) -> None:
    s.queue(
        """
        UPDATE /* reservations.record_expiry */ orders
        SET order_version = order_version + 1
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = ANY (%(order_ids)s::uuid[])
        """,
        tenant_id=s.tenant_id,
        order_ids=[each.order_id for each in released],
    )
    for each in released:
        expired = NewEvent("ReservationExpired", {"order_id": each.order_id})
        await events.append_next(s, Stream("Order", each.order_id), [expired], expected_version=each.order_version)


def _uuid(order_id: UUID) -> UUID:
    return order_id


def _enough(enough: bool) -> bool:
    return enough
