"""Who gets which part of a payment: captured - refunded = commission + net, to the last unit.

Every capture and every refund is shared out among the vendors of the order in whole units of its currency; what
rounding leaves over goes to the largest share. As long as an order is not paid for twice, no vendor gets more than its
lines cost; none ever gives back more than it got.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from uuid import UUID

from cloudlab.session import Session
from cloudlab.values import Money, minor_digits

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Share:
    """What a vendor sells in an order, and what is on its account for it so far."""

    vendor_id: UUID
    rate: Decimal
    sold: Decimal
    gross: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True)
class _Entry:
    vendor_id: UUID
    rate: Decimal
    gross: Decimal
    commission: Decimal


def split(amount: Decimal, weights: Sequence[Decimal], rooms: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    """Share an amount out by weight, in whole units, nobody above its room; the sum is exactly the amount.

    What rounding leaves over goes to the largest weights that have room, and what nobody has room for to the largest.
    """
    total = sum(weights, start=_NOTHING)
    parts = [
        min(room, (amount * weight / total).quantize(unit, ROUND_DOWN)) if total else _NOTHING
        for weight, room in zip(weights, rooms, strict=True)
    ]
    by_weight = sorted(range(len(weights)), key=lambda place: -weights[place])
    left = amount - sum(parts, start=_NOTHING)
    for place in by_weight:
        more = min(left, rooms[place] - parts[place])
        parts[place] += more
        left -= more
    parts[by_weight[0]] += left
    return parts


async def accrue(s: Session, order_id: UUID, total: Money, captured: Money) -> None:
    """Enter what the vendors earn by a capture; `total` is what the whole order costs. Cost: one round trip."""
    shares = await _shares(s, order_id)
    unit = _unit(captured.currency)
    sold = [share.sold for share in shares]
    due = split(total.amount, sold, [amount.quantize(unit, ROUND_HALF_UP) for amount in sold], unit)
    rooms = [max(_NOTHING, part - share.gross) for part, share in zip(due, shares, strict=True)]
    weights = rooms if any(rooms) else sold
    entries: list[_Entry] = []
    for share, part in zip(shares, split(captured.amount, weights, rooms, unit), strict=True):
        owed = ((share.gross + part) * share.rate).quantize(unit, ROUND_HALF_UP) - share.commission
        entries.append(_Entry(share.vendor_id, share.rate, part, min(max(owed, _NOTHING), part)))
    _queue_entries(s, order_id, None, captured.currency, entries)


async def take_back(
    s: Session, order_id: UUID, refund_id: UUID, refunded: Money, weights: Mapping[UUID, Decimal]
) -> None:
    """Enter what the vendors give back by a refund: by these weights, else by what each has got.

    Cost: one round trip.
    """
    shares = await _shares(s, order_id)
    unit = _unit(refunded.currency)
    rooms = [share.gross for share in shares]
    wanted = [weights.get(share.vendor_id, _NOTHING) for share in shares] if weights else rooms
    entries: list[_Entry] = []
    for share, part in zip(shares, split(refunded.amount, wanted, rooms, unit), strict=True):
        kept = share.gross - part
        commission = (share.commission * kept / share.gross).quantize(unit, ROUND_HALF_UP) if share.gross else _NOTHING
        entries.append(_Entry(share.vendor_id, share.rate, -part, commission - share.commission))
    _queue_entries(s, order_id, refund_id, refunded.currency, entries)


def _unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-minor_digits(currency))


async def _shares(s: Session, order_id: UUID) -> list[_Share]:
    return await s.fetch(
        _Share,
        """
        SELECT /* commissions.shares */ i.vendor_id, v.commission_rate AS rate, i.sold, coalesce(c.gross, 0) AS gross,
               coalesce(c.commission, 0) AS commission
        FROM (SELECT l.vendor_id, sum(l.line_total) AS sold FROM order_items AS l
              WHERE l.tenant_id = %(tenant_id)s::uuid AND l.order_id = %(order_id)s::uuid
              GROUP BY l.vendor_id) AS i
        JOIN vendors AS v ON v.tenant_id = %(tenant_id)s::uuid AND v.vendor_id = i.vendor_id
        LEFT JOIN (SELECT c.vendor_id, sum(c.gross_amount) AS gross, sum(c.commission_amount) AS commission
                   FROM vendor_commissions AS c
                   WHERE c.tenant_id = %(tenant_id)s::uuid AND c.order_id = %(order_id)s::uuid
                   GROUP BY c.vendor_id) AS c ON c.vendor_id = i.vendor_id
        ORDER BY i.sold DESC, i.vendor_id
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


def _queue_entries(
    s: Session, order_id: UUID, refund_id: UUID | None, currency: str, entries: Sequence[_Entry]
) -> None:
    entered = [entry for entry in entries if entry.gross or entry.commission]
    s.queue(
        """
        INSERT /* commissions.entries */ INTO vendor_commissions
            (tenant_id, vendor_id, order_id, refund_id, currency, gross_amount, commission_rate, commission_amount,
             net_amount)
        SELECT %(tenant_id)s::uuid, e.vendor_id, %(order_id)s::uuid, %(refund_id)s::uuid, %(currency)s, e.gross, e.rate,
               e.commission, e.gross - e.commission
        FROM unnest(%(vendor_ids)s::uuid[], %(gross)s::numeric[], %(rates)s::numeric[], %(commissions)s::numeric[])
             AS e (vendor_id, gross, rate, commission)
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        refund_id=refund_id,
        currency=currency,
        vendor_ids=[entry.vendor_id for entry in entered],
        gross=[entry.gross for entry in entered],
        rates=[entry.rate for entry in entered],
        commissions=[entry.commission for entry in entered],
    )
