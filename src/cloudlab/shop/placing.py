"""Placing orders: one or many in one call of the server, each whole or not at all.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cloudlab.crypto import fingerprint
from cloudlab.errors import CloudLabError, InvalidInput, KeyReused, NotFound, OutOfStock
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.shop.order import NewOrder, Order, OrderLine, order_row
from cloudlab.values import Event, Money, uuid7

MOST_LINES = 10_000
_LARGEST_INTEGER = 2**31 - 1
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An order that may be asked for: its place among those given, and its lines."""

    place: int
    order: NewOrder
    lines: Sequence[OrderLine]


@dataclass(frozen=True, slots=True)
class _Outcome:
    outcome: str
    order_id: UUID
    facts: dict[str, Any] | None
    event_position: int | None
    recorded_at: datetime | None


async def place(
    s: Session,
    *,
    lines: Sequence[OrderLine | tuple[UUID, int]],
    idempotency_key: str,
    user_id: UUID | None = None,
    currency: str | None = None,
    order_number: str | None = None,
    placed_at: datetime | None = None,
    hold: timedelta = timedelta(minutes=15),
    metadata: Mapping[str, Any] | None = None,
) -> Order:
    """Place an order: stock, order, lines, ledger, reservation, event and idempotency key, all or none.

    The arguments are those of `NewOrder`; the session's transaction is the order's.

    Raises:
        OutOfStock: A product is short; the message names it and both quantities.
        NotFound: A product does not exist, is not for sale, or is priced in another currency.
        KeyReused: The key was used for a different order.
        InvalidInput: There is no line, or a quantity is not positive.

    Cost: one round trip; a repeated key takes two.
    """
    wanted = NewOrder(
        lines=lines,
        idempotency_key=idempotency_key,
        user_id=user_id,
        currency=currency,
        order_number=order_number,
        placed_at=placed_at,
        hold=hold,
        metadata=metadata,
    )
    (placed,) = await place_all(s, [wanted])
    if isinstance(placed, CloudLabError):
        raise placed
    return placed


async def place_all(s: Session, orders: Sequence[NewOrder]) -> list[Order | CloudLabError]:
    """Place orders, each whole or not at all; return what became of each: the order, or why it was refused.

    Stock is given to them in the order given. Up to 64 or so gain from each other; more only hold the stock for longer.

    Returns:
        For each order, in the order given, what `place` would have returned or raised for it alone.

    Raises:
        Duplicate: One of the order numbers is taken. This fails the whole call: repeat it one by one.
        InvalidInput: One of the customers does not exist; the same holds.

    Cost: one round trip; repeated keys take one more, as does each further order under a key that is here already.
    """
    outcomes: dict[int, Order | CloudLabError] = {}
    waiting: list[_Wanted] = []
    for place, order in enumerate(orders):
        lines = [line if isinstance(line, OrderLine) else OrderLine(*line) for line in order.lines]
        try:
            _check_lines(lines, order.currency)
        except InvalidInput as error:
            outcomes[place] = error
        else:
            waiting.append(_Wanted(place, order, lines))
    while waiting:
        # Twins do not travel together: the second must find what became of the first.
        first = {wanted.order.idempotency_key: wanted for wanted in reversed(waiting)}
        together = [wanted for wanted in waiting if first[wanted.order.idempotency_key] is wanted]
        waiting = [wanted for wanted in waiting if first[wanted.order.idempotency_key] is not wanted]
        outcomes.update(await _place_together(s, together))
    return [outcomes[place] for place in range(len(orders))]


async def _place_together(s: Session, wanted: Sequence[_Wanted]) -> dict[int, Order | CloudLabError]:
    s.note_append()
    causes = _causes(s, [each.order for each in wanted])
    answers = await s.fetch(
        _Outcome,
        """
        SELECT /* placing.place_all */ p.outcome, p.order_id, p.facts, p.event_position, p.recorded_at
        FROM place_orders(
            %(order_ids)s::uuid[], %(order_numbers)s::varchar[], %(user_ids)s::uuid[], %(currencies)s::varchar[],
            %(placed_at)s::timestamptz[], %(idempotency_keys)s::varchar[], %(fingerprints)s::bytea[],
            %(holds)s::interval[], %(metadata)s::jsonb[], %(places)s::integer[], %(line_numbers)s::integer[],
            %(product_ids)s::uuid[], %(quantities)s::integer[], %(prices)s::numeric[]) AS p
        """,
        **_parameters(wanted, causes),
    )
    await _announce(s, answers, causes)
    first = await _first_orders(s, [answer.order_id for answer in answers if answer.outcome == "replayed"])
    return {
        each.place: first.get(answer.order_id) or _judged(each.order, answer)
        for each, answer in zip(wanted, answers, strict=True)
    }


def _causes(s: Session, orders: Sequence[NewOrder]) -> list[dict[str, Any]]:
    """Say why each order was placed; orders of several callers have nothing but the transaction in common."""
    if len(orders) == 1:
        return [events.metadata_of(s, orders[0].metadata)]
    scope = s.scope
    return [scope.cause.as_metadata(scope.user_id) | dict(order.metadata or {}) for order in orders]


