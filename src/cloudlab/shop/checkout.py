"""The checkout: an order is held, paid and sent, or undone as a whole; and money is given back for goods.

    checkout   accept → reserve → authorise → capture (pivot) → paid → ship by each vendor → notify
    refund     request (pivot) → give back by each payment → notify

    shop = Checkout(gateway)
    async with Platform.open(sagas=shop.definitions) as platform:
        bought = await shop.buy(platform, acme, NewOrder(…), payment_method=PaymentMethod.CREDIT_CARD)

Until the money is taken, everything is undone in reverse: the authorisation is voided, the hold released, the order
cancelled. A payment of which nothing is known is asked for again under its own key, and in no other way.

Standard: §3.3 Saga State Management, §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from cloudlab import sagas
from cloudlab.errors import CloudLabError, Unavailable
from cloudlab.sagas import Each, Saga, Start, Step
from cloudlab.sagas.journal import Sessions
from cloudlab.session import Session
from cloudlab.shop import orders
from cloudlab.shop.checkout_data import Bought, CheckoutOrder, RefundWanted
from cloudlab.shop.checkout_steps import CheckoutSteps
from cloudlab.shop.gateway import Gateway, Kind, PaymentMethod
from cloudlab.shop.notifying import LogNotifier, Notifier
from cloudlab.shop.order import NewOrder
from cloudlab.shop.payment_answers import Settled
from cloudlab.shop.refund_steps import RefundSteps
from cloudlab.shop.refunding import ReturnLine
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Cause, Money, uuid7

# Asking a provider again does no harm, so it is given time to come back before anything is undone.
_ASKS = 10
_CALL = timedelta(seconds=90)
_DEADLINE = timedelta(minutes=30)
_UNDO_ATTEMPTS = 100

_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class _Purchase:
    """What a customer wants, and how it is paid; `cause` is that of the order and of its saga."""

    order: NewOrder
    payment_method: PaymentMethod
    token: str | None
    cause: Cause = field(default_factory=Cause)


class Checkout:
    """The sagas of a shop, bound to its payment providers; made once in each process.

    Attributes:
        checkout: Pays and sends an order; its data is a CheckoutOrder.
        refund: Gives money back; its data is a RefundWanted.
        definitions: All of them in every version that may be under way, for `Platform.open`.
    """

    def __init__(self, gateway: Gateway, *others: Gateway, notifier: Notifier | None = None) -> None:
        """Take the provider of new payments, others that older payments may still be with, and who tells customers."""
        self._gateway = gateway
        self._gateways = {each.provider: each for each in (gateway, *others)}
        teller = notifier or LogNotifier()
        self.checkout = _checkout(CheckoutSteps(self._gateway_of, teller))
        self.refund = _refund(RefundSteps(self._gateway_of, teller))
        self.definitions = (self.checkout, self.refund)

    async def buy(
        self,
        sessions: Sessions,
        tenant: Tenant,
        order: NewOrder,
        *,
        payment_method: PaymentMethod,
        token: str | None = None,
        cause: Cause | None = None,
    ) -> Bought:
        """Place an order and start its checkout: both or neither, in a transaction shared with other buyers.

        Args:
            sessions: The platform.
            tenant: In whose shop.
            order: What is bought; its key makes the whole repeatable.
            payment_method: The way it is paid.
            token: How the provider calls the customer's card or account.
            cause: Who asked; the events of the order and of its checkout share its correlation id.

        Raises:
            OutOfStock: A product is short; nothing was placed and nothing will be paid. Others as of `orders.place`.

        Cost: two round trips and one commit for up to 64 buyers together.
        """
        why = cause or Cause()
        why = replace(why, correlation_id=why.correlation_id or uuid7())
        known = replace(order, metadata=why.as_metadata(order.user_id) | dict(order.metadata or {}))
        purchase = _Purchase(known, payment_method, token, why)
        return await sessions.combine(tenant, self._buy_all, purchase, most=_TOGETHER)

    async def start(
        self, s: Session, order_id: UUID, *, payment_method: PaymentMethod, token: str | None = None
    ) -> UUID:
        """Start the checkout of an order that waits for its payment; return the saga. An order has one at most.

        Raises:
            KeyReused: Its checkout was started with another way to pay.

        Cost: one round trip.
        """
        wanted = CheckoutOrder(order_id, payment_method, self._gateway.provider, token)
        return await sagas.start(s, self.checkout, wanted, key=str(order_id))

    async def give_back(
        self,
        s: Session,
        order_id: UUID,
        *,
        reason: str,
        idempotency_key: str,
        amount: Money | None = None,
        lines: Sequence[ReturnLine] = (),
    ) -> UUID:
        """Start giving money back for an order; arguments as of `refunding.begin_refund`. Return the saga.

        What cannot be given back ends it as `compensated`; a provider that declines leaves it to a human.

        Raises:
            KeyReused: The key was used for a different request.

        Cost: one round trip.
        """
        return await sagas.start(
            s, self.refund, RefundWanted(order_id, reason, amount, list(lines)), key=idempotency_key
        )

    async def give_back_what_is_due(self, s: Session, settled: Settled) -> None:
        """Start giving back what a capture has taken for an order that cannot be had for it; usually nothing.

        For the transaction in which the answer was entered: after a webhook, or as `and_then` of `resolve_unknown`.
        """
        if settled.due.amount > 0 and settled.attempt.kind is Kind.CAPTURE:
            await self.give_back(
                s,
                settled.order.order_id,
                reason=f"taken for an order that is {settled.order.status}",
                idempotency_key=f"due:{settled.attempt.idempotency_key}",
                amount=settled.due,
            )

    def _gateway_of(self, provider: str) -> Gateway:
        if provider not in self._gateways:
            raise Unavailable(
                f"this process has no way to {provider}",
                hint=f"It knows {', '.join(sorted(self._gateways))}; run a worker that is configured for {provider}.",
            )
        return self._gateways[provider]

    async def _buy_all(self, s: Session, purchases: Sequence[_Purchase]) -> list[Bought | CloudLabError]:
        placed = await orders.place_all(s, [each.order for each in purchases])
        starts = [
            self._start_of(order.order_id, each)
            for order, each in zip(placed, purchases, strict=True)
            if not isinstance(order, CloudLabError)
        ]
        started = iter(await sagas.start_all(s, starts))
        return [order if isinstance(order, CloudLabError) else Bought(order, next(started)) for order in placed]

    def _start_of(self, order_id: UUID, purchase: _Purchase) -> Start:
        wanted = CheckoutOrder(order_id, purchase.payment_method, self._gateway.provider, purchase.token)
        return Start(self.checkout, wanted, str(order_id), purchase.cause)


def _checkout(steps: CheckoutSteps) -> Saga:
    return Saga(
        "checkout",
        Step("accept", do=steps.accept, undo=steps.cancel),
        Step("reserve", do=steps.reserve, undo=steps.release, alone=True),
        Step(
            "authorise", do=steps.authorise, undo=steps.void,
            external=True, attempts=_ASKS, timeout=_CALL, undo_attempts=_UNDO_ATTEMPTS,
        ),
        Step(
            "capture", do=steps.capture, undo=steps.give_back,
            external=True, attempts=_ASKS, timeout=_CALL, undo_attempts=_UNDO_ATTEMPTS, pivot=True,
        ),
        Step("paid", do=steps.paid),
        Each("ship", over="vendors", do=steps.ship, alone=True),
        Step("notify", do=steps.notify, external=True),
        version=1,
        deadline=_DEADLINE,
    )  # fmt: skip


def _refund(steps: RefundSteps) -> Saga:
    return Saga(
        "refund",
        Step("request", do=steps.request, alone=True, pivot=True),
        # What a provider has declined stays declined under its key: a human decides.
        Each("give_back", over="requests", do=steps.give_back, external=True, attempts=1, timeout=_CALL),
        Step("notify", do=steps.notify, external=True),
        version=1,
    )
