"""Writers that make trouble, and readers that follow the feed; what every test of a race is made of.

Writers use connections of their own and call `append_events` themselves: that is faster, and leaves more to race.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg

from cloudlab.config import DatabaseUrls, Limits
from cloudlab.events.feed import read_feed
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy.tenants import Tenant, shard_config

Connection = psycopg.AsyncConnection
Seen = tuple[int, UUID, int]
Page = Callable[[int], Awaitable[list[Seen]]]

_NAIVE = """
    SELECT event_position, aggregate_id, event_version FROM cloudlab.events
    WHERE event_position > %s ORDER BY event_position LIMIT 500
"""


def urls(platform: Platform, acme: Tenant) -> DatabaseUrls:
    """Return the logins of the tenant's shard."""
    return shard_config(platform.config, acme.shard).urls


@asynccontextmanager
async def writing(app_url: str, tenant: Tenant) -> AsyncGenerator[Connection]:
    """Yield an autocommit connection that is bound to a tenant for good."""
    async with await Connection.connect(app_url, autocommit=True) as conn:
        await conn.execute("SELECT set_config('app.current_tenant_id', %s, false)", [str(tenant.tenant_id)])
        yield conn


async def append(conn: Connection, stream: UUID, count: int = 1, expected: int | None = None) -> tuple[int, list[int]]:
    """Append events to a stream; return its version and their positions."""
    types, data = ["Happened"] * count, ["{}"] * count
    result = await conn.execute(
        "SELECT last_version, positions FROM cloudlab.append_events('Thing', %s, %s, %s::varchar[], %s::jsonb[], NULL)",
        [stream, expected, types, data],
    )
    ((version, positions),) = await result.fetchall()
    return version, positions


@asynccontextmanager
async def following(worker_url: str) -> AsyncGenerator[Page]:
    """Yield what reads the next page of the feed behind a position, as the worker does."""
    async with Pools(Limits()) as pools:

        async def page(after: int) -> list[Seen]:
            async with pools.transaction(worker_url) as transaction:
                events = await read_feed(transaction, after=after, limit=500)
            return [(event.event_position, event.aggregate_id, event.event_version) for event in events]

        yield page


@asynccontextmanager
async def following_naively(worker_url: str) -> AsyncGenerator[Page]:
    """Yield what reads the next events behind a position, whoever may still write before them."""
    async with await Connection.connect(worker_url, autocommit=True) as conn:

        async def page(after: int) -> list[Seen]:
            rows = await (await conn.execute(_NAIVE, [after])).fetchall()
            return [(row[0], row[1], row[2]) for row in rows]

        yield page


async def follow(page: Page, ended: asyncio.Event) -> list[Seen]:
    """Read behind a cursor until the writers have ended and nothing is left."""
    seen: list[Seen] = []
    while True:
        was_ended = ended.is_set()
        found = await page(seen[-1][0] if seen else 0)
        seen += found
        if was_ended and not found:
            return seen
        await asyncio.sleep(0)


async def write(shard: DatabaseUrls, tenant: Tenant, seed: int, until: float) -> list[int]:
    """Append to random streams, now and then slowly, now and then in vain; return the positions that were committed."""
    choice = random.Random(seed)
    committed: list[int] = []
    async with writing(shard.app_url, tenant) as conn:
        while time.monotonic() < until:
            async with conn.transaction() as transaction:
                drawn: list[int] = []
                for number in sorted(choice.sample(range(1, 200), choice.randint(1, 2))):
                    _, positions = await append(conn, UUID(int=number), choice.randint(1, 3))
                    drawn += positions
                if choice.random() < 0.2:
                    await asyncio.sleep(choice.random() * 0.05)
                if choice.random() < 0.1:
                    raise psycopg.Rollback(transaction)
                committed += drawn
    return committed


async def race(
    shard: DatabaseUrls, tenant: Tenant, pages: Sequence[Page], seconds: float
) -> tuple[list[int], list[list[Seen]]]:
    """Let 16 writers and these readers run; return the positions that were committed, and what each reader saw."""
    ended, until = asyncio.Event(), time.monotonic() + seconds
    readers = [asyncio.create_task(follow(page, ended)) for page in pages]
    committed = await asyncio.gather(*(write(shard, tenant, seed, until) for seed in range(16)))
    ended.set()
    return sorted(position for positions in committed for position in positions), await asyncio.gather(*readers)
