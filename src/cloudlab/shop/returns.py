"""Credit notes that name no order, as older systems hand them over: recorded as they are, and their goods restocked.

A refund of an order of ours is `fulfilment.refund`.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.events import together
from cloudlab.events.together import StreamAppend
from cloudlab.session import Session
from cloudlab.shop.idempotency import Form, once
from cloudlab.values import Money, NewEvent, Stream, uuid7


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A line of a credit note; the quantity is negative, as it stands on the note."""

    line_number: int
    sku: str
    quantity: int
    unit_price: Money
    product_id: UUID | None


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note: its number, its lines, when it was given, and to whom."""

    number: str
    lines: Sequence[CreditLine]
    credited_at: datetime
    user_id: UUID | None = None

    @property
    def returned(self) -> dict[UUID, int]:
        """How many of each product came back."""
        back: Counter[UUID] = Counter()
        for line in self.lines:
            if line.product_id is not None:
                back[line.product_id] -= line.quantity
        return back


_IS_NEW: Form[bool] = Form(save=lambda is_new: {"is_new": is_new}, load=lambda answer: bool(answer["is_new"]))


async def credit(
    s: Session,
    number: str,
    lines: Sequence[CreditLine],
    *,
    credited_at: datetime,
    user_id: UUID | None = None,
    idempotency_key: str | None = None,
) -> bool:
    """Record a credit note and take its goods back into stock; False when the note is on record already.

    Raises:
        InvalidInput: There is no line, or a quantity is not negative.
        KeyReused: The key was used for a different request.

    Cost: one round trip, and COMMIT; with a key, two.
    """
    note = CreditNote(number, lines, credited_at, user_id)

    async def work() -> bool:
        return (await credit_all(s, [note]))[0]

    request = {
        "number": number,
        "credited_at": credited_at,
        "user_id": user_id,
        "lines": [(each.line_number, each.sku, each.quantity, str(each.unit_price), each.product_id) for each in lines],
    }
    resource_id = uuid5(s.tenant_id, f"credit note {number}")
    return await once(s, idempotency_key, "credit", request, work, _IS_NEW, resource_id=resource_id)


async def credit_all(s: Session, notes: Sequence[CreditNote]) -> list[bool]:
    """Record credit notes, all or none; return for each whether it is new. Notes, cost and errors as of `credit`."""
    _check(notes)
    lines = [(note, line) for note in notes for line in note.lines]
    recorded = await s.fetch(
        _number,
        """
        INSERT /* returns.credit */ INTO credit_notes
            (tenant_id, credit_note_number, line_number, user_id, product_id, sku, quantity, price, currency,
             credited_at)
        SELECT %(tenant_id)s::uuid, l.number, l.line_number, l.user_id, l.product_id, l.sku, l.quantity, l.price,
               l.currency, l.credited_at
        FROM unnest(%(numbers)s::varchar[], %(line_numbers)s::integer[], %(user_ids)s::uuid[], %(product_ids)s::uuid[],
                    %(skus)s::varchar[], %(quantities)s::integer[], %(prices)s::numeric[], %(currencies)s::varchar[],
                    %(credited_at)s::timestamptz[])
             AS l (number, line_number, user_id, product_id, sku, quantity, price, currency, credited_at)
        ORDER BY l.number, l.line_number
        ON CONFLICT DO NOTHING
        RETURNING credit_note_number
        """,
        tenant_id=s.tenant_id,
        numbers=[note.number for note, _ in lines],
        line_numbers=[line.line_number for _, line in lines],
        user_ids=[note.user_id for note, _ in lines],
        product_ids=[line.product_id for _, line in lines],
        skus=[line.sku for _, line in lines],
        quantities=[line.quantity for _, line in lines],
        prices=[line.unit_price.amount for _, line in lines],
        currencies=[line.unit_price.currency for _, line in lines],
        credited_at=[note.credited_at.isoformat() for note, _ in lines],
    )
    counts = Counter(recorded)
    for note in notes:
        if counts[note.number] not in (0, len(note.lines)):
            raise InvalidInput(f"credit note {note.number} is on record with other lines")
    new = [note for note in notes if counts[note.number]]
    if new:
        await together.append_all_next(s, [_issued(note) for note in new])
        _queue_restock(s, new)
    return [counts[note.number] > 0 for note in notes]


def _check(notes: Sequence[CreditNote]) -> None:
    if len({note.number for note in notes}) != len(notes):
        raise InvalidInput("a credit note is given twice")
    for note in notes:
        if not note.lines:
            raise InvalidInput(f"credit note {note.number} has no lines")
        for line in note.lines:
            if line.quantity >= 0:
                raise InvalidInput(
                    f"credit note {note.number}, line {line.line_number}: {line.quantity} must be negative"
                )


def _issued(note: CreditNote) -> StreamAppend:
    total = sum((line.unit_price.amount * line.quantity for line in note.lines), start=Decimal(0))
    facts = {
        "number": note.number,
        "total_amount": str(total),
        "line_count": len(note.lines),
        "credited_at": note.credited_at,
    }
    stream = Stream("CreditNote", uuid7())
    return StreamAppend(stream, [NewEvent("CreditNoteIssued", facts)], expected_version=events.NEW)


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


def _queue_restock(s: Session, notes: Sequence[CreditNote]) -> None:
    returned = [(product_id, quantity) for note in notes for product_id, quantity in note.returned.items()]
    totals: Counter[UUID] = Counter()
    for product_id, quantity in returned:
        totals[product_id] += quantity
    s.queue(
        """
        INSERT /* returns.credit */ INTO inventory_updates
            (tenant_id, product_id, delta_available, delta_reserved, reason)
        SELECT %(tenant_id)s::uuid, r.product_id, r.quantity, 0, 'return'
        FROM unnest(%(product_ids)s::uuid[], %(quantities)s::integer[]) AS r (product_id, quantity)
        """,
        tenant_id=s.tenant_id,
        product_ids=[product_id for product_id, _ in returned],
        quantities=[quantity for _, quantity in returned],
    )
    # Locked in sorted order, as orders lock it, so that the two never wait for each other in a circle.
    s.queue(
        """
        SELECT /* returns.credit */ FROM inventory
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = ANY (%(product_ids)s::uuid[]) AND bucket_number = 0
        ORDER BY product_id FOR NO KEY UPDATE
        """,
        tenant_id=s.tenant_id,
        product_ids=list(totals),
    )
    s.queue(
        """
        UPDATE /* returns.credit */ inventory AS n
        SET available_quantity = n.available_quantity + r.quantity
        FROM unnest(%(product_ids)s::uuid[], %(quantities)s::integer[]) AS r (product_id, quantity)
        WHERE n.tenant_id = %(tenant_id)s::uuid AND n.product_id = r.product_id AND n.bucket_number = 0
        """,
        tenant_id=s.tenant_id,
        product_ids=list(totals),
        quantities=list(totals.values()),
    )
