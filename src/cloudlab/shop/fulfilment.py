"""What becomes of an order once it is placed: paid, prepared, shipped, delivered; or cancelled, or refunded.

The verbs in the plural take many orders through the same change at a fraction of the cost, all or none; those in the
singular are calls of them with one order. The stock is moved last of all, together with COMMIT, so that others wait for
it as briefly as can be.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.session import Session
from cloudlab.shop import payment_records as books
from cloudlab.shop import reservations
from cloudlab.shop.gateway import PaymentMethod, Receipt
from cloudlab.shop.idempotency import once
from cloudlab.shop.order import ORDER_FORM
from cloudlab.shop.orders import Change, Order, advance_all, record_all
from cloudlab.values import Money, uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment(Change):
    """An order that was paid for: `receipt` is what the provider has taken."""

    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel(Change):
    """An order that was sent: who carries it, under which number."""

    carrier: str | None = None
    tracking_number: str | None = None


async def pay_all(s: Session, payments: Sequence[Payment]) -> list[Order]:
    """Record what the provider has taken for orders, all or none, as `pay` does. Cost: one round trip, and COMMIT."""
    keys = [payment.receipt.idempotency_key for payment in payments]
    advanced = await advance_all(s, payments, to="paid", receipt_keys=keys)
    paid = [
        (order, payment.receipt) for (order, is_changed), payment in zip(advanced, payments, strict=True) if is_changed
    ]
    if len(paid) < len(payments):
        seen = [each for (_, is_changed), each in zip(advanced, payments, strict=True) if not is_changed]
        await books.check_receipts(s, [each.order_id for each in seen], [each.receipt for each in seen])
    for order, receipt in paid:
        if receipt.amount != order.total:
            raise InvalidInput(f"order {order.order_number} costs {order.total}, the receipt is for {receipt.amount}")
    if paid:
        changed, receipts = [order for order, _ in paid], [receipt for _, receipt in paid]
        payment_ids = [uuid7() for _ in paid]
        books.queue_payments(s, changed, payment_ids, receipts)
        books.queue_transactions(s, payment_ids, "capture", receipts)
        books.queue_commissions(s, changed)
        reservations.queue_status(s, [order.order_id for order in changed], "claimed")
        facts = [books.captured(payment_id, receipt) for payment_id, receipt in zip(payment_ids, receipts, strict=True)]
        await record_all(s, changed, "OrderPaid", facts)
    return [order for order, _ in advanced]


async def prepare_all(s: Session, changes: Sequence[Change]) -> list[Order]:
    """Hand paid orders to the warehouse: paid → processing, all or none. Cost: one round trip, and COMMIT."""
    return await _advanced(s, changes, to="processing", event_type="OrderPrepared")


async def ship_all(s: Session, parcels: Sequence[Parcel]) -> list[Order]:
    """Send prepared orders, all or none; each as `ship` does. Cost: one round trip, and COMMIT."""
    orders = await _advanced(s, parcels, to="shipped", event_type="OrderShipped")
    s.queue(
        """
        INSERT /* fulfilment.ship */ INTO shipments (tenant_id, order_id, carrier, tracking_number, shipped_at)
        SELECT %(tenant_id)s::uuid, p.order_id, p.carrier, p.tracking_number, coalesce(p.at, now())
        FROM unnest(%(order_ids)s::uuid[], %(carriers)s::varchar[], %(tracking_numbers)s::varchar[],
                    %(at)s::timestamptz[])
             AS p (order_id, carrier, tracking_number, at)
        """,
        tenant_id=s.tenant_id,
        order_ids=[parcel.order_id for parcel in parcels],
        carriers=[parcel.carrier for parcel in parcels],
        tracking_numbers=[parcel.tracking_number for parcel in parcels],
        at=_times(parcels),
    )
    reservations.queue_status(s, [order.order_id for order in orders], "shipped")
    reservations.queue_stock(s, [order.order_id for order in orders], available=0, reserved=-1, reason="shipment")
    return orders


async def deliver_all(s: Session, changes: Sequence[Change]) -> list[Order]:
    """Record that orders have arrived: shipped → delivered, all or none. Cost: one round trip, and COMMIT."""
    orders = await _advanced(s, changes, to="delivered", event_type="OrderDelivered")
    s.queue(
        """
        UPDATE /* fulfilment.deliver */ shipments AS p
        SET delivered_at = coalesce((
            SELECT w.at FROM unnest(%(order_ids)s::uuid[], %(at)s::timestamptz[]) AS w (order_id, at)
            WHERE w.order_id = p.order_id), now())
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.order_id = ANY (%(order_ids)s::uuid[]) AND p.delivered_at IS NULL
        """,
        tenant_id=s.tenant_id,
        order_ids=[change.order_id for change in changes],
        at=_times(changes),
    )
    return orders


async def pay(
    s: Session, order_id: UUID, receipt: Receipt, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Record that the provider has taken the money: pending_payment → paid, with the commissions of the vendors.

    A receipt that is on record already changes nothing, so a repeated answer of the provider does no harm.

    Raises:
        InvalidInput: The receipt is for another amount than the order's.
        IllegalTransition: The order cannot be paid any more; the money must be given back.
        KeyReused: A receipt under this key is on record for another order or amount.

    Cost: one round trip, and COMMIT; a repeated receipt takes two.
    """
    payment = Payment(order_id=order_id, receipt=receipt, at=at, expected_version=expected_version)
    return (await pay_all(s, [payment]))[0]


