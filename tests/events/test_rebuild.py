"""A projection is rebuilt beside the live one; readers never fail, writers lose nothing."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from cloudlab.config import Config
from cloudlab.errors import InvalidInput, ProjectionFailed
from cloudlab.events.projections import InlineProjection, ReadModel
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import catalog, invariants, orders, readmodels
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Event, Money
from cloudlab.worker import Worker
from fixtures.counting import TOUCHED, count, counts, inline, make_table, model, sql_model, streams, touch


async def spoil(config: Config, tenant: Tenant, schema: str) -> None:
    """Change the read model behind its projection's back."""
    (shard,) = [shard for shard in config.shards if shard.name == tenant.shard]
    async with Pools(config.limits) as pools, pools.transaction(shard.urls.worker_url) as transaction:
        await transaction.execute(
            """
            SELECT /* test */ set_config('search_path', %(schema)s, true), cloudlab.enter_read_model(%(tenant)s::uuid)
            """,
            schema=schema,
            tenant=tenant.tenant_id,
        )
        await transaction.execute("DELETE FROM /* test */ touch_counts")


async def shape(config: Config, tenant: Tenant) -> list[str]:
    """Describe the table and everything on it."""
    (shard,) = [shard for shard in config.shards if shard.name == tenant.shard]

    def text(what: str) -> str:
        return what

    async with Pools(config.limits) as pools, pools.transaction(shard.urls.owner_url) as transaction:
        result = await transaction.execute(
            """
            WITH t AS (SELECT 'shop.touch_counts'::regclass AS oid)
            SELECT /* test */ what FROM (
                SELECT 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull AS what
                FROM pg_attribute AS a JOIN t ON t.oid = a.attrelid WHERE a.attnum > 0
                UNION ALL
                SELECT 'constraint ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
                FROM pg_constraint AS c JOIN t ON t.oid = c.conrelid
                UNION ALL
                SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN t ON t.oid = i.indrelid
                UNION ALL
                SELECT 'policy ' || concat_ws(' ', p.policyname, p.permissive, p.roles, p.cmd, p.qual, p.with_check)
                FROM pg_policies AS p WHERE p.tablename = 'touch_counts' AND p.schemaname = 'shop'
                UNION ALL
                SELECT 'grant ' || concat_ws(' ', g.grantee, g.privilege_type)
                FROM information_schema.role_table_grants AS g
                WHERE g.table_name = 'touch_counts' AND g.table_schema = 'shop'
                UNION ALL
                SELECT 'rls ' || c.relrowsecurity || c.relforcerowsecurity
                FROM pg_class AS c JOIN t ON t.oid = c.oid) AS s
            ORDER BY what
            """
        )
        return result.rows(text)


@pytest.mark.parametrize("made", [model, sql_model, inline])
async def test_a_rebuild_mends_a_model_while_writers_and_readers_go_on(config: Config, made: type[ReadModel]):
    await make_table(config)
    following = made()
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        some = streams(40)
        await touch(platform, acme, some, 5)
        await Worker(platform).run_until_caught_up()
        before = await shape(config, acme)
        await spoil(config, acme, "shop")
        assert await counts(platform, acme) == {}
        swapped = asyncio.Event()
        touches = 5

        async def write() -> None:
            nonlocal touches
            # A spoiled inline model refuses further writes by its CHECK: there it is rebuilt first.
            while not swapped.is_set() and not isinstance(following, InlineProjection):
                await touch(platform, acme, some)
                touches += 1

        async def read() -> None:
            while not swapped.is_set():
                await counts(platform, acme)

        working = asyncio.create_task(Worker(platform).run())
        going = [asyncio.create_task(write()), *(asyncio.create_task(read()) for _ in range(3))]
        told: list[tuple[int, int]] = []
        await asyncio.sleep(0.2)
        await platform.readers.rebuild(following, lambda done, total: told.append((done, total)))
        swapped.set()
        await asyncio.gather(*going)
        await touch(platform, acme, some)
        expected = {s.aggregate_id: touches + 1 for s in some}
        async with asyncio.timeout(20):
            while await counts(platform, acme) != expected:
                await asyncio.sleep(0.05)
        working.cancel()
        await asyncio.wait([working])
        assert await shape(config, acme) == before
        assert told
        assert await leftovers(config) == []


async def leftovers(config: Config) -> list[str]:
    """Return schemas and checkpoints that a rebuild has left behind."""

    def text(name: str) -> str:
        return name

    found: list[str] = []
    async with Pools(config.limits) as pools:
        for shard in config.shards:
            async with pools.transaction(shard.urls.owner_url) as transaction:
                result = await transaction.execute(
                    """
                    SELECT /* test */ nspname::text AS name FROM pg_namespace WHERE nspname ~ '__'
                    UNION ALL SELECT projection_name FROM cloudlab.projections WHERE projection_name ~ '@'
                    """
                )
                found += result.rows(text)
    return found


async def test_an_inline_model_is_rebuilt_under_writers_without_losing_or_doubling(config: Config):
    await make_table(config)
    following = inline()
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        some = streams(30)
        await touch(platform, acme, some, 10)
        stop = asyncio.Event()
        touches = dict.fromkeys((s.aggregate_id for s in some), 10)

        async def write(number: int) -> None:
            while not stop.is_set():
                mine = some[number::3]
                await touch(platform, acme, mine)
                for stream in mine:
                    touches[stream.aggregate_id] += 1

        writers = [asyncio.create_task(write(number)) for number in range(3)]
        for _ in range(3):
            await platform.readers.rebuild(following)
        stop.set()
        await asyncio.gather(*writers)
        assert await counts(platform, acme) == touches


