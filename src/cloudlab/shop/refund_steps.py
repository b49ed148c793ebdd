"""What each step of a refund does. Goods are taken back at once, money follows payment by payment.

Standard: §3.3 Saga State Management
"""

from collections.abc import Callable

from cloudlab.sagas import Call, Running
from cloudlab.session import Session
from cloudlab.shop import orders, payments
from cloudlab.shop.checkout_data import RefundWanted, Requested
from cloudlab.shop.gateway import Gateway
from cloudlab.shop.notifying import Notice, Notifier
from cloudlab.shop.payment_requests import attempts


class RefundSteps:
    """The steps, in order; behind the first there is only forward."""

    def __init__(self, gateway_of: Callable[[str], Gateway], notifier: Notifier) -> None:
        self._gateway_of = gateway_of
        self._notifier = notifier

    async def request(self, s: Session, saga: Running) -> Requested:
        """Decide which payments give what back, and take back the goods that may be sold again."""
        wanted = saga.input(RefundWanted)
        begun = await payments.begin_refund(
            s,
            wanted.order_id,
            reason=wanted.reason,
            idempotency_key=f"{saga.saga_id}:request",
            amount=wanted.amount,
            lines=wanted.lines,
        )
        return Requested([attempt.idempotency_key for attempt in begun])

    async def give_back(self, call: Call, saga: Running) -> dict[str, str]:
        """Have one payment's part given back; the order is refunded with the last of its money."""
        async with call.session() as s:
            (attempt,) = await attempts(s, [saga.item])
        reply = await payments.ask(self._gateway_of(attempt.provider), attempt)
        async with call.session() as s:
            settled = await payments.settle(s, reply)
        return {"payment_id": str(attempt.payment_id), "amount": str(settled.checked().attempt.amount)}

    async def notify(self, call: Call, saga: Running) -> None:
        """Tell the customer."""
        order_id = saga.input(RefundWanted).order_id
        async with call.session() as s:
            order = await orders.find(s, order_id)
        notice = Notice(saga.tenant_id, order_id, order.user_id, "refunded")
        await self._notifier.notify(notice, idempotency_key=call.idempotency_key)
