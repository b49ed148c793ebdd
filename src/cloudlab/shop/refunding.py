"""Giving money back: how much, of which payments, for which goods, and which of them may be sold again.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.session import Session
from cloudlab.shop.gateway import Kind
from cloudlab.shop.idempotency import Form, once
from cloudlab.shop.payment_requests import Attempt, Standing, attempts, queue_request, standing
from cloudlab.values import Money, uuid7

_KEYS: Form[list[str]] = Form(save=lambda keys: {"keys": keys}, load=lambda answer: list(answer["keys"]))


@dataclass(frozen=True, slots=True)
class ReturnLine:
    """Units of a line that money is given back for; `restock` when they came back and may be sold again."""

    line_number: int
    quantity: int
    restock: bool = False


@dataclass(frozen=True, slots=True)
class _Room:
    payment_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class _Bought:
    line_number: int
    product_id: UUID
    quantity: int
    price: Decimal
    returned: int


async def begin_refund(
    s: Session,
    order_id: UUID,
    *,
    reason: str,
    idempotency_key: str,
    amount: Money | None = None,
    lines: Sequence[ReturnLine] = (),
) -> list[Attempt]:
    """Put on record that money will be given back, newest payment first; return a request for each payment it takes.

    Goods that came back are in stock from then on, whatever becomes of the money. What was not sent yet cannot come
    back: it is released when its order is refunded whole.

    Args:
        s: The session; commit it before the provider is asked.
        order_id: Which order, in any state: money of one that is not paid can be given back too.
        reason: Why, for the record.
        idempotency_key: The same key with the same request gives the same attempts, as they stand by then.
        amount: By default what the lines cost; without lines, all that is left.
        lines: Goods that it is for; their vendors give the money back. Without lines, all vendors of the order do.

    Raises:
        InvalidInput: The amount is not positive or more than is left; or more units than were bought, or that were not
            sent, come back.
        KeyReused: The key was used for a different request.

    Cost: five round trips, and COMMIT; locks the order.
    """

    async def work() -> list[str]:
        found = await standing(s, order_id)
        bought = await _check_lines(s, found, lines)
        return_id = uuid7() if lines else None
        rooms = await _rooms(s, order_id)
        left = Money(sum((room.amount for room in rooms), start=Decimal(0)), found.currency)
        wanted = amount or (_worth(found, bought, lines, left) if lines else left)
        if wanted.amount <= 0 or left < wanted:
            raise InvalidInput(f"{wanted} cannot be given back on order {found.order_number}: {left} is left of it")
        keys: list[str] = []
        for room, part in _dealt(rooms, wanted):
            keys.append(f"{idempotency_key}:{len(keys) + 1}")
            queue_request(s, room.payment_id, Kind.REFUND, part, keys[-1], reason=reason, return_id=return_id)
        if return_id:
            _queue_return(s, found, return_id, bought, lines)
        return keys

    request = {
        "order_id": order_id,
        "amount": str(amount) if amount else None,
        "reason": reason,
        "lines": [(line.line_number, line.quantity, line.restock) for line in lines],
    }
    keys = await once(s, idempotency_key, "refund", request, work, _KEYS, resource_id=order_id)
    return await attempts(s, keys)


def _dealt(rooms: Sequence[_Room], wanted: Money) -> list[tuple[_Room, Money]]:
    """Take an amount from payments, all of one before the next."""
    dealt: list[tuple[_Room, Money]] = []
    left = wanted.amount
    for room in rooms:
        part = min(left, room.amount)
        if part > 0:
            dealt.append((room, Money(part, wanted.currency)))
            left -= part
    return dealt


async def _rooms(s: Session, order_id: UUID) -> list[_Room]:
    """Return what each payment has left to give, newest first; what is being given back counts as given."""
    return await s.fetch(
        _Room,
        """
        SELECT /* refunding.rooms */ p.payment_id, p.captured_amount - p.refunded_amount - (
            SELECT coalesce(sum(t.amount), 0) FROM payment_transactions AS t
            WHERE t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id AND t.transaction_type = 'refund'
              AND t.status IN ('pending', 'unknown')) AS amount
        FROM payments AS p
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.order_id = %(order_id)s::uuid
          AND p.captured_amount > p.refunded_amount
        ORDER BY p.payment_id DESC
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


