"""What becomes of an order once it is placed: paid, prepared, shipped, delivered; or cancelled, or refunded.

The stock is moved last of all, together with COMMIT, so that others wait for it as briefly as can be.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.session import Session
from cloudlab.shop.orders import Order, advance, advance_once, find, record
from cloudlab.shop.payments import PaymentMethod, Receipt
from cloudlab.values import Money, uuid7


async def pay(
    s: Session, order_id: UUID, receipt: Receipt, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Record that the provider has taken the money: pending_payment → paid, with the commissions of the vendors.

    A receipt that is on record already changes nothing, so a repeated answer of the provider does no harm.

    Raises:
        InvalidInput: The receipt is for another amount than the order's.
        IllegalTransition: The order cannot be paid any more; the money must be given back.

    Cost: two round trips, and COMMIT.
    """
    order = await advance_once(
        s, order_id, to="paid", at=at, expected_version=expected_version, receipt_key=receipt.idempotency_key
    )
    if order is None:
        return await find(s, order_id)
    if receipt.amount != order.total:
        raise InvalidInput(f"order {order.order_number} costs {order.total}, the receipt is for {receipt.amount}")
    payment_id = uuid7()
    _queue_payment(s, order, payment_id, receipt)
    _queue_transaction(s, payment_id, "capture", receipt)
    s.queue(
        """
        INSERT /* fulfilment.pay */ INTO vendor_commissions
            (tenant_id, vendor_id, order_id, currency, gross_amount, commission_rate, commission_amount, net_amount)
        SELECT %(tenant_id)s::uuid, e.vendor_id, %(order_id)s::uuid, %(currency)s, e.gross, e.commission_rate,
               round(e.gross * e.commission_rate, minor_digits(%(currency)s)),
               e.gross - round(e.gross * e.commission_rate, minor_digits(%(currency)s))
        FROM (
            -- What rounding leaves over goes to the largest share, so that the shares add up to the payment.
            SELECT g.vendor_id, g.commission_rate,
                   g.gross + CASE WHEN g.place = 1 THEN %(total)s::numeric - sum(g.gross) OVER () ELSE 0 END AS gross
            FROM (
                SELECT i.vendor_id, v.commission_rate,
                       round(sum(i.line_total), minor_digits(%(currency)s)) AS gross,
                       row_number() OVER (ORDER BY sum(i.line_total) DESC, i.vendor_id) AS place
                FROM order_items AS i
                JOIN vendors AS v ON v.tenant_id = i.tenant_id AND v.vendor_id = i.vendor_id
                WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = %(order_id)s::uuid
                GROUP BY i.vendor_id, v.commission_rate) AS g) AS e
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        currency=order.total.currency,
        total=order.total.amount,
    )
    _queue_reservation(s, order_id, "claimed")
    return await record(
        s,
        order,
        "OrderPaid",
        payment_id=payment_id,
        payment_method=receipt.payment_method.value,
        captured_amount=f"{receipt.amount.amount:.4f}",
    )


async def prepare(
    s: Session, order_id: UUID, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Hand a paid order to the warehouse: paid → processing. Cost: one round trip, and COMMIT."""
    order = await advance(s, order_id, to="processing", at=at, expected_version=expected_version)
    return await record(s, order, "OrderPrepared")


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
    order = await advance(s, order_id, to="shipped", at=at, expected_version=expected_version)
    s.queue(
        """
        INSERT /* fulfilment.ship */ INTO shipments (tenant_id, order_id, carrier, tracking_number, shipped_at)
        VALUES (%(tenant_id)s::uuid, %(order_id)s::uuid, %(carrier)s, %(tracking_number)s,
                coalesce(%(at)s::timestamptz, now()))
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        carrier=carrier,
        tracking_number=tracking_number,
        at=at,
    )
    _queue_reservation(s, order_id, "shipped")
    await record(s, order, "OrderShipped")
    _queue_stock(s, order_id, available=0, reserved=-1, reason="shipment")
    return order


async def deliver(
    s: Session, order_id: UUID, *, at: datetime | None = None, expected_version: int | None = None
) -> Order:
    """Record the arrival: shipped → delivered. Cost: one round trip, and COMMIT."""
    order = await advance(s, order_id, to="delivered", at=at, expected_version=expected_version)
    s.queue(
        """
        UPDATE /* fulfilment.deliver */ shipments
        SET delivered_at = coalesce(%(at)s::timestamptz, now())
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid AND delivered_at IS NULL
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        at=at,
    )
    return await record(s, order, "OrderDelivered")


async def cancel(
    s: Session,
    order_id: UUID,
    *,
    reason: str,
    at: datetime | None = None,
    expected_version: int | None = None,
) -> Order:
    """Give an unpaid order up: pending_payment → cancelled; its stock may be sold again.

    Raises:
        IllegalTransition: It is paid already; refund it instead.

    Cost: one round trip, and COMMIT.
    """
    order = await advance(s, order_id, to="cancelled", at=at, expected_version=expected_version)
    _queue_reservation(s, order_id, "released")
    await record(s, order, "OrderCancelled", reason=reason)
    _queue_stock(s, order_id, available=1, reserved=-1, reason="cancellation")
    return order


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

    Cost: three round trips, and COMMIT.
    """
    order = await advance_once(
        s, order_id, to="refunded", at=at, expected_version=expected_version, receipt_key=receipt.idempotency_key
    )
    if order is None:
        return await find(s, order_id)
    if receipt.amount != order.total:
        raise InvalidInput(f"order {order.order_number} cost {order.total}, the receipt is for {receipt.amount}")
    payment_id, shipped = await _refund_payment(s, order_id)
    refund_id = uuid7()
    _queue_transaction(s, payment_id, "refund", receipt)
    s.queue(
        """
        INSERT /* fulfilment.refund */ INTO refunds
            (tenant_id, refund_id, payment_id, order_id, amount, currency, reason)
        SELECT %(tenant_id)s::uuid, %(refund_id)s::uuid, %(payment_id)s::uuid, %(order_id)s::uuid, %(amount)s::numeric,
               %(currency)s, %(reason)s
        WHERE %(amount)s::numeric > 0
        """,
        tenant_id=s.tenant_id,
        refund_id=refund_id,
        payment_id=payment_id,
        order_id=order_id,
        amount=receipt.amount.amount,
        currency=receipt.amount.currency,
        reason=reason,
    )
    s.queue(
        """
        INSERT /* fulfilment.refund */ INTO vendor_commissions
            (tenant_id, vendor_id, order_id, refund_id, currency, gross_amount, commission_rate, commission_amount,
             net_amount)
        SELECT c.tenant_id, c.vendor_id, c.order_id, r.refund_id, c.currency, -c.gross_amount, c.commission_rate,
               -c.commission_amount, -c.net_amount
        FROM vendor_commissions AS c
        JOIN refunds AS r ON r.tenant_id = c.tenant_id AND r.refund_id = %(refund_id)s::uuid
        WHERE c.tenant_id = %(tenant_id)s::uuid AND c.order_id = %(order_id)s::uuid AND c.refund_id IS NULL
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        refund_id=refund_id,
    )
    await record(
        s,
        order,
        "OrderRefunded",
        payment_id=payment_id,
        payment_method=receipt.payment_method.value,
        captured_amount=f"{receipt.amount.amount:.4f}",
        refunded_amount=f"{receipt.amount.amount:.4f}",
        reason=reason,
    )
    if not shipped:
        _queue_reservation(s, order_id, "released")
        _queue_stock(s, order_id, available=1, reserved=-1, reason="cancellation")
    elif restock:
        _queue_stock(s, order_id, available=1, reserved=0, reason="return")
    return order


