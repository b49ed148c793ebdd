"""How far the feed shows, one step after the other; the races are in the files beside this one.

Standard: §3.2 Event Store Schema
"""

from uuid import uuid4

import psycopg
import pytest

from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import NewEvent, Stream

FEED = "SELECT event_position, aggregate_id, event_version FROM cloudlab.read_feed(%s, 500)"


def worker_url(platform: Platform, acme: Tenant) -> str:
    return shard_config(platform.config, acme.shard).urls.worker_url


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


async def test_repeatable_read_is_refused(platform: Platform, acme: Tenant):
    async with await psycopg.AsyncConnection.connect(worker_url(platform, acme)) as conn:
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="READ COMMITTED"):
            await conn.execute(FEED, [0])
