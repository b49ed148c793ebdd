"""A saga of your own: a trip is booked step by step, or undone as a whole.

cloudlab up
python examples/custom_saga.py
"""

import asyncio
from uuid import uuid4

from cloudlab import NewEvent, Platform, Session, Stream, Worker
from cloudlab.errors import OutOfStock
from cloudlab.events import store as events
from cloudlab.sagas import Call, Running, Saga, Step

LEDGER: dict[str, str] = {}  # somebody else's computer: it remembers each idempotency key


async def _happened(s: Session, saga: Running, event_type: str) -> None:
    await events.append(s, Stream("Trip", saga.saga_id), [NewEvent(event_type, {})], expected_version=None)


async def reserve(s: Session, saga: Running) -> dict[str, str]:
    """Reserve a seat: commits together with the saga's journal, so exactly once."""
    await _happened(s, saga, "SeatReserved")
    return {"seat": "12A"}


async def release(s: Session, saga: Running) -> None:
    """Give the seat back."""
    await _happened(s, saga, "SeatReleased")


async def charge(call: Call, saga: Running) -> dict[str, str]:
    """Charge a card: no transaction is open; a repeated call has the same key."""
    if saga.data["card"] == "empty":
        raise OutOfStock("the card is declined")
    LEDGER.setdefault(call.idempotency_key, saga.results["reserve"]["seat"])
    return {"charge": call.idempotency_key}


async def confirm(s: Session, saga: Running) -> None:
    """Say that all is done; behind the pivot this is tried until it succeeds."""
    await _happened(s, saga, "TripConfirmed")


TRIP = Saga(
    "trip",
    Step("reserve", do=reserve, undo=release),
    Step("charge", do=charge, external=True, pivot=True),
    Step("confirm", do=confirm),
)


async def main() -> list[str]:
    """Book two trips, one of them with an empty card; return how each ended."""
    async with Platform.open(sagas=[TRIP]) as platform:
        tenant = await platform.create_tenant(f"example-{uuid4().hex[:8]}")
        worker = asyncio.create_task(Worker(platform).run())  # or `cloudlab worker`, in processes of its own
        trips = [await platform.sagas.start(tenant, TRIP, {"card": card}, key=card) for card in ("full", "empty")]
        ended = [(await platform.sagas.ended(tenant, trip)).status for trip in trips]
        worker.cancel()
        await asyncio.wait([worker])
        print(ended, LEDGER)
    return ended


if __name__ == "__main__":
    asyncio.run(main())
