"""Stock: how many there are, and every change of it in a ledger.

Orders take stock in `place_orders`; nothing is ever decided by the cache.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from dataclasses import dataclass
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.shop.idempotency import Form, once
from cloudlab.values import NewEvent, Stream


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
    level = await s.fetch_one(
        Level,
        """
        UPDATE /* inventory.receive */ inventory
        SET available_quantity = available_quantity + %(quantity)s::integer
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
        RETURNING available_quantity AS available, reserved_quantity AS reserved
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
        quantity=quantity,
    )
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
    return level


async def level(s: Session, product_id: UUID) -> Level:
    """Return the stock of a product; NotFound when there is no such product. Cost: one round trip."""
    return await s.fetch_one(
        Level,
        """
        SELECT /* inventory.level */ available_quantity AS available, reserved_quantity AS reserved
        FROM inventory
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
    )