async def prepare(
    s: Session, order_id: UUID, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Hand a paid order to the warehouse: paid → processing. Cost: one round trip, and COMMIT."""
    return (await prepare_all(s, [Change(order_id=order_id, at=at, expected_version=expected_version)]))[0]


async def ship(
    s: Session,
    order_id: UUID,
    *,
    carrier: str | None = None,
    tracking_number: str | None = None,
    at: datetime | None = None,
    expected_version: int | None = None,
) -> Order:
    """Send a prepared order: processing → shipped; its stock is no longer ours. Cost: one round trip, and COMMIT."""
    parcel = Parcel(
        order_id=order_id, at=at, expected_version=expected_version, carrier=carrier, tracking_number=tracking_number
    )
    return (await ship_all(s, [parcel]))[0]


async def deliver(
    s: Session, order_id: UUID, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Record the arrival: shipped → delivered. Cost: one round trip, and COMMIT."""
    return (await deliver_all(s, [Change(order_id=order_id, at=at, expected_version=expected_version)]))[0]


async def cancel(
    s: Session,
    order_id: UUID,
    *,
    reason: str,
    at: datetime | None = None,
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Order:
    """Give an unpaid order up: pending_payment → cancelled; its stock may be sold again.

    Raises:
        IllegalTransition: It is paid already; refund it instead.
        KeyReused: The key was used for a different request.

    Cost: two round trips, and COMMIT; with a key, three.
    """

    async def work() -> Order:
        change = Change(order_id=order_id, at=at, expected_version=expected_version)
        orders = await _advanced(s, [change], to="cancelled", event_type="OrderCancelled", facts=[{"reason": reason}])
        await reservations.release(s, order_id)
        return orders[0]

    request = {"order_id": order_id, "reason": reason, "at": at, "expected_version": expected_version}
    return await once(s, idempotency_key, "cancel", request, work, ORDER_FORM, resource_id=order_id)


async def refund(
    s: Session,
    order_id: UUID,
    receipt: Receipt,
    *,
    reason: str,
    restock: bool = True,
    at: datetime | None = None,
    expected_version: int | None = None,
) -> Order:
    """Record that the whole price was given back: any paid state → refunded, with the commissions taken back.

    For an order that was paid by one payment. Parts, and orders with several payments, go through `payments.refund`.

    Args:
        s: The session.
        order_id: Which order.
        receipt: What the provider gave back.
        reason: Why, for the record.
        restock: Whether goods that were shipped may be sold again; what was not shipped always may.
        at: When; by default now.
        expected_version: Version last read by the caller.

    Raises:
        InvalidInput: The receipt is for another amount than the order's.
        IllegalTransition: The order was never paid.
        NotFound: It was paid in parts, or a part was given back before.
        KeyReused: A receipt under this key is on record for another order or amount.

    Cost: two round trips, and COMMIT.
    """
    change = Change(order_id=order_id, at=at, expected_version=expected_version)
    ((order, is_changed),) = await advance_all(s, [change], to="refunded", receipt_keys=[receipt.idempotency_key])
    if not is_changed:
        await books.check_receipts(s, [order_id], [receipt])
        return order
    if receipt.amount != order.total:
        raise InvalidInput(f"order {order.order_number} cost {order.total}, the receipt is for {receipt.amount}")
    payment_id, shipped = await books.refund_payment(s, order_id)
    books.queue_transactions(s, [payment_id], "refund", [receipt])
    books.queue_refund(s, order_id, payment_id, uuid7(), receipt, reason=reason)
    facts = {
        **books.captured(payment_id, receipt),
        "refunded_amount": f"{receipt.amount.amount:.4f}",
        "reason": reason,
    }
    await record_all(s, [order], "OrderRefunded", [facts])
    if not shipped:
        reservations.queue_status(s, [order_id], "released")
        reservations.queue_stock(s, [order_id], available=1, reserved=-1, reason="cancellation")
    elif restock:
        reservations.queue_stock(s, [order_id], available=1, reserved=0, reason="return")
    return order


async def _advanced(
    s: Session,
    changes: Sequence[Change],
    *,
    to: str,
    event_type: str,
    facts: Sequence[Mapping[str, object]] | None = None,
) -> list[Order]:
    """Change the state of orders and append the events."""
    orders = [order for order, _ in await advance_all(s, changes, to=to)]
    await record_all(s, orders, event_type, facts)
    return orders


def _times(changes: Sequence[Change]) -> list[str | None]:
    return [change.at.isoformat() if change.at else None for change in changes]


async def receipt_of(s: Session, order_id: UUID) -> Receipt:
    """Return the receipt of an order's captured payment, as a refund needs it; NotFound when it was never paid."""

    def receipt(provider: str, reference: str, key: str, method: str, amount: Decimal, currency: str) -> Receipt:
        return Receipt(provider, reference, key, PaymentMethod(method), Money(amount, currency))

    return await s.fetch_one(
        receipt,
        """
        SELECT /* fulfilment.receipt_of */ p.provider, t.provider_reference AS reference, t.idempotency_key AS key,
               p.payment_method AS method, t.amount, t.currency
        FROM payments AS p
        JOIN payment_transactions AS t ON t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.order_id = %(order_id)s::uuid
          AND t.transaction_type = 'capture' AND t.status = 'succeeded'
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
