"""What a payment leaves in the books: the payment, what the provider did, the vendors' commissions, and their way back.

Every statement here serves any number of orders and travels with the caller's next one.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from cloudlab.errors import KeyReused
from cloudlab.session import Session
from cloudlab.shop.gateway import Receipt
from cloudlab.shop.order import Order


def queue_payments(
    s: Session, orders: Sequence[Order], payment_ids: Sequence[UUID], receipts: Sequence[Receipt]
) -> None:
    """Enter a captured payment for each order."""
    s.queue(
        """
        INSERT /* payment_records.payments */ INTO payments
            (tenant_id, payment_id, order_id, payment_method, provider, status, currency, amount, captured_amount)
        SELECT %(tenant_id)s::uuid, p.payment_id, p.order_id, p.method::payment_method, p.provider, 'captured',
               p.currency, p.amount, p.amount
        FROM unnest(%(payment_ids)s::uuid[], %(order_ids)s::uuid[], %(methods)s::varchar[], %(providers)s::varchar[],
                    %(currencies)s::varchar[], %(amounts)s::numeric[])
             AS p (payment_id, order_id, method, provider, currency, amount)
        """,
        tenant_id=s.tenant_id,
        payment_ids=list(payment_ids),
        order_ids=[order.order_id for order in orders],
        methods=[receipt.payment_method.value for receipt in receipts],
        providers=[receipt.provider for receipt in receipts],
        currencies=[receipt.amount.currency for receipt in receipts],
        amounts=[receipt.amount.amount for receipt in receipts],
    )


def queue_transactions(s: Session, payment_ids: Sequence[UUID], kind: str, receipts: Sequence[Receipt]) -> None:
    """Enter what the provider did on each payment: `capture` or `refund`."""
    s.queue(
        """
        INSERT /* payment_records.transactions */ INTO payment_transactions
            (tenant_id, payment_id, transaction_type, status, amount, currency, provider_reference, idempotency_key)
        SELECT %(tenant_id)s::uuid, t.payment_id, %(kind)s, 'succeeded', t.amount, t.currency, t.reference, t.key
        FROM unnest(%(payment_ids)s::uuid[], %(amounts)s::numeric[], %(currencies)s::varchar[],
                    %(references)s::varchar[], %(keys)s::varchar[])
             AS t (payment_id, amount, currency, reference, key)
        ORDER BY t.key
        """,
        tenant_id=s.tenant_id,
        payment_ids=list(payment_ids),
        kind=kind,
        amounts=[receipt.amount.amount for receipt in receipts],
        currencies=[receipt.amount.currency for receipt in receipts],
        references=[receipt.reference for receipt in receipts],
        keys=[receipt.idempotency_key for receipt in receipts],
    )


def queue_commissions(s: Session, orders: Sequence[Order]) -> None:
    """Enter what each vendor earns on each order, at the vendor's rate now."""
    s.queue(
        """
        INSERT /* payment_records.commissions */ INTO vendor_commissions
            (tenant_id, vendor_id, order_id, currency, gross_amount, commission_rate, commission_amount, net_amount)
        SELECT %(tenant_id)s::uuid, e.vendor_id, e.order_id, e.currency, e.gross, e.commission_rate,
               round(e.gross * e.commission_rate, minor_digits(e.currency)),
               e.gross - round(e.gross * e.commission_rate, minor_digits(e.currency))
        FROM (
            -- What rounding leaves over goes to the largest share, so that the shares add up to the payment.
            SELECT g.order_id, g.vendor_id, g.commission_rate, g.currency,
                   g.gross + CASE WHEN g.place = 1 THEN g.total - sum(g.gross) OVER (PARTITION BY g.order_id) ELSE 0 END
                       AS gross
            FROM (
                SELECT w.order_id, w.currency, w.total, i.vendor_id, v.commission_rate,
                       round(i.amount, minor_digits(w.currency)) AS gross,
                       row_number() OVER (PARTITION BY w.order_id ORDER BY i.amount DESC, i.vendor_id) AS place
                FROM unnest(%(order_ids)s::uuid[], %(currencies)s::varchar[], %(totals)s::numeric[])
                     AS w (order_id, currency, total)
                -- Lateral, so that both are looked up by their keys even with a plan that was made for empty tables.
                CROSS JOIN LATERAL (
                    SELECT l.vendor_id, sum(l.line_total) AS amount
                    FROM (
                        SELECT i.vendor_id, i.line_total FROM order_items AS i
                        WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = w.order_id
                        ORDER BY i.line_number OFFSET 0) AS l
                    GROUP BY l.vendor_id) AS i
                CROSS JOIN LATERAL (
                    SELECT v.commission_rate FROM vendors AS v
                    WHERE v.tenant_id = %(tenant_id)s::uuid AND v.vendor_id = i.vendor_id LIMIT 1) AS v) AS g) AS e
        """,
        tenant_id=s.tenant_id,
        order_ids=[order.order_id for order in orders],
        currencies=[order.total.currency for order in orders],
        totals=[order.total.amount for order in orders],
    )


