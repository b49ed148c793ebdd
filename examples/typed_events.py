"""Events as classes, a snapshot, a trace, and a person who is erased from history.

cloudlab up
python examples/typed_events.py
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from cloudlab import Event, Money, Platform, Stream
from cloudlab.events import snapshots, subjects
from cloudlab.events import store as events
from cloudlab.events.snapshots import SnapshotFormat
from cloudlab.events.types import event, personal, typed, upcaster
from cloudlab.values import Cause, caused_by


@upcaster("MembershipBought", from_version=1)
def in_euros(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no currency: everything was sold in euros."""
    return {**data, "price": {"amount": data["price"], "currency": "EUR"}}


@event("MembershipBought", version=2)
class MembershipBought:
    member_id: UUID
    price: Money
    email: str | None = personal(subject="member_id")


@event("MembershipRenewed")
class MembershipRenewed:
    price: Money


@dataclass(frozen=True)
class Membership:
    """What the events of a membership come to."""

    paid: Money
    renewals: int


NOTHING = Membership(Money("0", "EUR"), 0)


def fold(state: Membership, happened: Event) -> Membership:
    """Return the state after an event; `typed` lifts old versions on the way, and no name is needed here."""
    match typed(happened, sealed_as_none=True):
        case MembershipBought(price=price):
            return replace(state, paid=state.paid + price)
        case MembershipRenewed(price=price):
            return replace(state, paid=state.paid + price, renewals=state.renewals + 1)
        case _:
            return state


KEPT = SnapshotFormat(
    schema_version=1,
    encode=lambda state: {"paid": str(state.paid.amount), "renewals": state.renewals},
    decode=lambda kept: Membership(Money(kept["paid"], "EUR"), kept["renewals"]),
)


async def main() -> list[str]:
    """Buy and renew a membership, then forget who it was; return what was known of her before and after."""
    known: list[str] = []
    async with Platform.open() as platform:
        tenant = await platform.create_tenant(f"example-{uuid4().hex[:8]}")
        ada, membership = uuid4(), Stream("Membership", uuid4())

        async with platform.session(tenant, cause=Cause(actor="shop-window")) as s:
            bought = MembershipBought(member_id=ada, price=Money("49.99", "EUR"), email="ada@acme.test")
            await events.append(s, membership, [bought], expected_version=events.NEW)
            (first,) = await events.read_stream(s, membership)

        async with platform.session(tenant, cause=caused_by(first)) as s:  # the same correlation, and why
            await events.append(s, membership, [MembershipRenewed(price=Money("39.99", "EUR"))], expected_version=1)
            state = await snapshots.load(s, membership, fold, NOTHING, kept_as=KEPT)
            await snapshots.save(s, membership, state, KEPT)

        async def email() -> str:
            async with platform.session(tenant, readonly=True) as s:
                (opened, *_) = await subjects.reveal(s, await events.read_stream(s, membership))
                return str(opened.event_data["email"])

        known.append(await email())
        async with platform.session(tenant) as s:
            await subjects.erase(s, ada)
        known.append(await email())
        print(state.state, known)
    return known


if __name__ == "__main__":
    asyncio.run(main())
