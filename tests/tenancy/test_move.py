"""A move loses and doubles nothing: every row, every event, whatever the placement, there and back again.

Standard: §7.2 Tenant-Based Sharding, §4.1 Tenant-Specific Schemas
"""

import asyncio
import dataclasses
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import Conflict, InvalidInput, TenantSuspended, TimedOut, WrongShard
from cloudlab.events import store
from cloudlab.events.types import event
from cloudlab.platform import Platform
from cloudlab.sagas import Saga, Sleep, start
from cloudlab.shop import readmodels
from cloudlab.tenancy import move_places
from cloudlab.tenancy.move_rows import sees_all
from cloudlab.tenancy.moves import MoveProgress, MoveState
from cloudlab.tenancy.tenants import shard_config
from cloudlab.values import Stream
from fixtures.moving import catch_up, fill, fingerprints, leftovers, move, stream_of

EAST, WEST = "us_east_001", "eu_west_001"


@event("LampLit")
class LampLit:
    watts: int = 5


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_everything_a_tenant_has_arrives_as_it_was(platform: Platform, placement: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    done = await move(platform, tenant, EAST)
    assert (done.state, done.target) == (MoveState.GRACE, EAST)
    moved = await platform.tenant("acme")
    assert (moved.shard, moved.epoch, moved.placement) == (EAST, 2, placement)
    assert await fingerprints(platform, moved) == before
    assert done.checked_rows == sum(count for count, _ in before.values())


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_there_and_back_again_and_again(platform: Platform, placement: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
    rival = await platform.create_tenant("rival", region="eu-west-1", placement=placement)
    await fill(platform, rival)
    untouched = await fingerprints(platform, rival)
    for to in (EAST, WEST, EAST, WEST):
        await fill(platform, tenant, many=1)
        before = await fingerprints(platform, tenant)
        await move(platform, tenant, to)
        if to == EAST:
            assert await platform.moves.finish(tenant) > 0
        tenant = await platform.tenant("acme")
        assert await fingerprints(platform, tenant) == before
        assert [event.event_version for event in await stream_of(platform, tenant)] == [1, 2]
    await platform.moves.finish(tenant)
    assert await fingerprints(platform, tenant) == before
    assert await leftovers(platform, tenant, EAST) == 0
    assert await fingerprints(platform, rival) == untouched


@pytest.mark.parametrize(("first", "second"), [("row", "schema"), ("schema", "row")])
@pytest.mark.parametrize("shard", [EAST, WEST])
async def test_the_placement_changes_on_the_way_or_in_place(platform: Platform, first: str, second: str, shard: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=first)
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    await move(platform, tenant, shard, placement=second)
    moved = await platform.tenant("acme")
    assert (moved.placement, moved.shard) == (second, shard)
    assert moved.schema_name == ("shop" if second == "row" else "tenant2_acme")
    assert await fingerprints(platform, moved) == before
    await platform.moves.finish(moved)
    await fill(platform, moved, many=1)
    after = await fingerprints(platform, moved)
    assert {name: count > after[name][0] for name, (count, _) in before.items() if count > after[name][0]} == {}


async def test_a_rebuild_after_a_move_reads_the_whole_history(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    await move(platform, tenant, EAST)
    tenant = await platform.tenant("acme")
    await fill(platform, tenant)
    await platform.moves.finish(tenant)
    sold = (await fingerprints(platform, tenant))["product_sales"][0]
    assert sold > 0
    before = await sales(platform, tenant)
    await platform.readers.rebuild(readmodels.product_sales)
    assert await sales(platform, tenant) == before


async def sales(platform: Platform, tenant) -> list[tuple]:
    async with platform.session(tenant, readonly=True) as s:
        return sorted(await s.fetch_tuples("SELECT product_id::text, unit_count, revenue_amount FROM product_sales"))


async def test_a_stale_route_is_refused_by_the_shard_and_mended_by_run(platform: Platform, config: Config):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant, many=1)
    async with Platform.open(config, projections=readmodels.ALL) as stale:
        await stale.tenant("acme")
        await move(platform, tenant, EAST)
        with pytest.raises(WrongShard):
            async with stale.session(tenant) as s:
                await s.execute("SELECT")
        assert await stale.run(tenant, lambda s: s.execute("SELECT FROM orders")) == 1


async def test_a_control_database_that_is_down_stops_no_session_whose_route_is_known(
    platform: Platform, config: Config
):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    nowhere = "postgresql://nobody@127.0.0.1:1/x?connect_timeout=1"
    lost = dataclasses.replace(config, control=dataclasses.replace(config.control, app_url=nowhere, owner_url=nowhere))
    async with Platform.open(lost) as cut_off:
        assert await cut_off.run(tenant, lambda s: s.execute("SELECT")) == 1
        await fill(platform, tenant, many=1)
        await move(platform, tenant, EAST)
        assert await cut_off.run(tenant, lambda s: s.execute("SELECT FROM orders")) == 1


async def test_a_tenant_of_placement_database_is_alone(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    other = await platform.create_tenant("other", region="us-east-1")
    with pytest.raises(InvalidInput, match="holds other"):
        await move(platform, tenant, EAST, placement="database")
    await move(platform, other, WEST)
    await move(platform, tenant, EAST, placement="database")
    assert (await platform.tenant("acme")).placement == "database"
    with pytest.raises(InvalidInput, match="holds acme"):
        await move(platform, await platform.tenant("other"), EAST)
    assert (await platform.create_tenant("third")).shard == WEST


async def test_a_move_that_cannot_be_is_refused_before_anything_is_begun(platform: Platform, config: Config):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    with pytest.raises(InvalidInput, match="is kept in eu-west-1"):
        await platform.move_tenant(tenant, to_shard=EAST)
    with pytest.raises(InvalidInput, match="lives on eu_west_001 as row already"):
        await platform.move_tenant(tenant, to_shard=WEST)
    with pytest.raises(InvalidInput, match="'cloud' is not a placement"):
        await platform.move_tenant(tenant, placement="cloud")
    with pytest.raises(Conflict, match="no move of this tenant"):
        await platform.moves.abort(tenant)
    assert await platform.moves.list() == []
    plan = await platform.moves.plan(tenant, to_shard=EAST, may_leave_region=True)
    assert (plan.rows, plan.in_the_way) == (0, [])
    assert plan.tables > 20


async def test_a_paused_projection_is_named(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant, many=1)
    await platform.readers.pause(WEST, readmodels.product_sales.name)
    with pytest.raises(Conflict, match="product_sales holds up the move: it is paused"):
        await move(platform, tenant, EAST)
    await platform.readers.resume(WEST, readmodels.product_sales.name)
    assert (await platform.moves.list())[0].last_error
    assert (await move(platform, tenant, EAST)).state is MoveState.GRACE


async def test_a_saga_that_a_worker_holds_for_long_is_waited_for(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    async with platform.session(tenant) as s:
        await start(s, Saga("nap", Sleep(timedelta(hours=8))), {})
    seen: list[MoveProgress] = []
    url = shard_config(platform.config, WEST).urls.owner_url
    with psycopg.connect(url, options=f"-c app.moving_tenant_id={tenant.tenant_id}") as holder:

        def at(point: str) -> None:
            if point == "following: verified":
                holder.execute("UPDATE cloudlab.saga_instances SET lease_owner = gen_random_uuid()")

        moving = asyncio.create_task(move(platform, tenant, EAST, told=seen.append, at=at))
        while not any("holds a saga" in wait for progress in seen[-1:] for wait in progress.waits):
            await asyncio.wait([moving], timeout=0.01)
            assert not moving.done(), await moving
        holder.rollback()
    assert (await moving).state is MoveState.GRACE
    assert (await platform.tenant("acme")).shard == EAST


async def test_a_transaction_that_writes_for_ever_is_named(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(move_places, "SLOT_PATIENCE_MS", 300)
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    with psycopg.connect(shard_config(platform.config, WEST).urls.owner_url) as writer:
        writer.execute("SELECT pg_current_xact_id()")
        with pytest.raises(TimedOut, match=rf"writing for 0.3 s; one of the processes .*\b{writer.info.backend_pid}\b"):
            await move(platform, tenant, EAST)
        writer.rollback()
    assert (await move(platform, tenant, EAST)).state is MoveState.GRACE


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.x (tenant_id uuid PRIMARY KEY)", "elsewhere.x"),
        ("CREATE TABLE shop.x (id uuid PRIMARY KEY, tenant_id uuid)", "shop.x has a tenant_id that is not in"),
        ("CREATE TABLE cloudlab.x (id uuid PRIMARY KEY, tenant_id uuid)", "cloudlab.x has a tenant_id that is not in"),
    ],
)
async def test_a_table_that_a_move_does_not_know_stops_it(platform: Platform, table: str, match: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    with psycopg.connect(shard_config(platform.config, WEST).urls.owner_url, autocommit=True) as owner:
        owner.execute(table)
    with pytest.raises(Conflict, match=match):
        await move(platform, tenant, EAST)


async def test_a_table_of_today_is_moved_unasked(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    for shard in platform.config.shards:
        with psycopg.connect(shard.urls.owner_url, autocommit=True) as owner:
            owner.execute("CREATE TABLE shop.notes (tenant_id uuid, note text, PRIMARY KEY (tenant_id, note))")
            owner.execute("SET search_path = shop, cloudlab; SELECT protect_table('notes', 'true', 'INSERT')")
    async with platform.session(tenant) as s:
        s.queue("INSERT INTO notes VALUES (%(tenant)s::uuid, 'kept')", tenant=tenant.tenant_id)
    await move(platform, tenant, EAST)
    async with platform.session(await platform.tenant("acme")) as s:
        assert await s.fetch_tuples("SELECT note FROM notes") == [("kept",)]


async def test_a_suspended_tenant_arrives_suspended(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    with psycopg.connect(shard_config(platform.config, WEST).urls.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE cloudlab.tenant_local SET state = 'suspended'")
    await move(platform, tenant, EAST)
    with pytest.raises(TenantSuspended):
        async with platform.session(await platform.tenant("acme")) as s:
            await s.execute("SELECT")


async def test_readers_see_no_event_twice_and_new_ones_above_all_old_ones(platform: Platform):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    old = await platform.read_feed(WEST, after=0, limit=1000)
    await move(platform, tenant, EAST)
    assert await platform.read_feed(EAST, after=0, limit=1000) == []
    moved = await platform.tenant("acme")
    async with platform.session(moved) as s:
        await store.append(s, Stream("Lamp", uuid4()), [LampLit()], expected_version=0)
    (new,) = await platform.read_feed(EAST, after=0, limit=1000)
    assert new.event_position > max(event.event_position for event in old)
    await catch_up(platform)


@pytest.mark.parametrize(
    ("snapshot", "xids", "sees"),
    [
        ("10:12:", [9, 10, 11], True),
        ("10:12:10", [11], True),
        ("10:12:10", [10], False),
        ("10:12:", [12], False),
        ("4294967306:4294967308:4294967306", [9, 11], True),
        ("4294967306:4294967308:4294967306", [10], False),
        ("4294967290:4294967298:", [2**32 - 3, 1], True),
    ],
)
async def test_a_commit_that_the_log_told_before_it_was_seen_is_waited_for(snapshot: str, xids: list[int], sees: bool):
    assert sees_all(snapshot, xids) == sees
