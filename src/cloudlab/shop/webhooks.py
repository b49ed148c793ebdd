"""What providers say of their own accord: late, twice, or before the answer to the request itself.

A message is entered once by the provider's own id. What it says is settled like any other answer, so neither its order
nor its repetition matters: see `payment_answers`.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

from cloudlab.errors import InvalidInput
from cloudlab.session import Session
from cloudlab.shop.gateway import Answer, Message
from cloudlab.shop.payment_answers import Settled, settle
from cloudlab.shop.payment_requests import Reply, attempts


async def receive_webhook(s: Session, message: Message) -> Settled | None:
    """Enter a message and settle what it speaks of; None when it came before, or speaks of nothing of ours.

    Commit before the provider is told that it was received. A capture that comes too late may leave money due back:
    look at `due`.

    Raises:
        InvalidInput: It speaks of another amount, kind or provider than the request under its key. Nothing is entered.

    Cost: one round trip for a repeated message; that of `settle` and three more for a new one.
    """
    entered = await s.execute(
        """
        INSERT /* webhooks.receive_webhook */ INTO payment_webhooks
            (tenant_id, provider, event_id, transaction_type, status, provider_reference, idempotency_key, amount,
             currency, occurred_at)
        VALUES (%(tenant_id)s::uuid, %(provider)s, %(event_id)s, %(kind)s, %(status)s, %(reference)s, %(key)s,
                %(amount)s::numeric, %(currency)s, %(occurred_at)s::timestamptz)
        ON CONFLICT DO NOTHING
        """,
        tenant_id=s.tenant_id,
        provider=message.provider,
        event_id=message.event_id,
        kind=message.kind.value,
        status=message.status.value,
        reference=message.reference,
        key=message.idempotency_key,
        amount=message.amount.amount,
        currency=message.amount.currency,
        occurred_at=message.occurred_at.isoformat(),
    )
    if not entered or message.idempotency_key is None:
        return None
    if message.status not in (Answer.SUCCEEDED, Answer.FAILED):
        return None
    known = await attempts(s, [message.idempotency_key])
    if not known:
        return None
    attempt = known[0]
    if (attempt.provider, attempt.kind, attempt.amount) != (message.provider, message.kind, message.amount):
        raise InvalidInput(
            f"message {message.event_id} speaks of a {message.kind} of {message.amount} by {message.provider}, "
            f"{attempt.idempotency_key} is a {attempt.kind} of {attempt.amount} by {attempt.provider}"
        )
    failure = "the provider says that it failed" if message.status is Answer.FAILED else None
    return await settle(s, Reply(attempt.idempotency_key, message.status, message.reference, failure))