async def refund_payment(s: Session, order_id: UUID) -> tuple[UUID, bool]:
    """Mark the captured payment of an order as refunded; return its id and whether the goods had left."""

    def refunded(payment_id: UUID, shipped: bool) -> tuple[UUID, bool]:
        return payment_id, shipped

    return await s.fetch_one(
        refunded,
        """
        UPDATE /* payment_records.refund_payment */ payments AS p
        SET status = 'refunded', refunded_amount = p.captured_amount
        FROM orders AS o
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.order_id = %(order_id)s::uuid AND p.status = 'captured'
          AND o.tenant_id = p.tenant_id AND o.order_id = p.order_id AND p.captured_amount = o.total_amount
        RETURNING p.payment_id, o.shipped_at IS NOT NULL AS shipped
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


def queue_refund(
    s: Session, order_id: UUID, payment_id: UUID, refund_id: UUID, receipt: Receipt, *, reason: str
) -> None:
    """Enter a refund of a whole payment, and take the commissions back."""
    s.queue(
        """
        INSERT /* payment_records.refund */ INTO refunds
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
        INSERT /* payment_records.refund */ INTO vendor_commissions
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


async def check_receipts(s: Session, order_ids: Sequence[UUID], receipts: Sequence[Receipt]) -> None:
    """Refuse receipts whose keys are on record for something else; KeyReused names the first. Cost: one round trip."""
    others = await s.fetch(
        _key,
        """
        SELECT /* payment_records.check_receipts */ t.idempotency_key
        FROM unnest(%(keys)s::varchar[], %(order_ids)s::uuid[], %(amounts)s::numeric[], %(currencies)s::varchar[])
             AS w (idempotency_key, order_id, amount, currency)
        JOIN payment_transactions AS t
          ON t.tenant_id = %(tenant_id)s::uuid AND t.idempotency_key = w.idempotency_key
        JOIN payments AS p ON p.tenant_id = t.tenant_id AND p.payment_id = t.payment_id
        WHERE (p.order_id, t.amount, t.currency::varchar) <> (w.order_id, w.amount, w.currency)
        """,
        tenant_id=s.tenant_id,
        keys=[receipt.idempotency_key for receipt in receipts],
        order_ids=list(order_ids),
        amounts=[receipt.amount.amount for receipt in receipts],
        currencies=[receipt.amount.currency for receipt in receipts],
    )
    if others:
        raise KeyReused(f"a receipt under {others[0]} is on record for another order or amount")


def _key(idempotency_key: str) -> str:
    return idempotency_key


def captured(payment_id: UUID, receipt: Receipt) -> Mapping[str, object]:
    """Return what the events of an order say about its payment."""
    return {
        "payment_id": payment_id,
        "payment_method": receipt.payment_method.value,
        "captured_amount": f"{receipt.amount.amount:.4f}",
    }
