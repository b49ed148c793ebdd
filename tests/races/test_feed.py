"""The feed neither skips nor reorders, whatever writers do; and a naive reader does.

Standard: §3.2 Event Store Schema
"""

import asyncio
import random
import time
from uuid import UUID, uuid4

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import InvalidInput, VersionConflict
from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import NewEvent, Stream

FEED = "SELECT event_position, aggregate_id, event_version FROM cloudlab.read_feed(%s, 500)"
NAIVE = """
    SELECT event_position, aggregate_id, event_version FROM cloudlab.events
    WHERE event_position > %s ORDER BY event_position LIMIT 500
"""


def worker_url(platform: Platform, acme: Tenant) -> str:
    return shard_config(platform.config, acme.shard).urls.worker_url


async def write(platform: Platform, acme: Tenant, seed: int, until: float) -> int:
    """Append to random streams, now and then slowly, now and then in vain; return how many events were committed."""
    choice = random.Random(seed)
    committed = 0
    while time.monotonic() < until:
        try:
            async with platform.session(acme) as s:
                count = choice.randint(1, 3)
                stream = Stream("Thing", UUID(int=choice.randrange(1, 40)))
                await events.append(s, stream, [NewEvent("Happened", {})] * count, expected_version=None)
                if choice.random() < 0.2:
                    await asyncio.sleep(choice.random() * 0.02)
                if choice.random() < 0.1:
                    raise InvalidInput("changed my mind")
            committed += count
        except InvalidInput:
            continue
    return committed


async def follow(url: str, query: str, writers: asyncio.Event) -> list[tuple[int, UUID, int]]:
    """Read behind a cursor until the writers have ended and nothing is left."""
    seen: list[tuple[int, UUID, int]] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        while True:
            ended = writers.is_set()
            rows = await (await conn.execute(query.encode(), [seen[-1][0] if seen else 0])).fetchall()
            seen += [(row[0], row[1], row[2]) for row in rows]
            if ended and not rows:
                return seen
            await asyncio.sleep(0)


async def race(platform: Platform, acme: Tenant, query: str) -> tuple[int, list[tuple[int, UUID, int]]]:
    done = asyncio.Event()
    reader = asyncio.create_task(follow(worker_url(platform, acme), query, done))
    until = time.monotonic() + 5
    committed = await asyncio.gather(*(write(platform, acme, seed, until) for seed in range(8)))
    done.set()
    return sum(committed), await reader


async def test_every_committed_event_is_read_once_and_in_order(platform: Platform, acme: Tenant):
    committed, seen = await race(platform, acme, FEED)
    assert len(seen) == committed
    assert [position for position, _, _ in seen] == sorted({position for position, _, _ in seen})
    versions: dict[UUID, int] = {}
    for _, stream, version in seen:
        assert version == versions.get(stream, 0) + 1
        versions[stream] = version


async def test_a_reader_that_trusts_positions_alone_loses_events(platform: Platform, acme: Tenant):
    committed, seen = await race(platform, acme, NAIVE)
    assert len(seen) < committed


async def test_an_unrelated_open_transaction_delays_nothing(platform: Platform, acme: Tenant, config: Config):
    worker = worker_url(platform, acme)
    async with (
        await psycopg.AsyncConnection.connect(config.control.owner_url) as elsewhere,
        await psycopg.AsyncConnection.connect(worker, autocommit=True) as reader,
        platform.session(acme) as idle,
    ):
        await elsewhere.execute("CREATE TABLE cloudlab.busy (n integer)")
        await idle.execute("UPDATE products SET name = name")
        async with platform.session(acme) as s:
            await events.append(s, Stream("Thing", uuid4()), [NewEvent("Happened", {})], expected_version=0)
        assert (await reader.execute(FEED, [0])).rowcount == 1
        await elsewhere.rollback()


async def test_an_open_append_holds_back_only_what_comes_after_it(platform: Platform, acme: Tenant):
    async with await psycopg.AsyncConnection.connect(worker_url(platform, acme), autocommit=True) as reader:

        async def append() -> None:
            async with platform.session(acme) as s:
                await events.append(s, Stream("Thing", uuid4()), [NewEvent("Happened", {})], expected_version=0)

        await append()
        async with platform.session(acme) as slow:
            await events.append(slow, Stream("Thing", uuid4()), [NewEvent("Slow", {})], expected_version=0)
            await append()
            assert (await reader.execute(FEED, [0])).rowcount == 1
        assert (await reader.execute(FEED, [0])).rowcount == 3


async def test_the_first_event_of_all_is_not_shown_before_it_is_committed(platform: Platform, acme: Tenant):
    async with await psycopg.AsyncConnection.connect(worker_url(platform, acme), autocommit=True) as reader:
        async with platform.session(acme) as first:
            await events.append(first, Stream("Thing", uuid4()), [NewEvent("First", {})], expected_version=0)
            horizon = await (await reader.execute("SELECT cloudlab.feed_horizon()")).fetchone()
            assert horizon == (0,)
        assert (await reader.execute(FEED, [0])).rowcount == 1


async def test_eight_writers_of_one_stream_make_one_history(platform: Platform, acme: Tenant):
    stream = Stream("Thing", uuid4())
    conflicts = 0

    async def writer() -> None:
        nonlocal conflicts
        for _ in range(50):
            while True:
                try:
                    async with platform.session(acme) as s:
                        version = len(await events.read_stream(s, stream))
                        await events.append(s, stream, [NewEvent("Happened", {})], expected_version=version)
                    break
                except VersionConflict:
                    conflicts += 1

    await asyncio.gather(*(writer() for _ in range(8)))
    async with platform.session(acme) as s:
        history = await events.read_stream(s, stream)
    assert [event.event_version for event in history] == list(range(1, 401))
    assert conflicts > 0


async def test_repeatable_read_is_refused(platform: Platform, acme: Tenant):
    async with await psycopg.AsyncConnection.connect(worker_url(platform, acme)) as conn:
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="READ COMMITTED"):
            await conn.execute(FEED, [0])
