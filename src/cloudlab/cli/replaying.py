"""Takes orders of a shop's history through all their states, from wherever they stand.

The number of an order says whether it is there, its state says what is left to do, and its idempotency keys refuse a
second time: so an order that was cut off anywhere is finished by another try, and two tries at once do each step once.

Orders travel in groups: one transaction places a group, another pays and delivers it. When a group is refused, its
orders are taken one by one, so that each is refused for its own reason only.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from cloudlab.cli.patience import Patient, batched
from cloudlab.errors import CloudLabError, Conflict, InvalidInput, NotFound, PaymentFailed
from cloudlab.session import Session
from cloudlab.shop import fulfilment, orders
from cloudlab.shop.dataset import DatasetOrder
from cloudlab.shop.fulfilment import Parcel, Payment
from cloudlab.shop.orders import Change, NewOrder, Order, OrderLine
from cloudlab.shop.payments import Gateway, PaymentMethod, Receipt
from cloudlab.values import Money, minor_digits

REFUSALS = (Conflict, InvalidInput, NotFound, PaymentFailed)
"""What the shop may say to one order without anything being wrong with the others."""

_LOOK_UP_BATCH = 512
_TOGETHER = 32
_TRIES_WITHOUT_PROGRESS = 3
_FINISHED = frozenset({"delivered", "cancelled", "refunded"})
_METHODS = (PaymentMethod.CREDIT_CARD, PaymentMethod.DEBIT_CARD, PaymentMethod.PAYPAL, PaymentMethod.BANK_TRANSFER)
_CARRIERS = ("Royal Mail", "DHL", "DPD", "UPS")


Begun = tuple[DatasetOrder, Order | None]
"""An order that is to be brought to its end, and what is there of it."""


def is_finished(order: Order) -> bool:
    """Return whether nothing is left to do for an order."""
    return order.status in _FINISHED


@dataclass(frozen=True, slots=True)
class _Course:
    """What the data does not say about an order, made up from its number: always the same, never in the future."""

    payment_method: PaymentMethod
    carrier: str
    tracking_number: str
    paid_at: datetime
    processing_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None

    @classmethod
    def of(cls, wanted: DatasetOrder) -> "_Course":
        chance = zlib.crc32(wanted.order_number.encode())
        paid = wanted.placed_at + timedelta(minutes=1 + chance % 30)
        processing = paid + timedelta(minutes=30 + chance // 31 % 900)
        shipped = processing + timedelta(minutes=60 + chance // 37 % 1800)
        delivered = shipped + timedelta(minutes=720 + chance // 41 % 5760)
        latest = max(datetime.now(UTC), wanted.placed_at)
        return cls(
            _METHODS[chance % len(_METHODS)],
            _CARRIERS[chance % len(_CARRIERS)],
            f"{chance:010}",
            *(min(moment, latest) for moment in (paid, processing, shipped, delivered)),
        )

    def parcel(self, order: Order) -> Parcel:
        return Parcel(
            order_id=order.order_id, carrier=self.carrier, tracking_number=self.tracking_number, at=self.shipped_at
        )


class Replay:
    """Places, pays and delivers orders of the past in one tenant."""

    def __init__(
        self, patient: Patient, gateway: Gateway, products: Mapping[str, UUID], customers: Mapping[str, UUID]
    ) -> None:
        self._patient = patient
        self._gateway = gateway
        self._products = products
        self._customers = customers

    async def look_up(self, history: Iterable[DatasetOrder]) -> AsyncIterator[Sequence[Begun]]:
        """Yield the orders in groups, each with what is there of it. Cost: one round trip for 512 orders."""
        for batch in batched(history, _LOOK_UP_BATCH):
            known = await self._find([order.order_number for order in batch])
            for group in batched(batch, _TOGETHER):
                yield [(order, known.get(order.order_number)) for order in group]

    async def finish_all(self, group: Sequence[Begun]) -> list[Order | CloudLabError]:
        """Bring a group of orders to their end; return each as it stands then, or why it was refused.

        The errors are those of REFUSALS; anything else is raised and ends the load.
        """
        placed = await self._place_all(group)
        if ready := await self._payable(group, placed):
            try:
                sent = await self._patient.committed(lambda s: _deliver_all(s, ready))
            except REFUSALS:
                pass  # one of them, or another load was quicker: taken one by one below, which says what is the matter
            else:
                for (place, *_), order in zip(ready, sent, strict=True):
                    placed[place] = order
        return [
            await self._finish(wanted, order) if isinstance(order, Order) else order
            for (wanted, _), order in zip(group, placed, strict=True)
        ]

    async def _place_all(self, group: Sequence[Begun]) -> list[Order | CloudLabError]:
        """Place what is not there yet."""
        placed: list[Order | CloudLabError | None] = [order for _, order in group]
        missing: list[tuple[int, NewOrder]] = []
        for place, (wanted, order) in enumerate(group):
            if order is None:
                try:
                    missing.append((place, self._wanted(wanted)))
                except NotFound as refusal:
                    placed[place] = refusal
        if missing:
            for (place, _), order in zip(missing, await self._place([new for _, new in missing]), strict=True):
                placed[place] = order
        return [order for order in placed if order is not None]

    async def _place(self, wanted: Sequence[NewOrder]) -> Sequence[Order | CloudLabError]:
        try:
            return await self._patient.committed(lambda s: orders.place_all(s, wanted))
        except REFUSALS as refusal:
            if len(wanted) == 1:
                return [refusal]
        return [outcome for each in wanted for outcome in await self._place([each])]

    async def _payable(
        self, group: Sequence[Begun], placed: Sequence[Order | CloudLabError]
    ) -> list[tuple[int, Order, "_Course", Receipt]]:
        """Ask the provider to take the money for orders that wait for it; return those for which it did."""
        ready: list[tuple[int, Order, _Course, Receipt]] = []
        for place, ((wanted, _), order) in enumerate(zip(group, placed, strict=True)):
            if isinstance(order, Order) and order.status == "pending_payment" and _is_same(wanted, order):
                course = _Course.of(wanted)
                try:
                    ready.append((place, order, course, await self._capture(wanted, order, course)))
                except PaymentFailed:
                    continue  # asked again below under the same key, where its answer is put on record
        return ready

    async def _finish(self, wanted: DatasetOrder, order: Order) -> Order | CloudLabError:
        """Bring one order to its end, step by step from where it stands."""
        tries = 0
        try:
            _check_same(wanted, order)
            while not is_finished(order):
                try:
                    order = await self._deliver(wanted, order)
                except Conflict:
                    # Another load may have taken this step, or our own whose commit was cut off: look where it stands.
                    found = (await self._find([wanted.order_number]))[wanted.order_number]
                    tries = tries + 1 if found == order else 0
                    if tries == _TRIES_WITHOUT_PROGRESS:
                        raise
                    order = found
        except REFUSALS as refusal:
            return refusal
        return order

    async def _find(self, order_numbers: Sequence[str]) -> dict[str, Order]:
        return await self._patient.committed(lambda s: orders.find_by_numbers(s, order_numbers))

    def _wanted(self, wanted: DatasetOrder) -> NewOrder:
        lines = [
            OrderLine(
                _known(self._products, "product", line.sku), line.quantity, _money(line.unit_price, wanted.currency)
            )
            for line in wanted.lines
        ]
        return NewOrder(
            lines=lines,
            idempotency_key=_key(wanted),
            user_id=_known(self._customers, "customer", wanted.customer_id) if wanted.customer_id is not None else None,
            currency=wanted.currency,
            order_number=wanted.order_number,
            placed_at=wanted.placed_at,
        )

    async def _capture(self, wanted: DatasetOrder, order: Order, course: "_Course") -> Receipt:
        return await self._gateway.capture(
            idempotency_key=f"{_key(wanted)}:capture", amount=order.total, payment_method=course.payment_method
        )

    async def _deliver(self, wanted: DatasetOrder, order: Order) -> Order:
        """Pay an order and send it, in one transaction: the provider was asked before it began.

        What somebody else has begun goes on from now: the times made up for it could lie before theirs.
        """
        course = _Course.of(wanted)
        receipt: Receipt | None = None
        if order.status == "pending_payment":
            receipt = await self._capture(wanted, order, course)
        else:
            course = replace(course, processing_at=None, shipped_at=None, delivered_at=None)

        async def work(s: Session) -> Order:
            sent = order
            if receipt:
                sent = await fulfilment.pay(s, sent.order_id, receipt, at=course.paid_at)
            if sent.status == "paid":
                sent = await fulfilment.prepare(s, sent.order_id, at=course.processing_at)
            if sent.status == "processing":
                sent = (await fulfilment.ship_all(s, [course.parcel(sent)]))[0]
            return await fulfilment.deliver(s, sent.order_id, at=course.delivered_at)

        return await self._patient.committed(work)


async def _deliver_all(s: Session, ready: Sequence[tuple[int, Order, _Course, Receipt]]) -> list[Order]:
    """Pay and send orders that wait for their payment, all or none."""
    await fulfilment.pay_all(
        s, [Payment(order_id=order.order_id, receipt=receipt, at=course.paid_at) for _, order, course, receipt in ready]
    )
    await fulfilment.prepare_all(
        s, [Change(order_id=order.order_id, at=course.processing_at) for _, order, course, _ in ready]
    )
    await fulfilment.ship_all(s, [course.parcel(order) for _, order, course, _ in ready])
    return await fulfilment.deliver_all(
        s, [Change(order_id=order.order_id, at=course.delivered_at) for _, order, course, _ in ready]
    )


def _key(wanted: DatasetOrder) -> str:
    return f"import:{wanted.order_number}"


@lru_cache(maxsize=65_536)
def _money(amount: Decimal, currency: str) -> Money:
    return Money(amount, currency)  # a shop has few prices and very many lines


def _known(ids: Mapping[str, UUID], what: str, name: str) -> UUID:
    if name not in ids:
        raise NotFound(f"{what} {name} was refused")
    return ids[name]


def _is_same(wanted: DatasetOrder, order: Order) -> bool:
    """Say whether an order is the one wanted and does not only have its number; a total may be rounded either way."""
    unit = Decimal(1).scaleb(-minor_digits(wanted.currency))
    return (
        order.total.currency == wanted.currency
        and abs(order.total.amount - wanted.total_amount) <= unit
        and order.line_count == len(wanted.lines)
    )


def _check_same(wanted: DatasetOrder, order: Order) -> None:
    if not _is_same(wanted, order):
        raise Conflict(
            f"order {wanted.order_number} is there with {order.line_count} lines for {order.total}, "
            f"not {len(wanted.lines)} for {Money(wanted.total_amount, wanted.currency)}"
        )
