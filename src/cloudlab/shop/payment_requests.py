"""Requests to a payment provider: put on record before it is asked, asked without a transaction, answered once.

    attempt = await begin_payment(s, order_id, …)      one transaction: the request is `pending`
    reply = await ask(gateway, attempt)                no transaction
    settled = await payment_answers.settle(s, reply)   another one: the answer and all that follows from it

A process that dies in between leaves the request open; `payments.resolve_unknown` finds it and asks what became of it.
Each beginning takes an idempotency key, which is also the provider's.

Standard: §3.3 Saga State Management
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import Conflict, IllegalTransition, InvalidInput, OutOfStock, PaymentFailed, PaymentUnknown
from cloudlab.session import Session
from cloudlab.shop import reservations
from cloudlab.shop.gateway import Answer, Gateway, Kind, PaymentMethod, Receipt
from cloudlab.shop.idempotency import Form, once
from cloudlab.values import Money, uuid7

_KEYS: Form[list[str]] = Form(save=lambda keys: {"keys": keys}, load=lambda answer: list(answer["keys"]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request to a provider, and what is known of it. `parent` is the receipt that it is about."""

    order_id: UUID
    payment_id: UUID
    provider: str
    payment_method: PaymentMethod
    kind: Kind
    status: Answer
    idempotency_key: str
    amount: Money
    reference: str | None
    failure: str | None
    reason: str | None
    return_id: UUID | None
    begun_at: datetime
    parent: Receipt | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider has answered, or that it has not."""

    idempotency_key: str
    status: Answer
    reference: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An order as payments see it, read while it is locked: what was taken, given back, and is under way."""

    order_id: UUID
    order_number: str
    status: str
    currency: str
    total_amount: Decimal
    order_version: int
    reservation: str
    captured: Decimal
    refunded: Decimal
    promised: Decimal

    @property
    def total(self) -> Money:
        """What the order costs."""
        return Money(self.total_amount, self.currency)

    @property
    def net(self) -> Money:
        """What was taken and not given back."""
        return Money(self.captured - self.refunded, self.currency)

    @property
    def open(self) -> Money:
        """What is neither taken, nor kept for us, nor under way."""
        return Money(self.total_amount - self.captured + self.refunded - self.promised, self.currency)


