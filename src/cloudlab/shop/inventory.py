"""Stock: how many there are, and every change of it in a ledger; spread over buckets where many want it at once.

Orders take stock in `place_orders`; nothing is ever decided by the cache.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from dataclasses import dataclass
from uuid import UUID

from cloudlab.errors import InvalidInput, NotFound
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.shop.idempotency import Form, once
from cloudlab.values import NewEvent, Stream

MOST_BUCKETS = 64


@dataclass(frozen=True, slots=True)
class Level:
    """Units that may be sold, and units sold but not shipped."""

    available: int
    reserved: int


_LEVEL: Form[Level] = Form(
    save=lambda level: {"available": level.available, "reserved": level.reserved},
    load=lambda answer: Level(answer["available"], answer["reserved"]),
)


async def receive(
    s: Session, product_id: UUID, quantity: int, *, reason: str = "receipt", idempotency_key: str | None = None
) -> Level:
    """Take units into stock.

    Args:
        s: The session.
        product_id: Which product.
        quantity: How many, at least 1.
        reason: `receipt`, `return` or `correction`, as the ledger will say.
        idempotency_key: The same key with the same request gives the first answer, and moves nothing.

    Raises:
        InvalidInput: The quantity is not positive, or the reason is none of these.
        NotFound: There is no such product.
        KeyReused: The key was used for a different request.

    Cost: two round trips, with a key three; locks the stock of one product.
    """
    if quantity < 1:
        raise InvalidInput(f"{quantity} units cannot be received", hint="Give a quantity of at least 1.")
    if reason not in ("receipt", "return", "correction"):
        raise InvalidInput(f"{reason!r} is no reason to receive stock")
    return await _changed(s, "receive", product_id, quantity, reason, idempotency_key)


async def adjust(s: Session, product_id: UUID, difference: int, *, idempotency_key: str | None = None) -> Level:
    """Correct the available stock after a count, up or down. Cost and errors as of `receive`.

    Raises:
        InvalidInput: The difference is 0.
        OutOfStock: Fewer than that many are available.
    """
    if difference == 0:
        raise InvalidInput("a correction by 0 units corrects nothing")
    return await _changed(s, "adjust", product_id, difference, "correction", idempotency_key)


async def _changed(s: Session, command: str, product_id: UUID, quantity: int, reason: str, key: str | None) -> Level:
    async def work() -> Level:
        return await _move(s, product_id, quantity, reason)

    request = {"product_id": product_id, "quantity": quantity, "reason": reason}
    return await once(s, key, command, request, work, _LEVEL, resource_id=product_id)


async def _move(s: Session, product_id: UUID, quantity: int, reason: str) -> Level:
    s.queue(
        """
        UPDATE /* inventory.receive */ products
        SET product_version = product_version + 1
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
    )
    if quantity < 0:
        s.queue(
            "SELECT /* inventory.receive */ gather_stock(%(product_id)s::uuid, 0)",
            product_id=product_id,
        )
    s.queue(
        """
        UPDATE /* inventory.receive */ inventory
        SET available_quantity = available_quantity + %(quantity)s::integer
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid AND bucket_number = 0
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
        quantity=quantity,
    )
    now = await level(s, product_id)
    s.queue(
        """
        INSERT /* inventory.receive */ INTO inventory_updates
            (tenant_id, product_id, delta_available, delta_reserved, reason)
        VALUES (%(tenant_id)s::uuid, %(product_id)s::uuid, %(quantity)s::integer, 0, %(reason)s)
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
        quantity=quantity,
        reason=reason,
    )
    event_type = "StockReceived" if quantity > 0 else "StockCorrected"
    received = NewEvent(event_type, {"product_id": product_id, "quantity": quantity, "reason": reason})
    await events.append(s, Stream("Product", product_id), [received], expected_version=None)
    return now


async def level(s: Session, product_id: UUID) -> Level:
    """Return the stock of a product; NotFound when there is no such product. Cost: one round trip."""
    return await s.fetch_one(
        Level,
        """
        SELECT /* inventory.level */ sum(available_quantity)::integer AS available,
               sum(reserved_quantity)::integer AS reserved
        FROM inventory
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
        GROUP BY product_id
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
    )


async def spread(s: Session, product_id: UUID, *, buckets: int = 16) -> int:
    """Spread the stock of a product over so many rows, so that as many transactions can sell it at the same time.

    Nothing else changes: it is one number to everybody, and sold to the last piece. Workers do this by themselves for
    products whose buyers are seen to wait for each other (`spread_contended`). Not undone: empty rows cost nothing.

    Returns:
        How many buckets it has now; never fewer than before.

    Raises:
        InvalidInput: Not 2 to 64 buckets.
        NotFound: There is no such product.

    Cost: one round trip; locks the stock of the product.
    """
    if not 2 <= buckets <= MOST_BUCKETS:
        raise InvalidInput(f"stock is spread over 2 to {MOST_BUCKETS} buckets, not {buckets}")
    count = await s.fetch_one(
        _count,
        "SELECT /* inventory.spread */ spread_stock(%(product_id)s::uuid, %(buckets)s::integer) AS buckets",
        product_id=product_id,
        buckets=buckets,
    )
    if not count:
        raise NotFound(f"no product {product_id}")
    return count


async def spread_contended(s: Session, *, waiting: int = 3) -> list[UUID]:
    """Spread the products for whose stock at least so many transactions stand in line right now; return which.

    It costs those who sell nothing: the line is read from the server's table of locks, where all but the first of those
    who wait for a row are waiting for its tuple.

    Cost: one round trip, and one for each product found.
    """
    contended = await s.fetch(
        _product,
        """
        SELECT /* inventory.spread_contended */ n.product_id
        -- cloudlab: ignore OB05 because who waits right now is what is looked for, and no alarm
        FROM (SELECT l.page, l.tuple FROM pg_catalog.pg_locks AS l
              WHERE l.locktype = 'tuple' AND NOT l.granted AND l.relation = 'inventory'::regclass
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
              GROUP BY l.page, l.tuple HAVING count(*) >= %(waiting)s::integer) AS l
        CROSS JOIN LATERAL (
            SELECT n.product_id FROM inventory AS n
            WHERE n.tenant_id = %(tenant_id)s::uuid AND n.ctid = format('(%%s,%%s)', l.page, l.tuple)::tid
            LIMIT 1) AS n
        """,
        tenant_id=s.tenant_id,
        waiting=waiting,
    )
    for product_id in contended:
        await spread(s, product_id)
    return contended


def _product(product_id: UUID) -> UUID:
    return product_id


def _count(buckets: int) -> int:
    return buckets
