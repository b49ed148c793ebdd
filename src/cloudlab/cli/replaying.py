"""Takes one order of a shop's history through all its states, from wherever it stands.

The number of an order says whether it is there, its state says what is left to do, and its idempotency keys refuse a
second time: so an order that was cut off anywhere is finished by another try, and two tries at once do each step once.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from cloudlab.cli.patience import Patient, batched
from cloudlab.errors import Conflict, NotFound
from cloudlab.session import Session
from cloudlab.shop import fulfilment, orders
from cloudlab.shop.dataset import DatasetOrder
from cloudlab.shop.orders import Order, OrderLine
from cloudlab.shop.payments import Gateway, PaymentMethod, Receipt
from cloudlab.values import Money, minor_digits

_LOOK_UP_BATCH = 500
_TRIES_WITHOUT_PROGRESS = 3
_FINISHED = frozenset({"delivered", "cancelled", "refunded"})
_METHODS = (PaymentMethod.CREDIT_CARD, PaymentMethod.DEBIT_CARD, PaymentMethod.PAYPAL, PaymentMethod.BANK_TRANSFER)
_CARRIERS = ("Royal Mail", "DHL", "DPD", "UPS")


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


class Replay:
    """Places, pays and delivers orders of the past in one tenant."""

    def __init__(
        self, patient: Patient, gateway: Gateway, products: Mapping[str, UUID], customers: Mapping[str, UUID]
    ) -> None:
        self._patient = patient
        self._gateway = gateway
        self._products = products
        self._customers = customers

    async def look_up(self, history: Iterable[DatasetOrder]) -> AsyncIterator[tuple[DatasetOrder, Order | None]]:
        """Yield each order with what is there of it. Cost: one round trip for 500 orders."""
        for batch in batched(history, _LOOK_UP_BATCH):
            known = await self._find([order.order_number for order in batch])
            for order in batch:
                yield order, known.get(order.order_number)

    async def finish(self, wanted: DatasetOrder, order: Order | None) -> Order:
        """Bring an order to its end and return it.

        Raises:
            OutOfStock, NotFound, InvalidInput: The shop refuses it.
            Conflict: Another order has its number, or its state does not change.
            PaymentFailed: The provider declined.
        """
        order = order or await self._place(wanted)
        _check_same(wanted, order)
        tries = 0
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
        return order

    async def _find(self, order_numbers: Sequence[str]) -> dict[str, Order]:
        return await self._patient.committed(lambda s: orders.find_by_numbers(s, order_numbers))

    async def _place(self, wanted: DatasetOrder) -> Order:
        lines = [
            OrderLine(
                _known(self._products, "product", line.sku), line.quantity, _money(line.unit_price, wanted.currency)
            )
            for line in wanted.lines
        ]
        user_id = _known(self._customers, "customer", wanted.customer_id) if wanted.customer_id is not None else None
        return await self._patient.committed(
            lambda s: orders.place(
                s,
                lines=lines,
                idempotency_key=_key(wanted),
                user_id=user_id,
                currency=wanted.currency,
                order_number=wanted.order_number,
                placed_at=wanted.placed_at,
            )
        )

    async def _deliver(self, wanted: DatasetOrder, order: Order) -> Order:
        """Pay an order and send it, in one transaction: the provider was asked before it began.

        What somebody else has begun goes on from now: the times made up for it could lie before theirs.
        """
        course = _Course.of(wanted)
        receipt: Receipt | None = None
        if order.status == "pending_payment":
            receipt = await self._gateway.capture(
                idempotency_key=f"{_key(wanted)}:capture", amount=order.total, payment_method=course.payment_method
            )
        else:
            course = replace(course, processing_at=None, shipped_at=None, delivered_at=None)

        async def work(s: Session) -> Order:
            sent = order
            if receipt:
                sent = await fulfilment.pay(s, sent.order_id, receipt, at=course.paid_at)
            if sent.status == "paid":
                sent = await fulfilment.prepare(s, sent.order_id, at=course.processing_at)
            if sent.status == "processing":
                sent = await fulfilment.ship(
                    s,
                    sent.order_id,
                    carrier=course.carrier,
                    tracking_number=course.tracking_number,
                    at=course.shipped_at,
                )
            return await fulfilment.deliver(s, sent.order_id, at=course.delivered_at)

        return await self._patient.committed(work)


def _key(wanted: DatasetOrder) -> str:
    return f"import:{wanted.order_number}"


@lru_cache(maxsize=65_536)
def _money(amount: Decimal, currency: str) -> Money:
    return Money(amount, currency)  # a shop has few prices and very many lines


def _known(ids: Mapping[str, UUID], what: str, name: str) -> UUID:
    if name not in ids:
        raise NotFound(f"{what} {name} was refused")
    return ids[name]


def _check_same(wanted: DatasetOrder, order: Order) -> None:
    """Refuse an order that only has the number of another; a total may have been rounded either way."""
    unit = Decimal(1).scaleb(-minor_digits(wanted.currency))
    if (
        order.total.currency == wanted.currency
        and abs(order.total.amount - wanted.total_amount) <= unit
        and order.line_count == len(wanted.lines)
    ):
        return
    raise Conflict(
        f"order {wanted.order_number} is there with {order.line_count} lines for {order.total}, "
        f"not {len(wanted.lines)} for {Money(wanted.total_amount, wanted.currency)}"
    )
