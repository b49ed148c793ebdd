"""A tenant moves to another shard while somebody goes on writing: nobody sees an error.

cloudlab up
python examples/move_tenant.py
"""

import asyncio
from uuid import uuid4

from cloudlab import Money, Platform
from cloudlab.session import Session
from cloudlab.shop import catalog


async def main() -> list[str]:
    """Move a tenant there and return where it lived before and lives now, and whether all writes are there."""
    async with Platform.open() as platform:
        acme = await platform.create_tenant(f"example-{uuid4().hex[:8]}", region="eu-west-1")
        stopped, written = asyncio.Event(), 0

        async def add(s: Session) -> None:
            await catalog.add(s, sku=uuid4().hex, name="Lamp", price=Money("49.99", "EUR"), stock=1)

        async def write() -> None:
            nonlocal written
            while not stopped.is_set():
                await platform.run(acme, add)  # the route in `acme` grows old; run finds the new one
                written += 1
                await asyncio.sleep(0.01)

        writing = asyncio.create_task(write())
        await asyncio.sleep(0.2)
        move = await platform.move_tenant(acme, to_shard="us_east_001", may_leave_region=True)
        print(f"{move.row_count} rows copied, {move.checked_rows} compared; writers waited {move.gap_ms} ms")
        await asyncio.sleep(0.2)
        stopped.set()
        await writing

        moved = await platform.tenant(acme.tenant_id)
        async with platform.session(moved, readonly=True) as s:
            found = await s.execute("SELECT /* example */ FROM products")
        await platform.moves.finish(moved)
        return [acme.shard, moved.shard, "all there" if found == written else f"{found} of {written}"]


if __name__ == "__main__":
    print(asyncio.run(main()))
