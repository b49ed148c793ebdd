"""What each step of a checkout does, and how it is undone.

Every step finds the world as a crash may have left it: local ones commit with their journal row, external ones ask the
provider under a key that never changes, and their compensations first find out what happened.

Standard: §3.3 Saga State Management
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from cloudlab.errors import IllegalTransition, OutOfStock
from cloudlab.sagas import Call, Running
from cloudlab.session import Session
from cloudlab.shop import fulfilment, orders, parcels, payments, reservations
from cloudlab.shop.checkout_data import Accepted, Authorised, CheckoutOrder, Paid
from cloudlab.shop.gateway import Answer, Gateway, Receipt
from cloudlab.shop.notifying import Notice, Notifier
from cloudlab.shop.payment_answers import Settled
from cloudlab.shop.payment_requests import Standing, attempts, standing
from cloudlab.values import Money

HOLD = timedelta(minutes=15)
"""How long the stock is kept at least from the moment of the checkout, until a payment is under way."""


class CheckoutSteps:
    """The steps, in order; the compensation of each stands below it."""

    def __init__(self, gateway_of: Callable[[str], Gateway], notifier: Notifier) -> None:
        self._gateway_of = gateway_of
        self._notifier = notifier

    async def accept(self, s: Session, saga: Running) -> Accepted:
        """Check that the order waits for its payment."""
        found = await standing(s, _order_id(saga))
        if found.status != "pending_payment":
            raise IllegalTransition(f"order {found.order_number} is {found.status}: it does not wait for a payment")
        order = await orders.find(s, found.order_id)
        return Accepted(order.total, order.user_id)

    async def cancel(self, s: Session, saga: Running) -> None:
        """Give the order up."""
        found = await standing(s, _order_id(saga))
        if _is_untouched(found):
            await fulfilment.cancel(s, found.order_id, reason="checkout undone")

    async def reserve(self, s: Session, saga: Running) -> None:
        """Hold the stock until the payment is under way; hold it again when its hold had ended."""
        found = await standing(s, _order_id(saga))
        await _hold(s, found)
        reservations.queue_extend(s, found.order_id, HOLD)

    async def release(self, s: Session, saga: Running) -> None:
        """Let go of the stock."""
        found = await standing(s, _order_id(saga))
        if _is_untouched(found):
            await reservations.release(s, found.order_id)

    async def authorise(self, call: Call, saga: Running) -> Authorised:
        """Have all that is open of the price kept for us; what costs nothing is not asked for."""
        wanted = saga.input(CheckoutOrder)
        if _is_free(saga):
            return Authorised()
        settled = await payments.authorize(
            call.session,
            self._gateway_of(wanted.provider),
            wanted.order_id,
            payment_method=wanted.payment_method,
            idempotency_key=call.idempotency_key,
            token=wanted.token,
        )
        return Authorised(settled.payment.payment_id)

    async def void(self, call: Call, saga: Running) -> None:
        """Let go of the authorisation, if there is one."""
        settled = await self._outcome(call, saga, "authorise")
        if settled and settled.payment.status == "authorized":
            gateway = self._gateway_of(settled.payment.provider)
            await payments.void(call.session, gateway, settled.payment.payment_id, idempotency_key=call.idempotency_key)

    async def capture(self, call: Call, saga: Running) -> None:
        """Take the money: then there is only forward, unless the order cannot be had for it any more."""
        payment_id = saga.result("authorise", Authorised).payment_id
        if payment_id is None:
            return
        gateway = self._gateway_of(saga.input(CheckoutOrder).provider)
        settled = await payments.capture(call.session, gateway, payment_id, idempotency_key=call.idempotency_key)
        if settled.due.amount > 0:
            raise IllegalTransition(
                f"order {settled.order.order_number} is {settled.order.status}: {settled.due} is due back", hint=""
            )

    async def give_back(self, call: Call, saga: Running) -> None:
        """Give back what was taken, if it was."""
        settled = await self._outcome(call, saga, "capture")
        if settled is None or settled.attempt.status is not Answer.SUCCEEDED:
            return
        payment = settled.payment
        left = Money(payment.captured_amount - payment.refunded_amount, payment.currency)
        if left.amount > 0:
            await payments.refund(
                call.session,
                self._gateway_of(payment.provider),
                payment.order_id,
                reason="checkout undone",
                idempotency_key=call.idempotency_key,
                amount=left,
            )

    async def paid(self, s: Session, saga: Running) -> Paid:
        """Hand the order to the warehouse. It is paid since the money was taken, with its vendors' commissions."""
        found = await standing(s, _order_id(saga))
        status = found.status
        if status == "pending_payment" and _is_free(saga):
            await _hold(s, found)
            wanted = saga.input(CheckoutOrder)
            key = f"{saga.saga_id}:paid"
            receipt = Receipt("none", key, key, wanted.payment_method, found.total)
            status = (await fulfilment.pay(s, found.order_id, receipt)).status
        if status == "pending_payment":
            raise IllegalTransition(f"order {found.order_number} is not paid, although its money was taken")
        if status == "paid":
            status = (await fulfilment.prepare(s, found.order_id)).status
        return Paid(await parcels.vendors_of(s, found.order_id) if status == "processing" else [])

    async def ship(self, s: Session, saga: Running) -> dict[str, str]:
        """Send one vendor's part; the order is shipped with the last."""
        order = await parcels.send(s, _order_id(saga), UUID(saga.item))
        return {"status": order.status}

    async def notify(self, call: Call, saga: Running) -> None:
        """Tell the customer."""
        user_id = saga.result("accept", Accepted).user_id
        notice = Notice(saga.tenant_id, _order_id(saga), user_id, "shipped")
        await self._notifier.notify(notice, idempotency_key=call.idempotency_key)

    async def _outcome(self, call: Call, saga: Running, step: str) -> Settled | None:
        """Return what became of a step's request, None when it was never made.

        One that nobody knows the end of is asked again under its own key: that does nothing twice, and ends it.

        Raises:
            PaymentUnknown: The provider does not answer now either.
        """
        async with call.session() as s:
            found = await attempts(s, [f"{saga.saga_id}:{step}"])
        if not found:
            return None
        gateway = self._gateway_of(found[0].provider)
        reply = await payments.ask(gateway, found[0], token=saga.input(CheckoutOrder).token)
        async with call.session() as s:
            settled = await payments.settle(s, reply)
        return settled if settled.attempt.status is Answer.FAILED else settled.checked()


async def _hold(s: Session, found: Standing) -> None:
    if found.reservation == "released" and not await reservations.hold_again(s, found.order_id):
        raise OutOfStock(f"the hold of order {found.order_number} has ended, and its goods are sold")


def _order_id(saga: Running) -> UUID:
    return saga.input(CheckoutOrder).order_id


def _is_free(saga: Running) -> bool:
    return saga.result("accept", Accepted).total.amount == 0


def _is_untouched(found: Standing) -> bool:
    """Whether nothing but this checkout is about an order: one with money of other payments stays as it is."""
    return found.status == "pending_payment" and found.net.amount == 0 and found.promised == 0
