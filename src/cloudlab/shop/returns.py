"""Credit notes that name no order, as older systems hand them over: recorded as they are, and their goods restocked.

A refund of an order of ours is `fulfilment.refund`.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.values import Money, NewEvent, Stream, uuid7


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A line of a credit note; the quantity is negative, as it stands on the note."""

    line_number: int
    sku: str
    quantity: int
    unit_price: Money
    product_id: UUID | None


async def credit(
    s: Session, number: str, lines: Sequence[CreditLine], *, credited_at: datetime, user_id: UUID | None = None
) -> bool:
    """Record a credit note and take its goods back into stock; False when the note is on record already.

    Raises:
        InvalidInput: There is no line, or a quantity is not negative.

    Cost: two round trips and one for each product that came back.
    """
    if not lines:
        raise InvalidInput(f"credit note {number} has no lines")
    for line in lines:
        if line.quantity >= 0:
            raise InvalidInput(f"credit note {number}, line {line.line_number}: {line.quantity} must be negative")
    recorded = await s.execute(
        """
        INSERT /* returns.credit */ INTO credit_notes
            (tenant_id, credit_note_number, line_number, user_id, product_id, sku, quantity, price, currency,
             credited_at)
        SELECT %(tenant_id)s::uuid, %(number)s, l.line_number, %(user_id)s::uuid, l.product_id, l.sku, l.quantity,
               l.price, l.currency, %(credited_at)s::timestamptz
        FROM unnest(%(line_numbers)s::integer[], %(product_ids)s::uuid[], %(skus)s::varchar[],
                    %(quantities)s::integer[], %(prices)s::numeric[], %(currencies)s::varchar[])
             AS l (line_number, product_id, sku, quantity, price, currency)
        ON CONFLICT DO NOTHING
        """,
        tenant_id=s.tenant_id,
        number=number,
        user_id=user_id,
        credited_at=credited_at,
        line_numbers=[line.line_number for line in lines],
        product_ids=[line.product_id for line in lines],
        skus=[line.sku for line in lines],
        quantities=[line.quantity for line in lines],
        prices=[line.unit_price.amount for line in lines],
        currencies=[line.unit_price.currency for line in lines],
    )
    if not recorded:
        return False
    if recorded != len(lines):
        raise InvalidInput(f"credit note {number} is on record with other lines")
    _queue_restock(s, lines)
    total = sum((line.unit_price.amount * line.quantity for line in lines), start=lines[0].unit_price.amount * 0)
    issued = NewEvent(
        "CreditNoteIssued",
        {"number": number, "total_amount": str(total), "line_count": len(lines), "credited_at": credited_at},
    )
    await events.append(s, Stream("CreditNote", uuid7()), [issued], expected_version=events.NEW)
    return True


async def on_record(s: Session, numbers: Sequence[str]) -> set[str]:
    """Return those of the credit notes that are on record. Cost: one round trip."""
    return set(
        await s.fetch(
            _number,
            """
            SELECT /* returns.on_record */ DISTINCT credit_note_number
            FROM credit_notes
            WHERE tenant_id = %(tenant_id)s::uuid AND credit_note_number = ANY (%(numbers)s::varchar[])
            """,
            tenant_id=s.tenant_id,
            numbers=list(numbers),
        )
    )


def _number(credit_note_number: str) -> str:
    return credit_note_number


def _queue_restock(s: Session, lines: Sequence[CreditLine]) -> None:
    back: dict[UUID, int] = {}
    for line in lines:
        if line.product_id is not None:
            back[line.product_id] = back.get(line.product_id, 0) - line.quantity
    # Sorted, as an order sorts its products, so that the two never wait for each other in a circle.
    for product_id in sorted(back):
        s.queue(
            """
            UPDATE /* returns.credit */ inventory SET available_quantity = available_quantity + %(quantity)s::integer
            WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
            """,
            tenant_id=s.tenant_id,
            product_id=product_id,
            quantity=back[product_id],
        )
        s.queue(
            """
            INSERT /* returns.credit */ INTO inventory_updates
                (tenant_id, product_id, delta_available, delta_reserved, reason)
            VALUES (%(tenant_id)s::uuid, %(product_id)s::uuid, %(quantity)s::integer, 0, 'return')
            """,
            tenant_id=s.tenant_id,
            product_id=product_id,
            quantity=back[product_id],
        )