async def test_an_inline_model_that_cannot_take_an_event_stays_as_it_is(config: Config):
    await make_table(config)
    following = inline()
    async with Platform.open(config, projections=[]) as without:
        acme = await without.create_tenant("acme")
        some = streams(3)
        await touch(without, acme, some[:1])
        await touch(without, acme, some[:1], poison="yes")
        await touch(without, acme, some[1:])
    async with Platform.open(config, projections=[following]) as platform:
        late = streams(1)
        await touch(platform, acme, late)
        live = {late[0].aggregate_id: 1}
        for _ in range(2):
            with pytest.raises(
                ProjectionFailed, match=rf"cannot apply event \d+ \(Touched\) of {some[0].aggregate_id}"
            ):
                await platform.readers.rebuild(following)
            assert await counts(platform, acme) == live
    mended = replace(following, apply=tolerant)
    async with Platform.open(config, projections=[mended]) as platform:
        await platform.readers.rebuild(mended)
        assert await counts(platform, acme) == live | {s.aggregate_id: 1 for s in some[1:]} | {some[0].aggregate_id: 2}
        assert await leftovers(config) == []


async def tolerant(s: Session, events: Sequence[Event]) -> None:
    await count(s, [replace(event, event_data={}) for event in events])


async def test_a_rebuild_leaves_a_paused_projection_paused(config: Config):
    await make_table(config)
    following = model()
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        await touch(platform, acme, streams(5))
        await Worker(platform).run_until_caught_up()
        other = next(shard.name for shard in config.shards if shard.name != acme.shard)
        await platform.readers.pause(acme.shard, "touch_counts")
        await platform.readers.rebuild(following)
        states = {
            shard: {lane.state for lane in await platform.readers.progress(shard)} for shard in (acme.shard, other)
        }
        assert states == {acme.shard: {"paused"}, other: {"live"}}


async def test_a_rebuild_that_was_cut_off_goes_on_where_it_stood(config: Config):
    await make_table(config)
    following = model(batch_size=2)
    async with Platform.open(config, projections=[following]) as platform:
        acme = await platform.create_tenant("acme")
        some = streams(100)
        await touch(platform, acme, some, 4)
        await Worker(platform).run_until_caught_up()
        rebuilding = asyncio.create_task(platform.readers.rebuild(following))
        async with asyncio.timeout(20):
            while not (reached := await rebuilt_positions(platform, acme)):
                await asyncio.sleep(0)
        rebuilding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await rebuilding
        assert await counts(platform, acme) == {s.aggregate_id: 4 for s in some}
        again: list[int] = []
        await platform.readers.rebuild(following, lambda done, _: again.append(done))
        assert min(again) >= reached
        assert await counts(platform, acme) == {s.aggregate_id: 4 for s in some}


async def rebuilt_positions(platform: Platform, tenant: Tenant) -> int:
    """Return how far the copy has come, over all its lanes."""
    lanes = await platform.readers.progress(tenant.shard)
    return sum(item.event_position for item in lanes if item.projection_name.endswith("@rebuild"))


async def test_a_rebuild_of_clickhouse_tables_drops_what_no_event_says(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        product = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("0.125", "EUR"), stock=100)
        for number in range(7):
            await orders.place(s, lines=[(product.product_id, number + 1)], idempotency_key=str(number))
    await Worker(platform).run_until_caught_up()
    ghost = (acme.tenant_id, UUID(int=1), "GHOST", None, "paid", "EUR", 1, 1, "2026-01-01 00:00:00", 1, 1, 1)
    await platform.analytics.insert("orders", readmodels._ORDER_COLUMNS, [ghost])
    async with platform.session(acme) as s:
        assert not (await invariants.reconcile(s, platform.analytics)).holds

    await platform.readers.rebuild(readmodels.order_facts)

    async with platform.session(acme) as s:
        verdict = await invariants.reconcile(s, platform.analytics)
        assert verdict.holds, verdict
        await orders.place(s, lines=[(product.product_id, 1)], idempotency_key="after")
    await Worker(platform).run_until_caught_up()
    async with platform.session(acme) as s:
        assert (await invariants.reconcile(s, platform.analytics)).holds


async def test_what_cannot_be_rebuilt_is_refused(config: Config):
    await make_table(config)
    async with Platform.open(config, projections=[]) as platform:
        acme = await platform.create_tenant("acme", region=config.shards[0].region)
        with pytest.raises(InvalidInput, match="names no tables"):
            await platform.readers.rebuild(ReadModel("nothing", TOUCHED, model().apply))
        async with Pools(config.limits) as pools:
            (shard,) = [shard for shard in config.shards if shard.name == acme.shard]
            async with pools.transaction(shard.urls.owner_url) as transaction:
                await transaction.execute("CREATE VIEW shop.touched AS SELECT tenant_id FROM shop.touch_counts")
        with pytest.raises(InvalidInput, match=r"cannot be swapped: view .*touched would keep the old one"):
            await platform.readers.rebuild(model())