async def _check_lines(s: Session, found: Standing, lines: Sequence[ReturnLine]) -> dict[int, _Bought]:
    if not lines:
        return {}
    if len({line.line_number for line in lines}) != len(lines):
        raise InvalidInput("a line is named twice")
    rows = await s.fetch(
        _Bought,
        """
        SELECT /* refunding.bought */ i.line_number, i.product_id, i.quantity, i.price, (
            SELECT coalesce(sum(r.quantity), 0)::integer FROM return_lines AS r
            WHERE r.tenant_id = i.tenant_id AND r.order_id = i.order_id AND r.line_number = i.line_number) AS returned
        FROM order_items AS i
        WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = %(order_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        order_id=found.order_id,
    )
    bought = {row.line_number: row for row in rows}
    for line in lines:
        row = bought.get(line.line_number)
        left = row.quantity - row.returned if row else 0
        if not 1 <= line.quantity <= left:
            raise InvalidInput(f"{line.quantity} units of line {line.line_number} cannot be returned: {left} are left")
        if line.restock and found.status not in ("shipped", "delivered"):
            raise InvalidInput(
                f"line {line.line_number} of order {found.order_number} was not sent, so it cannot have come back",
                hint="Refund the whole order: what was not sent is released then.",
            )
    return bought


def _worth(found: Standing, bought: dict[int, _Bought], lines: Sequence[ReturnLine], left: Money) -> Money:
    exact = sum((bought[line.line_number].price * line.quantity for line in lines), start=Decimal(0))
    # The rounding of the whole order may make its lines worth a unit more than was paid for them.
    return min(Money(exact, found.currency).rounded(), left)


def _queue_return(
    s: Session, found: Standing, return_id: UUID, bought: dict[int, _Bought], lines: Sequence[ReturnLine]
) -> None:
    s.queue(
        """
        INSERT /* refunding.return */ INTO return_lines
            (tenant_id, order_id, line_number, return_id, quantity, is_restocked)
        SELECT %(tenant_id)s::uuid, %(order_id)s::uuid, l.line_number, %(return_id)s::uuid, l.quantity, l.is_restocked
        FROM unnest(%(line_numbers)s::integer[], %(quantities)s::integer[], %(restocked)s::boolean[])
             AS l (line_number, quantity, is_restocked)
        """,
        tenant_id=s.tenant_id,
        order_id=found.order_id,
        return_id=return_id,
        line_numbers=[line.line_number for line in lines],
        quantities=[line.quantity for line in lines],
        restocked=[line.restock for line in lines],
    )
    back: dict[UUID, int] = {}
    for line in lines:
        if line.restock:
            product_id = bought[line.line_number].product_id
            back[product_id] = back.get(product_id, 0) + line.quantity
    if back:
        queue_restock(s, found.order_id, back)


def queue_restock(s: Session, order_id: UUID, back: dict[UUID, int]) -> None:
    """Take units of an order back into stock. Last in a transaction: others wait for these products."""
    parameters = {
        "tenant_id": s.tenant_id,
        "product_ids": sorted(back),
        "quantities": [back[product_id] for product_id in sorted(back)],
    }
    s.queue(
        """
        INSERT /* refunding.restock */ INTO inventory_updates
            (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
        SELECT %(tenant_id)s::uuid, b.product_id, %(order_id)s::uuid, b.quantity, 0, 'return'
        FROM unnest(%(product_ids)s::uuid[], %(quantities)s::integer[]) AS b (product_id, quantity)
        """,
        order_id=order_id,
        **parameters,
    )
    # Locked in sorted order, as orders lock it, so that the two never wait for each other in a circle.
    s.queue(
        """
        SELECT /* refunding.restock */ FROM inventory
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = ANY (%(product_ids)s::uuid[]) AND bucket_number = 0
        ORDER BY product_id FOR NO KEY UPDATE
        """,
        tenant_id=s.tenant_id,
        product_ids=sorted(back),
    )
    s.queue(
        """
        UPDATE /* refunding.restock */ inventory AS n
        SET available_quantity = n.available_quantity + b.quantity
        FROM unnest(%(product_ids)s::uuid[], %(quantities)s::integer[]) AS b (product_id, quantity)
        WHERE n.tenant_id = %(tenant_id)s::uuid AND n.product_id = b.product_id AND n.bucket_number = 0
        """,
        **parameters,
    )