async def standing(s: Session, order_id: UUID) -> Standing:
    """Lock an order and return how it stands; NotFound when there is none. Cost: one round trip."""
    # Two statements, so that the second sees what was committed while the first waited.
    s.queue(
        """
        SELECT /* payment_requests.lock */ FROM orders
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid FOR NO KEY UPDATE
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )
    return await s.fetch_one(
        Standing,
        """
        SELECT /* payment_requests.standing */ o.order_id, o.order_number, o.status, o.currency, o.total_amount,
               o.order_version, coalesce(r.status, 'held') AS reservation, p.captured, p.refunded, p.promised
        FROM orders AS o
        LEFT JOIN inventory_reservations AS r ON r.tenant_id = o.tenant_id AND r.order_id = o.order_id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(p.captured_amount), 0) AS captured, coalesce(sum(p.refunded_amount), 0) AS refunded,
                   coalesce(sum(p.amount) FILTER (WHERE p.status IN ('created', 'authorized', 'unknown')), 0)
                       AS promised
            FROM payments AS p WHERE p.tenant_id = o.tenant_id AND p.order_id = o.order_id) AS p
        WHERE o.tenant_id = %(tenant_id)s::uuid AND o.order_id = %(order_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


async def begin_payment(
    s: Session,
    order_id: UUID,
    *,
    kind: Kind,
    payment_method: PaymentMethod,
    provider: str,
    idempotency_key: str,
    amount: Money | None = None,
) -> Attempt:
    """Put on record that a provider will be asked to authorise or to capture a new payment of an order.

    Args:
        s: The session; commit it before the provider is asked.
        order_id: Which order; it must still wait for its payment.
        kind: Authorise, or capture at once.
        payment_method: The way it is paid.
        provider: Whom we will ask.
        idempotency_key: The same key with the same request gives the same attempt, as it stands by then.
        amount: By default what is still open; several payments may share an order.

    Raises:
        InvalidInput: The amount is not positive, or more than is still open.
        IllegalTransition: The order does not wait for a payment.
        OutOfStock: Its hold had ended, and its goods are sold.
        KeyReused: The key was used for a different request.

    Cost: four round trips, and COMMIT; locks the order.
    """

    async def work() -> list[str]:
        found = await standing(s, order_id)
        wanted = amount or found.open
        if found.status != "pending_payment":
            raise IllegalTransition(f"order {found.order_number} is {found.status}: it does not wait for a payment")
        if wanted.amount <= 0 or found.open < wanted:
            raise InvalidInput(f"{wanted} cannot be paid on order {found.order_number}: {found.open} is open")
        if found.reservation == "released" and not await reservations.hold_again(s, order_id):
            raise OutOfStock(f"the hold of order {found.order_number} has ended, and its goods are sold")
        payment_id = uuid7()
        s.queue(
            """
            INSERT /* payment_requests.begin_payment */ INTO payments
                (tenant_id, payment_id, order_id, payment_method, provider, status, currency, amount)
            VALUES (%(tenant_id)s::uuid, %(payment_id)s::uuid, %(order_id)s::uuid, %(method)s::payment_method,
                    %(provider)s, 'created', %(currency)s, %(amount)s::numeric)
            """,
            tenant_id=s.tenant_id,
            payment_id=payment_id,
            order_id=order_id,
            method=payment_method.value,
            provider=provider,
            currency=wanted.currency,
            amount=wanted.amount,
        )
        queue_request(s, payment_id, kind, wanted, idempotency_key)
        return [idempotency_key]

    request = {
        "order_id": order_id,
        "amount": str(amount) if amount else None,
        "payment_method": payment_method.value,
        "provider": provider,
    }
    keys = await once(s, idempotency_key, f"{kind} a payment", request, work, _KEYS, resource_id=order_id)
    return (await attempts(s, keys))[0]


async def begin_capture(s: Session, payment_id: UUID, *, idempotency_key: str, amount: Money | None = None) -> Attempt:
    """Put on record that an authorised payment will be captured; what is not captured of it is let go.

    Raises:
        InvalidInput: The amount is not positive, or more than was authorised.
        IllegalTransition: The payment is not authorised.
        Conflict: Another request about it is under way.
        KeyReused: The key was used for a different request.

    Cost: five round trips, and COMMIT; locks the order.
    """
    return await _begin_ending(s, payment_id, Kind.CAPTURE, amount, idempotency_key)


async def begin_void(s: Session, payment_id: UUID, *, idempotency_key: str) -> Attempt:
    """Put on record that an authorised payment will be let go of. Errors and cost as of `begin_capture`."""
    return await _begin_ending(s, payment_id, Kind.VOID, None, idempotency_key)


@dataclass(frozen=True, slots=True)
class _Authorized:
    status: str
    amount: Decimal
    currency: str
    under_way: int


async def _begin_ending(s: Session, payment_id: UUID, kind: Kind, amount: Money | None, key: str) -> Attempt:
    async def work() -> list[str]:
        await standing(s, await _order_of(s, payment_id))
        found = await s.fetch_one(
            _Authorized,
            """
            SELECT /* payment_requests.begin_ending */ p.status, p.amount, p.currency, (
                SELECT count(*) FROM payment_transactions AS t
                WHERE t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id
                  AND t.status IN ('pending', 'unknown')) AS under_way
            FROM payments AS p
            WHERE p.tenant_id = %(tenant_id)s::uuid AND p.payment_id = %(payment_id)s::uuid
            """,
            tenant_id=s.tenant_id,
            payment_id=payment_id,
        )
        kept = Money(found.amount, found.currency)
        wanted = amount or kept
        if found.under_way:
            raise Conflict(f"payment {payment_id} has a request under way", hint="Wait for its answer.")
        if found.status != "authorized":
            raise IllegalTransition(f"payment {payment_id} is {found.status}: it cannot be ended by a {kind}")
        if wanted.amount <= 0 or kept < wanted:
            raise InvalidInput(f"{wanted} cannot be captured of {kept}")
        queue_request(s, payment_id, kind, wanted, key)
        return [key]

    request = {"payment_id": payment_id, "amount": str(amount) if amount else None}
    keys = await once(s, key, f"{kind} of an authorisation", request, work, _KEYS, resource_id=payment_id)
    return (await attempts(s, keys))[0]


async def _order_of(s: Session, payment_id: UUID) -> UUID:
    return await s.fetch_one(
        _uuid,
        """
        SELECT /* payment_requests.order_of */ order_id FROM payments
        WHERE tenant_id = %(tenant_id)s::uuid AND payment_id = %(payment_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        payment_id=payment_id,
    )


def _uuid(order_id: UUID) -> UUID:
    return order_id


def queue_request(
    s: Session,
    payment_id: UUID,
    kind: Kind,
    amount: Money,
    key: str,
    *,
    reason: str | None = None,
    return_id: UUID | None = None,
) -> None:
    """Enter a request to a provider as pending."""
    s.queue(
        """
        INSERT /* payment_requests.request */ INTO payment_transactions
            (tenant_id, payment_id, transaction_type, status, amount, currency, idempotency_key, reason, return_id)
        VALUES (%(tenant_id)s::uuid, %(payment_id)s::uuid, %(kind)s, 'pending', %(amount)s::numeric, %(currency)s,
                %(key)s, %(reason)s, %(return_id)s::uuid)
        """,
        tenant_id=s.tenant_id,
        payment_id=payment_id,
        kind=kind.value,
        amount=amount.amount,
        currency=amount.currency,
        key=key,
        reason=reason,
        return_id=return_id,
    )


def _attempt(
    order_id: UUID,
    payment_id: UUID,
    provider: str,
    method: str,
    kind: str,
    status: str,
    key: str,
    amount: Decimal,
    currency: str,
    reference: str | None,
    failure: str | None,
    reason: str | None,
    return_id: UUID | None,
    created_at: datetime,
    parent_kind: str | None,
    parent_reference: str | None,
    parent_key: str | None,
    parent_amount: Decimal | None,
) -> Attempt:
    parent = None
    if parent_kind and parent_reference and parent_key and parent_amount is not None:
        parent = Receipt(
            provider, parent_reference, parent_key, PaymentMethod(method), Money(parent_amount, currency),
            Kind(parent_kind),
        )  # fmt: skip
    return Attempt(
        order_id, payment_id, provider, PaymentMethod(method), Kind(kind), Answer(status), key, Money(amount, currency),
        reference, failure, reason, return_id, created_at, parent,
    )  # fmt: skip


async def attempts(s: Session, keys: Sequence[str]) -> list[Attempt]:
    """Return requests by their keys, those that are on record, as they stand. Cost: one round trip."""
    found = await s.fetch(
        _attempt,
        """
        SELECT /* payment_requests.attempts */ p.order_id, t.payment_id, p.provider, p.payment_method AS method,
               t.transaction_type AS kind, t.status, t.idempotency_key AS key, t.amount, t.currency,
               t.provider_reference AS reference, t.failure, t.reason, t.return_id, t.created_at,
               a.transaction_type AS parent_kind, a.provider_reference AS parent_reference,
               a.idempotency_key AS parent_key, a.amount AS parent_amount
        FROM unnest(%(keys)s::varchar[]) AS k (idempotency_key)
        -- Lateral, so that each is looked up by its key even with a plan that was made for empty tables.
        CROSS JOIN LATERAL (
            SELECT t.payment_id, t.transaction_type, t.status, t.idempotency_key, t.amount, t.currency,
                   t.provider_reference, t.failure, t.reason, t.return_id, t.created_at
            FROM payment_transactions AS t
            WHERE t.tenant_id = %(tenant_id)s::uuid AND t.idempotency_key = k.idempotency_key LIMIT 1) AS t
        CROSS JOIN LATERAL (
            SELECT p.order_id, p.provider, p.payment_method FROM payments AS p
            WHERE p.tenant_id = %(tenant_id)s::uuid AND p.payment_id = t.payment_id LIMIT 1) AS p
        LEFT JOIN LATERAL (
            SELECT a.transaction_type, a.provider_reference, a.idempotency_key, a.amount
            FROM payment_transactions AS a
            WHERE a.tenant_id = %(tenant_id)s::uuid AND a.payment_id = t.payment_id AND a.status = 'succeeded'
              AND a.transaction_type = CASE t.transaction_type WHEN 'refund' THEN 'capture' ELSE 'authorize' END
              AND t.transaction_type <> 'authorize'
            LIMIT 1) AS a ON true
        """,
        tenant_id=s.tenant_id,
        keys=list(keys),
    )
    by_key = {attempt.idempotency_key: attempt for attempt in found}
    return [by_key[key] for key in keys if key in by_key]


async def ask(gateway: Gateway, attempt: Attempt, *, token: str | None = None) -> Reply:
    """Ask the provider, outside of any transaction; what has been answered already is not asked again.

    An attempt that is still open is asked again under its own key, which does nothing twice. `token` is how the
    provider calls the customer's card. A refusal and a silence are replies like others; settle them.
    """
    if attempt.status in (Answer.SUCCEEDED, Answer.FAILED):
        return Reply(attempt.idempotency_key, attempt.status, attempt.reference, attempt.failure)
    if gateway.provider != attempt.provider:
        raise InvalidInput(f"{attempt.idempotency_key} is a request to {attempt.provider}, not {gateway.provider}")
    try:
        receipt = await _asked(gateway, attempt, token)
    except PaymentFailed as error:
        return Reply(attempt.idempotency_key, Answer.FAILED, failure=error.message[:255])
    except PaymentUnknown:
        return Reply(attempt.idempotency_key, Answer.UNKNOWN)
    return Reply(attempt.idempotency_key, Answer.SUCCEEDED, receipt.reference)


async def _asked(gateway: Gateway, attempt: Attempt, token: str | None) -> Receipt:
    key, amount, method, parent = attempt.idempotency_key, attempt.amount, attempt.payment_method, attempt.parent
    if attempt.kind is Kind.AUTHORIZE:
        return await gateway.authorize(idempotency_key=key, amount=amount, payment_method=method, token=token)
    if attempt.kind is Kind.CAPTURE:
        return await gateway.capture(
            idempotency_key=key, amount=amount, payment_method=method, authorization=parent, token=token
        )
    if parent is None:
        raise Conflict(f"{key} is a {attempt.kind} of nothing: there is no receipt to go by")
    if attempt.kind is Kind.VOID:
        return await gateway.void(parent, idempotency_key=key)
    return await gateway.refund(parent, idempotency_key=key, amount=amount)
