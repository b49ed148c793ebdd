"""An open transaction delays what it must, and nothing else.

Standard: §3.2 Event Store Schema
"""

import asyncio
import time
from contextlib import AsyncExitStack
from statistics import median
from uuid import uuid4

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from races.following import Connection, Page, append, following, urls, writing

IDLE_SECONDS = 10
ALLOWED_SECONDS = 0.05


async def seen_after(page: Page, conn: Connection) -> float:
    """Append one event and return how long it takes from its commit until a reader finds it."""
    _, (position,) = await append(conn, uuid4())
    began = time.monotonic()
    while not await page(position - 1):
        assert time.monotonic() < began + 5, "the event is held back"
    return time.monotonic() - began


async def test_an_idle_writer_holds_back_what_comes_after_it_and_nothing_before(platform: Platform, acme: Tenant):
    shard = urls(platform, acme)
    async with (
        following(shard.worker_url) as page,
        writing(shard.app_url, acme) as idle,
        writing(shard.app_url, acme) as busy,
    ):
        _, (before,) = await append(busy, uuid4())
        async with idle.transaction():
            _, (held,) = await append(idle, uuid4())
            later = [(await append(busy, uuid4()))[1][0] for _ in range(20)]
            began = time.monotonic()
            slowest = 0.0
            while time.monotonic() < began + IDLE_SECONDS:
                asked = time.monotonic()
                assert [position for position, _, _ in await page(0)] == [before]
                slowest = max(slowest, time.monotonic() - asked)
                await asyncio.sleep(0.05)
        assert [position for position, _, _ in await page(0)] == [before, held, *later]
        assert slowest < IDLE_SECONDS / 2, "a reader waited for the writer instead of answering"


async def test_a_writer_that_waits_for_a_stream_holds_back_no_other(platform: Platform, acme: Tenant):
    """It has no mark yet: the lock on the stream comes first, and whoever holds that is the one to wait for."""
    shard, stream = urls(platform, acme), uuid4()
    async with (
        following(shard.worker_url) as page,
        writing(shard.app_url, acme) as first,
        writing(shard.app_url, acme) as second,
    ):
        async with first.transaction():
            _, (one,) = await append(first, stream)
            waiting = asyncio.create_task(append(second, stream))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        _, (two,) = await waiting
        assert [(position, version) for position, _, version in await page(0)] == [(one, 1), (two, 2)]


@pytest.mark.parametrize("where", ["the same database", "another database"])
async def test_an_unrelated_open_transaction_delays_nothing(
    platform: Platform, acme: Tenant, config: Config, where: str
):
    """Measured as the difference to the same moments without it; in the other database it even holds our lock."""
    shard = urls(platform, acme)
    other = shard.app_url if where == "the same database" else config.control.owner_url
    alone: list[float] = []
    beside: list[float] = []
    async with AsyncExitStack() as stack:
        page = await stack.enter_async_context(following(shard.worker_url))
        conn = await stack.enter_async_context(writing(shard.app_url, acme))
        unrelated = await stack.enter_async_context(await psycopg.AsyncConnection.connect(other))
        await unrelated.rollback()
        for _ in range(20):
            alone.append(await seen_after(page, conn))
            await unrelated.execute("SELECT pg_current_xact_id()")
            if where == "another database":
                await unrelated.execute("SELECT pg_advisory_xact_lock_shared((20542::bigint << 48) | 0)")
            beside.append(await seen_after(page, conn))
            await unrelated.rollback()
    assert median(beside) - median(alone) < ALLOWED_SECONDS
    assert max(beside) < max(alone) + 1