def _parameters(wanted: Sequence[_Wanted], causes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    orders = [each.order for each in wanted]
    lines = [line for each in wanted for line in each.lines]
    return {
        "order_ids": [uuid7() for _ in orders],
        "order_numbers": [order.order_number or _new_order_number() for order in orders],
        "user_ids": [order.user_id for order in orders],
        "currencies": [order.currency for order in orders],
        "placed_at": [order.placed_at.isoformat() if order.placed_at else None for order in orders],
        "idempotency_keys": [order.idempotency_key for order in orders],
        "fingerprints": ["\\x" + _fingerprint(each).hex() for each in wanted],
        "holds": [f"{order.hold.total_seconds()} seconds" for order in orders],
        "metadata": [events.as_json(cause) for cause in causes],
        "places": [place for place, each in enumerate(wanted, 1) for _ in each.lines],
        "line_numbers": [number for each in wanted for number in range(1, len(each.lines) + 1)],
        "product_ids": [line.product_id for line in lines],
        "quantities": [line.quantity for line in lines],
        "prices": [line.unit_price.amount if line.unit_price else None for line in lines],
    }


def _fingerprint(wanted: _Wanted) -> bytes:
    order = wanted.order
    return fingerprint(
        {
            "user_id": order.user_id,
            "currency": order.currency,
            "order_number": order.order_number,
            "placed_at": order.placed_at,
            "lines": [(str(line.product_id), line.quantity, str(line.unit_price)) for line in wanted.lines],
        }
    )


def _check_lines(lines: Sequence[OrderLine], currency: str | None) -> None:
    if not 1 <= len(lines) <= MOST_LINES:
        raise InvalidInput(f"an order has 1 to {MOST_LINES} lines, not {len(lines)}")
    for number, line in enumerate(lines, 1):
        if not 1 <= line.quantity <= _LARGEST_INTEGER:
            raise InvalidInput(f"line {number}: {line.quantity} units cannot be ordered", hint="Give at least 1.")
        if line.unit_price is None:
            continue
        if line.unit_price.amount < 0:
            raise InvalidInput(f"line {number}: the price {line.unit_price} is negative")
        if line.unit_price.currency != currency:
            raise InvalidInput(
                f"line {number}: the price is in {line.unit_price.currency}, the order in {currency}",
                hint="Name the currency of the order when lines carry prices of their own.",
            )


def _new_order_number() -> str:
    """Make a number of 13 letters and digits: 41 bits of milliseconds and 24 random ones, roughly in time order."""
    value = (time.time_ns() // 1_000_000 & (1 << 41) - 1) << 24 | secrets.randbits(24)
    return "CL-" + "".join(_CROCKFORD[value >> shift & 31] for shift in range(60, -1, -5))


def _judged(order: NewOrder, answer: _Outcome) -> Order | CloudLabError:
    facts = answer.facts
    if answer.outcome == "replayed":
        return NotFound(f"order {answer.order_id} is not to be seen here")
    if facts is None:
        return KeyReused(f"the idempotency key {order.idempotency_key} was used for a different order")
    if answer.outcome == "placed":
        return _placed(answer.order_id, facts)
    if answer.outcome == "out_of_stock":
        return OutOfStock(
            f"{facts['wanted']} of {facts['sku']} wanted, {facts['available']} in stock", details=facts["product_id"]
        )
    return NotFound(
        f"not for sale in {facts['currency'] or 'any currency'}: {', '.join(facts['product_ids'])}",
        hint="Every product must exist, be active, and be priced in the currency of the order.",
    )


def _placed(order_id: UUID, data: Mapping[str, Any]) -> Order:
    placed_at = datetime.fromisoformat(data["placed_at"])
    return Order(
        order_id=order_id,
        order_number=data["order_number"],
        user_id=UUID(data["user_id"]) if data["user_id"] else None,
        status=data["status"],
        total=Money(data["total_amount"], data["currency"]),
        line_count=data["line_count"],
        version=1,
        placed_at=placed_at,
        created_at=placed_at,
    )


async def _announce(s: Session, answers: Sequence[_Outcome], causes: Sequence[dict[str, Any]]) -> None:
    if not s.listens_to(("OrderPlaced",)):
        return
    placed = [
        Event(
            event_position=answer.event_position,
            event_id=None,
            tenant_id=s.tenant_id,
            aggregate_type="Order",
            aggregate_id=answer.order_id,
            event_type="OrderPlaced",
            event_version=1,
            event_data=answer.facts,
            metadata=cause,
            created_at=answer.recorded_at,
        )
        for answer, cause in zip(answers, causes, strict=True)
        if answer.facts and answer.event_position is not None and answer.recorded_at is not None
    ]
    if placed:
        await s.announce(placed)


async def _first_orders(s: Session, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Return the orders that were placed under repeated keys. Cost: one round trip, none without such keys."""
    if not order_ids:
        return {}
    found = await s.fetch(
        order_row,
        """
        SELECT /* placing.place_all */ order_id, order_number, user_id, status, currency, total_amount, line_count,
               order_version, placed_at, created_at
        FROM orders
        WHERE tenant_id = %(tenant_id)s::uuid AND order_id = ANY (%(order_ids)s::uuid[])
        """,
        tenant_id=s.tenant_id,
        order_ids=list(order_ids),
    )
    return {order.order_id: order for order in found}
