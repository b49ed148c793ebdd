"""A projection of your own: how often each thing happened, kept in the transaction of the event.

The platform knows nothing of lamps: any domain appends its events and lets read models follow.

    cloudlab up
    python examples/custom_projection.py
"""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from cloudlab import Event, InlineProjection, NewEvent, Platform, Projection, Session, Stores, Stream, Worker
from cloudlab.events import store as events


async def remember(s: Session, happened: Sequence[Event]) -> None:
    """Write a log line for each event, in its own transaction: both are there, or neither."""
    for event in happened:
        s.queue(
            """
            INSERT /* example.remember */ INTO application_logs (tenant_id, level, logger, message)
            VALUES (%(tenant_id)s::uuid, 'INFO', 'lamps', %(message)s)
            """,
            tenant_id=event.tenant_id,
            message=f"{event.event_type} {event.event_version}",
        )


async def main() -> list[str]:
    """Switch a lamp on and off; return what the asynchronous projection saw, in order."""
    seen: list[str] = []

    async def follow(stores: Stores, happened: Sequence[Event]) -> None:
        seen.extend(event.event_type for event in happened)

    projections = [
        InlineProjection("lamp_log", frozenset({"SwitchedOn", "SwitchedOff"}), remember),
        Projection(f"lamp_watch_{uuid4().hex[:8]}", frozenset({"SwitchedOn", "SwitchedOff"}), follow),
    ]
    async with Platform.open(projections=projections) as platform:
        tenant = await platform.create_tenant(f"example-{uuid4().hex[:8]}")
        lamp = Stream("Lamp", uuid4())
        async with platform.session(tenant) as s:
            version = await events.append(s, lamp, [NewEvent("SwitchedOn", {})], expected_version=events.NEW)
            await events.append(s, lamp, [NewEvent("SwitchedOff", {})], expected_version=version)
        await Worker(platform).run_until_caught_up()
        async with platform.session(tenant, readonly=True) as s:
            print([event.event_type for event in await events.read_stream(s, lamp)], seen[-2:])
    return seen[-2:]


if __name__ == "__main__":
    asyncio.run(main())
