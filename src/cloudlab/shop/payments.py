"""Paying: several payments for an order, each authorised, captured, let go of or given back; and what nobody knows.

    created → authorized → captured → partially_refunded → refunded
        │          └→ voided
        └→ failed, or unknown until the provider has been asked again

Every verb is three steps: a request on record, the provider asked outside of any transaction, its answer on record with
all that follows from it. The steps are in `payment_requests`, `refunding` and `payment_answers`, for a saga to take one
by one; the verbs here take all three. Each may be repeated with its key, whether it had ended or not.

Standard: §3.1 Strong Consistency (CP from CAP), §3.3 Saga State Management
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cloudlab.errors import PaymentUnknown
from cloudlab.session import Session
from cloudlab.shop.gateway import Answer, Gateway, Kind, Message, PaymentMethod, Receipt
from cloudlab.shop.payment_answers import Payment, Settled, conclude, settle
from cloudlab.shop.payment_requests import Attempt, Reply, ask, attempts, begin_capture, begin_payment, begin_void
from cloudlab.shop.refunding import ReturnLine, begin_refund
from cloudlab.shop.sandbox import Sandbox
from cloudlab.values import Money

__all__ = [
    "Answer", "Attempt", "Gateway", "Kind", "Message", "Opener", "Payment", "PaymentMethod", "Receipt", "Reply",
    "ReturnLine", "Sandbox", "Settled", "ask", "authorize", "begin_capture", "begin_payment", "begin_refund",
    "begin_void", "capture", "charge", "conclude", "list_for_order", "open_requests", "refund", "resolve_unknown",
    "settle", "void",
]  # fmt: skip

Opener = Callable[[], AbstractAsyncContextManager[Session]]
"""Opens a session of the tenant, `lambda: platform.session(tenant)`; each is committed before the provider is asked."""


async def authorize(
    opener: Opener,
    gateway: Gateway,
    order_id: UUID,
    *,
    payment_method: PaymentMethod,
    idempotency_key: str,
    amount: Money | None = None,
    token: str | None = None,
) -> Settled:
    """Have an amount kept for an order, by default all that is open; arguments and errors of `begin_payment`.

    Raises:
        PaymentFailed: The provider declined.
        PaymentUnknown: It has not answered; repeat with the same key, or leave it to `resolve_unknown`.
    """
    return await _new(opener, gateway, order_id, Kind.AUTHORIZE, payment_method, idempotency_key, amount, token)


async def charge(
    opener: Opener,
    gateway: Gateway,
    order_id: UUID,
    *,
    payment_method: PaymentMethod,
    idempotency_key: str,
    amount: Money | None = None,
    token: str | None = None,
) -> Settled:
    """Take an amount for an order at once, by default all that is open. Errors as of `authorize`."""
    return await _new(opener, gateway, order_id, Kind.CAPTURE, payment_method, idempotency_key, amount, token)


async def capture(
    opener: Opener, gateway: Gateway, payment_id: UUID, *, idempotency_key: str, amount: Money | None = None
) -> Settled:
    """Take what was authorised, or a part; the rest is let go. Errors as of `begin_capture` and `authorize`."""
    async with opener() as s:
        attempt = await begin_capture(s, payment_id, idempotency_key=idempotency_key, amount=amount)
    return (await _carried_out(opener, gateway, attempt)).checked()


async def void(opener: Opener, gateway: Gateway, payment_id: UUID, *, idempotency_key: str) -> Settled:
    """Let go of what was authorised. Errors as of `begin_void` and `authorize`."""
    async with opener() as s:
        attempt = await begin_void(s, payment_id, idempotency_key=idempotency_key)
    return (await _carried_out(opener, gateway, attempt)).checked()


async def refund(
    opener: Opener,
    gateway: Gateway,
    order_id: UUID,
    *,
    reason: str,
    idempotency_key: str,
    amount: Money | None = None,
    lines: Sequence[ReturnLine] = (),
) -> list[Settled]:
    """Give money back, newest payment first; arguments and errors of `begin_refund`.

    Every payment it takes is asked for, even when one before it failed; then the first failure is raised.

    Raises:
        PaymentFailed: A provider declined one of them; the others are given back.
        PaymentUnknown: One has not answered; repeat with the same key, or leave it to `resolve_unknown`.
    """
    async with opener() as s:
        begun = await begin_refund(
            s, order_id, reason=reason, idempotency_key=idempotency_key, amount=amount, lines=lines
        )
    settled = [await _carried_out(opener, gateway, attempt) for attempt in begun]
    return [each.checked() for each in settled]


async def resolve_unknown(
    opener: Opener,
    gateway: Gateway,
    *,
    older_than: timedelta = timedelta(minutes=1),
    limit: int = 100,
    and_then: Callable[[Session, Settled], Awaitable[None]] | None = None,
) -> list[Settled]:
    """Find out what became of requests that nobody knows the end of, by asking the provider, and by nothing else.

    A request that never reached the provider has failed. None is looked at before `older_than`, longer than a request
    may be on its way; one that arrives even later is settled by its webhook.

    Args:
        opener: Opens a session of the tenant.
        gateway: Whom to ask; only requests to it are looked at.
        older_than: How old a request must be.
        limit: How many at most, the oldest first.
        and_then: What else is done in the transaction in which an answer is entered.

    Returns:
        What is known now. Those for which the provider does not answer this time either stay as they are.

    Cost: one question and two transactions for each.
    """
    async with opener() as s:
        keys = await open_requests(s, provider=gateway.provider, older_than=older_than, limit=limit)
        found = await attempts(s, keys)
    settled: list[Settled] = []
    for attempt in found:
        try:
            reply = await _inquired(gateway, attempt)
        except PaymentUnknown:
            continue
        async with opener() as s:
            settled.append(await settle(s, reply))
            if and_then:
                await and_then(s, settled[-1])
    return settled


async def _inquired(gateway: Gateway, attempt: Attempt) -> Reply:
    parent = attempt.parent.reference if attempt.parent else None
    receipt = await gateway.find(attempt.idempotency_key, kind=attempt.kind, since=attempt.begun_at, parent=parent)
    if receipt is None:
        return Reply(attempt.idempotency_key, Answer.FAILED, failure="it never reached the provider")
    failure = "the provider refused it" if receipt.status is Answer.FAILED else None
    return Reply(attempt.idempotency_key, receipt.status, receipt.reference, failure)


async def open_requests(s: Session, *, provider: str, older_than: timedelta, limit: int = 100) -> list[str]:
    """Return the keys of requests to a provider that are pending or unknown, oldest first. Cost: one round trip."""
    return await s.fetch(
        _key,
        """
        SELECT /* payments.open_requests */ t.idempotency_key
        FROM payment_transactions AS t
        JOIN payments AS p ON p.tenant_id = t.tenant_id AND p.payment_id = t.payment_id
        WHERE t.tenant_id = %(tenant_id)s::uuid AND t.status IN ('pending', 'unknown') AND p.provider = %(provider)s
          AND t.created_at <= %(before)s::timestamptz
        ORDER BY t.created_at
        LIMIT %(limit)s::integer
        """,
        tenant_id=s.tenant_id,
        provider=provider,
        before=(datetime.now(UTC) - older_than).isoformat(),
        limit=limit,
    )


def _key(idempotency_key: str) -> str:
    return idempotency_key


async def list_for_order(s: Session, order_id: UUID) -> list[Payment]:
    """Return the payments of an order, oldest first. Cost: one round trip."""
    return await s.fetch(
        Payment,
        """
        SELECT /* payments.list_for_order */ payment_id, order_id, payment_method, provider, status, currency, amount,
               captured_amount, refunded_amount
        FROM payments
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = %(order_id)s::uuid
        ORDER BY payment_id
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


async def _new(
    opener: Opener,
    gateway: Gateway,
    order_id: UUID,
    kind: Kind,
    method: PaymentMethod,
    key: str,
    amount: Money | None,
    token: str | None,
) -> Settled:
    async with opener() as s:
        attempt = await begin_payment(
            s,
            order_id,
            kind=kind,
            payment_method=method,
            provider=gateway.provider,
            idempotency_key=key,
            amount=amount,
        )
    return (await _carried_out(opener, gateway, attempt, token)).checked()


async def _carried_out(opener: Opener, gateway: Gateway, attempt: Attempt, token: str | None = None) -> Settled:
    reply = await ask(gateway, attempt, token=token)
    async with opener() as s:
        return await settle(s, reply)
