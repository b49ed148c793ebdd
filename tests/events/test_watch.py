"""Watching: a commit wakes the lanes that it matters to and no other, and nothing is missed."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.events.projections import Projection, Stores
from cloudlab.events.watch import Interest, Watch
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy.fence import readers_in_the_way
from cloudlab.tenancy.move_ends import connect
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Event, NewEvent
from fixtures.counting import TOUCHED, make_table, model, streams, touch
from fixtures.working import at_work


def interests(stack: ExitStack, watch: Watch) -> list[Interest]:
    return [stack.enter_context(watch.interest(model(lanes=4), lane)) for lane in range(4)]


async def set_position(config: Config, shard: str, position: int) -> None:
    async with Pools(config.limits) as pools, pools.transaction(shard_config(config, shard).urls.owner_url) as made:
        await made.execute(
            "SELECT /* test */ setval('cloudlab.event_position', %(position)s::bigint)", position=position
        )


async def test_only_the_lane_and_the_projection_that_an_event_matters_to_are_woken(config: Config):
    async with Platform.open(config, projections=[model(lanes=4)]) as platform:
        acme = await platform.create_tenant("acme")
        await touch(platform, acme, streams(1))
        watch = platform.readers.watch(acme.shard)
        await watch.look()
        with ExitStack() as stack:
            mine = interests(stack, watch)
            other = stack.enter_context(watch.interest(replace(model(lanes=1), event_types=frozenset({"Other"})), 0))
            for stream in streams(5):
                before = watch.horizon
                await touch(platform, acme, [stream])
                await watch.look()
                assert watch.horizon > before
                assert [each.lane for each in mine if each.horizon > before] == [stream.aggregate_id.int & 3]
                assert other.horizon <= before


@pytest.mark.parametrize("jump", [1_000_000, -20])
async def test_whoever_jumps_too_far_to_look_wakes_everybody(config: Config, jump: int):
    async with Platform.open(config, projections=[model(lanes=4)]) as platform:
        acme = await platform.create_tenant("acme")
        watch = platform.readers.watch(acme.shard)
        with ExitStack() as stack:
            mine = interests(stack, watch)
            assert {each.horizon for each in mine} == {-1}
            await touch(platform, acme, streams(1), 30)
            await watch.look()
            assert {each.horizon for each in mine} == {watch.horizon}
            # Positions jump when a tenant comes from another shard, and fall when a server is restored.
            await set_position(config, acme.shard, watch.horizon + jump)
            await watch.look()
            assert {each.horizon for each in mine} == {watch.horizon}


async def test_a_look_reads_what_is_new_even_if_it_was_planned_when_nothing_was_there(platform: Platform, acme: Tenant):
    url = shard_config(platform.config, acme.shard).urls.worker_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        for _ in range(10):
            await conn.execute("SELECT FROM cloudlab.feed_news(0)")
        for stream in streams(5):
            await platform.append(acme, stream, [NewEvent("Touched", {})] * 1000, expected_version=0)
        found = await conn.execute("SELECT horizon FROM cloudlab.feed_news(0) LIMIT 1")
        (horizon,) = await found.fetchone() or (0,)
        found = await conn.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT FROM cloudlab.feed_news(%s)", [horizon - 3]
        )
        ((plan,),) = await found.fetchall()
    assert horizon >= 5000
    assert 0 < plan[0]["Plan"]["Shared Hit Blocks"] < 100


async def test_checkpoints_follow_the_feed_even_when_nothing_is_for_them(config: Config):
    await make_table(config)
    async with Platform.open(config, projections=[model(lanes=4)]) as platform:
        acme = await platform.create_tenant("acme")
        async with at_work(platform), asyncio.timeout(10):
            await touch(platform, acme, streams(1), 3)
            while len(found := await platform.readers.progress(acme.shard)) < 4 or any(x.lag_events for x in found):
                await asyncio.sleep(0.02)


async def test_a_lane_that_rests_after_a_batch_gets_few_large_ones(config: Config):
    batches: list[int] = []

    async def apply(stores: Stores, events: Sequence[Event]) -> None:
        batches.append(len(events))

    resting = Projection("resting", TOUCHED, apply, lanes=1, rest_seconds=1.0)
    async with Platform.open(config, projections=[resting]) as platform:
        acme = await platform.create_tenant("acme")
        [stream] = streams(1)
        async with at_work(platform), asyncio.timeout(10):
            for _ in range(20):
                await touch(platform, acme, [stream])
                await asyncio.sleep(0.02)
            while sum(batches) < 20:
                await asyncio.sleep(0.02)
    assert len(batches) <= 5


async def test_a_reader_is_in_the_way_of_a_move_only_for_events_that_it_reads(config: Config):
    async with Platform.open(config, projections=[model(lanes=4)]) as platform:
        acme = await platform.create_tenant("acme")
        holder = platform.readers.holder(acme.shard, model(lanes=4))
        await holder.claim()
        [stream] = streams(1)
        url = shard_config(config, acme.shard).urls.owner_url
        async with await connect(url, acme.tenant_id) as source:
            await platform.append(acme, stream, [NewEvent("Other", {})], expected_version=None)
            assert await readers_in_the_way(source, acme.tenant_id) == []
            await touch(platform, acme, [stream])
            assert await readers_in_the_way(source, acme.tenant_id) == [("touch_counts", "behind")]
        bolt = await platform.create_tenant("bolt", region=acme.region)
        async with await connect(url, bolt.tenant_id) as source:
            await platform.append(bolt, stream, [NewEvent("Other", {})], expected_version=None)
            assert await readers_in_the_way(source, bolt.tenant_id) == []
            await holder.leave()
            # Nobody is there to say what the projection reads.
            assert await readers_in_the_way(source, bolt.tenant_id) == [("touch_counts", "behind")]
