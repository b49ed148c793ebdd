"""What follows from a provider's answer, in one transaction: the payment, the order, the vendors' accounts, the events.

A payment's state is always worked out from all of its requests, so it does not matter in which order answers come: the
gateway's own, a webhook, or what was found out later. Each request is answered once; the second time changes nothing.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import NotFound, PaymentFailed, PaymentUnknown
from cloudlab.session import Session
from cloudlab.shop import commissions, reservations
from cloudlab.shop.gateway import Answer, Kind
from cloudlab.shop.order import Order
from cloudlab.shop.orders import Change, advance_all, find, note, record_all
from cloudlab.shop.payment_requests import Attempt, Reply, Standing, attempts, standing
from cloudlab.values import Money, uuid7

_SENT = ("shipped", "delivered")
_PAID = ("paid", "processing", *_SENT)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it stands."""

    payment_id: UUID
    order_id: UUID
    payment_method: str
    provider: str
    status: str
    currency: str
    amount: Decimal
    captured_amount: Decimal
    refunded_amount: Decimal


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a request, its payment and its order.

    Attributes:
        attempt: The request as it stands.
        payment: Its payment.
        order: Its order.
        due: What must be given back because the order cannot be had for it: it was cancelled, its goods were sold after
            its hold had ended, or it was paid for twice. Usually nothing.
    """

    attempt: Attempt
    payment: Payment
    order: Order
    due: Money

    def checked(self) -> "Settled":
        """Return it when it succeeded; raise PaymentFailed or PaymentUnknown when not."""
        if self.attempt.status is Answer.FAILED:
            raise PaymentFailed(self.attempt.failure, details=str(self.payment.payment_id))
        if self.attempt.status is not Answer.SUCCEEDED:
            raise PaymentUnknown(
                f"{self.payment.provider} has not answered {self.attempt.idempotency_key}",
                details=str(self.payment.payment_id),
            )
        return self


async def settle(s: Session, reply: Reply) -> Settled:
    """Enter what a provider has answered, and all that follows from it.

    A capture that completes the order's price makes it paid; one that gives back the last of it makes it refunded. What
    is held for an order is never sold twice: see `conclude`.

    Raises:
        NotFound: No request has this key.

    Cost: eight round trips for a capture, and COMMIT; four when it is answered already. Locks the order.
    """
    found = await attempts(s, [reply.idempotency_key])
    if not found:
        raise NotFound(f"no payment was asked for under {reply.idempotency_key}")
    attempt = found[0]
    before = await standing(s, attempt.order_id)
    is_new = await _enter(s, reply)
    payment = await _rework(s, attempt.payment_id)
    (attempt,) = await attempts(s, [reply.idempotency_key])
    if is_new and attempt.status is Answer.SUCCEEDED:
        if attempt.kind is Kind.CAPTURE:
            await commissions.accrue(s, attempt.order_id, before.total, attempt.amount)
            order, due = await conclude(s, attempt.order_id, facts=_facts(payment))
            return Settled(attempt, payment, order, due)
        if attempt.kind is Kind.REFUND:
            return await _refunded(s, attempt, payment)
    now = await standing(s, attempt.order_id)
    return Settled(attempt, payment, await find(s, attempt.order_id), _due(now))


async def conclude(s: Session, order_id: UUID, *, facts: Mapping[str, object] | None = None) -> tuple[Order, Money]:
    """Decide what the money taken for an order is worth: it is paid, it waits for more, or money must go back.

    An order that waits for its payment is paid as soon as its price has been taken. When its hold has ended meanwhile,
    its goods are held again if they are still there; if they are not, all that was taken is due back.

    Args:
        s: The session.
        order_id: Which order.
        facts: Of the payment that was captured, for the event.

    Returns:
        The order as it stands then, and what must be given back.

    Cost: one to five round trips; locks the order.
    """
    found = await standing(s, order_id)
    order: Order | None = None
    is_covered = found.net.amount >= found.total_amount
    if found.status == "pending_payment" and is_covered and await _has_stock(s, found):
        ((order, _),) = await advance_all(s, [Change(order_id=order_id)], to="paid")
        reservations.queue_status(s, [order_id], "claimed")
        await record_all(s, [order], "OrderPaid", [facts or {}])
        found = replace(found, status="paid")
    elif facts is not None:
        order = await note(s, order_id, "PaymentCaptured", facts)
    return order or await find(s, order_id), _due(found)


async def _has_stock(s: Session, found: Standing) -> bool:
    return found.reservation != "released" or await reservations.hold_again(s, found.order_id)


def _due(found: Standing) -> Money:
    """Return what must go back: all for an order that cannot be had, what is too much for one that can."""
    nothing = Money(0, found.currency)
    if found.status == "pending_payment":
        # Still waiting although everything was taken: its goods are gone.
        return found.net if found.net.amount >= found.total_amount else nothing
    if found.status in _PAID:
        return max(nothing, found.net - found.total)
    return found.net


async def _enter(s: Session, reply: Reply) -> bool:
    """Enter an answer; False when this request is answered already."""
    entered = await s.execute(
        """
        UPDATE /* payment_answers.enter */ payment_transactions
        SET status = %(status)s, provider_reference = coalesce(%(reference)s, provider_reference), failure = %(failure)s
        WHERE tenant_id = %(tenant_id)s::uuid AND idempotency_key = %(key)s AND status <> %(status)s
          AND (status = 'pending' OR status = 'unknown' AND %(status)s IN ('succeeded', 'failed')
               OR status = 'failed' AND %(status)s = 'succeeded')
        """,
        tenant_id=s.tenant_id,
        key=reply.idempotency_key,
        status=reply.status.value,
        reference=reply.reference,
        failure=reply.failure,
    )
    return entered == 1


async def _rework(s: Session, payment_id: UUID) -> Payment:
    """Work out what has become of a payment from all of its requests."""
    return await s.fetch_one(
        Payment,
        """
        UPDATE /* payment_answers.rework */ payments AS p
        SET captured_amount = f.captured, refunded_amount = f.refunded,
            status = CASE
                WHEN f.refunded > 0 AND f.refunded = f.captured THEN 'refunded'
                WHEN f.refunded > 0 THEN 'partially_refunded'
                WHEN f.is_captured THEN 'captured'
                WHEN f.is_voided THEN 'voided'
                WHEN f.is_unknown THEN 'unknown'
                WHEN f.is_authorized THEN 'authorized'
                WHEN f.is_pending THEN 'created'
                ELSE 'failed' END
        FROM (
            SELECT coalesce(sum(t.amount) FILTER (WHERE t.transaction_type = 'capture' AND t.status = 'succeeded'), 0)
                       AS captured,
                   coalesce(sum(t.amount) FILTER (WHERE t.transaction_type = 'refund' AND t.status = 'succeeded'), 0)
                       AS refunded,
                   bool_or(t.transaction_type = 'capture' AND t.status = 'succeeded') AS is_captured,
                   bool_or(t.transaction_type = 'void' AND t.status = 'succeeded') AS is_voided,
                   bool_or(t.transaction_type = 'authorize' AND t.status = 'succeeded') AS is_authorized,
                   bool_or(t.transaction_type <> 'refund' AND t.status = 'unknown') AS is_unknown,
                   bool_or(t.transaction_type <> 'refund' AND t.status = 'pending') AS is_pending
            FROM payment_transactions AS t
            WHERE t.tenant_id = %(tenant_id)s::uuid AND t.payment_id = %(payment_id)s::uuid) AS f
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.payment_id = %(payment_id)s::uuid
        RETURNING p.payment_id, p.order_id, p.payment_method, p.provider, p.status, p.currency, p.amount,
                  p.captured_amount, p.refunded_amount
        """,
        tenant_id=s.tenant_id,
        payment_id=payment_id,
    )


async def _refunded(s: Session, attempt: Attempt, payment: Payment) -> Settled:
    """Enter money that was given back; the order is refunded with the last of it."""
    order_id = attempt.order_id
    refund_id = uuid7()
    s.queue(
        """
        INSERT /* payment_answers.refunded */ INTO refunds
            (tenant_id, refund_id, payment_id, order_id, amount, currency, reason)
        VALUES (%(tenant_id)s::uuid, %(refund_id)s::uuid, %(payment_id)s::uuid, %(order_id)s::uuid, %(amount)s::numeric,
                %(currency)s, %(reason)s)
        """,
        tenant_id=s.tenant_id,
        refund_id=refund_id,
        payment_id=attempt.payment_id,
        order_id=order_id,
        amount=attempt.amount.amount,
        currency=attempt.amount.currency,
        reason=attempt.reason or "",
    )
    weights = await _returned_value(s, attempt)
    await commissions.take_back(s, order_id, refund_id, attempt.amount, weights)
    found = await standing(s, order_id)
    facts = {**_facts(payment), "reason": attempt.reason or ""}
    if found.status not in _PAID or found.net.amount > 0:
        order = await note(s, order_id, "PaymentRefunded", facts)
        return Settled(attempt, payment, order, _due(found))
    ((order, _),) = await advance_all(s, [Change(order_id=order_id)], to="refunded")
    await record_all(s, [order], "OrderRefunded", [facts])
    if found.status not in _SENT:
        await reservations.release(s, order_id)
    return Settled(attempt, payment, order, found.net)


async def _returned_value(s: Session, attempt: Attempt) -> dict[UUID, Decimal]:
    if attempt.return_id is None:
        return {}
    rows = await s.fetch_tuples(
        """
        SELECT /* payment_answers.returned_value */ i.vendor_id, sum(i.price * r.quantity) AS value
        FROM return_lines AS r
        JOIN order_items AS i USING (tenant_id, order_id, line_number)
        WHERE r.tenant_id = %(tenant_id)s::uuid AND r.order_id = %(order_id)s::uuid
          AND r.return_id = %(return_id)s::uuid
        GROUP BY i.vendor_id
        """,
        tenant_id=s.tenant_id,
        order_id=attempt.order_id,
        return_id=attempt.return_id,
    )
    return {vendor_id: value for vendor_id, value in rows if value > 0}


def _facts(payment: Payment) -> dict[str, object]:
    """Return what the events of an order say about a payment."""
    return {
        "payment_id": payment.payment_id,
        "payment_method": payment.payment_method,
        "captured_amount": f"{payment.captured_amount:.4f}",
        "refunded_amount": f"{payment.refunded_amount:.4f}",
    }