async def _refund_payment(s: Session, order_id: UUID) -> tuple[UUID, bool]:
    """Mark the captured payment as refunded; return its id and whether the goods had left."""

    def refunded(payment_id: UUID, shipped: bool) -> tuple[UUID, bool]:
        return payment_id, shipped

    return await s.fetch_one(
        refunded,
        """
        UPDATE /* fulfilment.refund */ payments AS p
        SET status = 'refunded', refunded_amount = p.captured_amount
        FROM orders AS o
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.order_id = %(order_id)s::uuid AND p.status = 'captured'
          AND o.tenant_id = p.tenant_id AND o.order_id = p.order_id
        RETURNING p.payment_id, o.shipped_at IS NOT NULL AS shipped
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


def _queue_payment(s: Session, order: Order, payment_id: UUID, receipt: Receipt) -> None:
    s.queue(
        """
        INSERT /* fulfilment.pay */ INTO payments
            (tenant_id, payment_id, order_id, payment_method, provider, status, currency, amount, captured_amount)
        VALUES (%(tenant_id)s::uuid, %(payment_id)s::uuid, %(order_id)s::uuid, %(method)s::payment_method, %(provider)s,
                'captured', %(currency)s, %(amount)s::numeric, %(amount)s::numeric)
        """,
        tenant_id=s.tenant_id,
        payment_id=payment_id,
        order_id=order.order_id,
        method=receipt.payment_method.value,
        provider=receipt.provider,
        currency=receipt.amount.currency,
        amount=receipt.amount.amount,
    )


def _queue_transaction(s: Session, payment_id: UUID, kind: str, receipt: Receipt) -> None:
    s.queue(
        """
        INSERT /* fulfilment.transaction */ INTO payment_transactions
            (tenant_id, payment_id, transaction_type, status, amount, currency, provider_reference, idempotency_key)
        VALUES (%(tenant_id)s::uuid, %(payment_id)s::uuid, %(kind)s, 'succeeded', %(amount)s::numeric, %(currency)s,
                %(reference)s, %(key)s)
        """,
        tenant_id=s.tenant_id,
        payment_id=payment_id,
        kind=kind,
        amount=receipt.amount.amount,
        currency=receipt.amount.currency,
        reference=receipt.reference,
        key=receipt.idempotency_key,
    )


def _queue_reservation(s: Session, order_id: UUID, status: str) -> None:
    s.queue(
        """
        UPDATE /* fulfilment.reservation */ inventory_reservations
        SET status = %(status)s
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        status=status,
    )


def _queue_stock(s: Session, order_id: UUID, *, available: int, reserved: int, reason: str) -> None:
    s.queue(
        """
        SELECT /* fulfilment.stock */ move_order_stock(
            %(order_id)s::uuid, %(available)s::integer, %(reserved)s::integer, %(reason)s::varchar)
        """,
        order_id=order_id,
        available=available,
        reserved=reserved,
        reason=reason,
    )


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
