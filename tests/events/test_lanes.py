"""Lanes: read models exactly once, shared among workers that come, go and hang; poison is parked, never skipped."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from cloudlab.config import Config
from cloudlab.errors import CloudLabError, InvalidInput, LeaseLost, NotFound, ProjectionFailed
from cloudlab.events.applying import apply_next
from cloudlab.events.lanes import Holder
from cloudlab.events.projections import Following, Projection, ReadModel, Stores
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.values import Event, uuid7
from cloudlab.worker import Worker
from fixtures.counting import TOUCHED, count, counts, make_table, model, sql_model, streams, touch


@pytest.mark.parametrize("made", [model, sql_model])
async def test_a_read_model_sees_each_event_once_for_every_tenant(config: Config, made: type[ReadModel]):
    await make_table(config)
    async with Platform.open(config, projections=[made(batch_size=7)]) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        bolt = await platform.create_tenant("bolt", region="eu-west-1")
        ours, theirs = streams(9), streams(5)
        await touch(platform, acme, ours, 3)
        await touch(platform, bolt, theirs, 4)
        assert await Worker(platform).run_until_caught_up() == 9 * 3 + 5 * 4
        await touch(platform, acme, ours, 2)
        assert await Worker(platform).run_until_caught_up() == 9 * 2
        assert await counts(platform, acme) == {s.aggregate_id: 5 for s in ours}
        assert await counts(platform, bolt) == {s.aggregate_id: 4 for s in theirs}


async def test_a_worker_cannot_write_anything_but_read_models(config: Config):
    async def steal(s: Session, events: Sequence[Event]) -> None:
        await s.execute("UPDATE /* test */ users SET is_active = false")

    thief = ReadModel("thief", TOUCHED, steal, lanes=1)
    async with Platform.open(config, projections=[thief]) as platform:
        acme = await platform.create_tenant("acme")
        await touch(platform, acme, streams(1))
        with pytest.raises(ProjectionFailed, match="permission denied"):
            await platform.readers.run_once(acme.shard, thief)


@pytest.mark.parametrize("made", [model, sql_model])
async def test_poison_parks_its_stream_and_nothing_else(config: Config, made: type[ReadModel]):
    await make_table(config)
    following = made(lanes=1)
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        bad, *good = streams(4)
        await touch(platform, acme, [bad, *good])
        await touch(platform, acme, [bad], poison="not a number")
        await touch(platform, acme, [bad, *good])
        for _ in range(3):
            with pytest.raises(ProjectionFailed):
                await platform.readers.run_once(acme.shard, following)
        await Worker(platform).run_until_caught_up()
        await touch(platform, acme, [bad, *good])
        await Worker(platform).run_until_caught_up()

        assert await counts(platform, acme) == {bad.aggregate_id: 1} | {s.aggregate_id: 3 for s in good}
        parked = await platform.readers.parked(acme.shard)
        assert [(item.aggregate_id, item.failed_attempts) for item in parked] == [
            (bad.aggregate_id, 1), (bad.aggregate_id, 0), (bad.aggregate_id, 0),
        ]  # fmt: skip
        with pytest.raises(CloudLabError):
            await platform.readers.retry_parked(acme.shard, following, bad.aggregate_id)
        assert (await platform.readers.parked(acme.shard))[0].failed_attempts == 2


async def test_parked_events_are_applied_in_order_once_their_cause_is_mended(config: Config):
    await make_table(config)
    mended = False

    async def picky(s: Session, events: Sequence[Event]) -> None:
        if not mended:
            raise ValueError("not yet")
        await count(s, events)

    following = ReadModel("touch_counts", TOUCHED, picky, lanes=1)
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        one, other = streams(2)
        await touch(platform, acme, [one, other], 2)
        for _ in range(3):
            with pytest.raises(ProjectionFailed, match="not yet"):
                await platform.readers.run_once(acme.shard, following)
        await Worker(platform).run_until_caught_up()
        assert len(await platform.readers.parked(acme.shard)) == 4
        mended = True
        assert await platform.readers.retry_parked(acme.shard, following, one.aggregate_id) == 2
        assert await platform.readers.retry_parked(acme.shard, following, one.aggregate_id) == 0
        await touch(platform, acme, [one])
        await Worker(platform).run_until_caught_up()
        assert await counts(platform, acme) == {one.aggregate_id: 3}
        assert {item.aggregate_id for item in await platform.readers.parked(acme.shard)} == {other.aggregate_id}


async def test_a_paused_projection_stands_still_and_goes_on_where_it_stood(config: Config):
    await make_table(config)
    following = model()
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        some = streams(8)
        await touch(platform, acme, some)
        await Worker(platform).run_until_caught_up()
        await platform.readers.pause(acme.shard, "touch_counts")
        await touch(platform, acme, some)
        assert await platform.readers.run_once(acme.shard, following) == 0
        with pytest.raises(ProjectionFailed, match="is paused"):
            await Worker(platform).run_until_caught_up()
        await platform.readers.resume(acme.shard, "touch_counts")
        await Worker(platform).run_until_caught_up()
        assert set((await counts(platform, acme)).values()) == {2}
        with pytest.raises(NotFound, match="no projection nobody"):
            await platform.readers.pause(acme.shard, "nobody")


async def test_another_number_of_lanes_is_refused_with_the_remedy(config: Config):
    async with Platform.open(config, projections=[]) as platform:
        shard = config.shards[0].name
        await platform.readers.run_once(shard, model(lanes=4))
        with pytest.raises(InvalidInput, match="has 4 lanes here, not 8") as refused:
            await platform.readers.run_once(shard, model(lanes=8))
        assert "projection rebuild" in (refused.value.hint or "")


async def test_lanes_are_shared_when_a_worker_joins_and_inherited_when_it_leaves(config: Config):
    await make_table(config)
    following = model(lanes=8)
    async with contextlib.AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(Platform.open(config, projections=[following])) for _ in range(4)]
        acme = await platforms[0].create_tenant("acme")
        workers: list[Worker] = []
        tasks: list[asyncio.Task[None]] = []

        async def shared(expected: list[int]) -> None:
            held: list[set[int]] = []
            for _ in range(400):
                held = [worker.lanes.get((acme.shard, "touch_counts"), set()) for worker in workers]
                every = [lane for lanes in held for lane in lanes]
                if sorted(map(len, held)) == expected and sorted(every) == list(range(8)):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(f"{expected} expected, {held} held")

        def start(platform: Platform) -> None:
            workers.append(Worker(platform))
            tasks.append(asyncio.create_task(workers[-1].run()))

        some = streams(30)
        start(platforms[0])
        await shared([8])
        start(platforms[1])
        await touch(platforms[0], acme, some, 2)
        await shared([4, 4])
        start(platforms[2])
        start(platforms[3])
        await touch(platforms[0], acme, some, 2)
        await shared([2, 2, 2, 2])
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks[1:])
        del workers[1:]
        await touch(platforms[0], acme, some, 2)
        await shared([8])
        async with asyncio.timeout(20):
            while await counts(platforms[0], acme) != {s.aggregate_id: 6 for s in some}:
                await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.wait(tasks)


async def test_a_worker_that_hung_cannot_commit_after_another_took_over(config: Config):
    await make_table(config)
    following = model(lanes=1)
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        (one,) = streams(1)
        await touch(platform, acme, [one], 3)
        hung = platform.readers.holder(acme.shard, following)
        (lane,) = await hung.claim(lease_seconds=0.2)
        async with hung.pools.transaction(hung.url) as transaction:
            batch = await hung.read(transaction, lane)
        await asyncio.sleep(0.3)
        heir = Holder(hung.pools, hung.url, following, uuid7())
        (inherited,) = await heir.claim(lease_seconds=0.2)
        assert inherited.lease_epoch == lane.lease_epoch + 1
        stores = Stores(platform.cache, platform.analytics)
        assert (await apply_next(heir, stores, inherited)).event_count == 3
        with pytest.raises(LeaseLost):
            await apply_next(hung, stores, lane)
        with pytest.raises(LeaseLost):
            async with hung.pools.transaction(hung.url) as transaction:
                hung.queue_advance(transaction, lane, batch)
        assert await counts(platform, acme) == {one.aggregate_id: 3}


async def test_a_reader_is_woken_by_the_commit(config: Config):
    """Polling alone would take a quarter of a second each time; twenty rings must not take five."""
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def apply(stores: Stores, events: Sequence[Event]) -> None:
        for event in events:
            seen.put_nowait(event)

    following: Following = Projection("woken", TOUCHED, apply)
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        working = asyncio.create_task(Worker(platform).run())
        some = streams(1)
        await touch(platform, acme, some)
        await seen.get()
        started = asyncio.get_running_loop().time()
        for _ in range(20):
            await touch(platform, acme, some)
            await seen.get()
        took = asyncio.get_running_loop().time() - started
        working.cancel()
        await asyncio.wait([working])
    assert took < 20 * 0.25 / 2
