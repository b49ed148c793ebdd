"""A tenant moves while eight write, two read and sagas run: nobody sees an error, nothing is lost, nothing is doubled.

Standard: §7.2 Tenant-Based Sharding, §3.3 Saga State Management
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from cloudlab import sagas
from cloudlab.config import Config
from cloudlab.events.projections import Projection, Stores
from cloudlab.platform import Platform
from cloudlab.sagas import Saga
from cloudlab.shop import catalog, orders, readmodels, users
from cloudlab.tenancy.balance import carry_out, plan_drain, plan_rebalance
from cloudlab.tenancy.moves import MoveState
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Event, Money
from cloudlab.worker import Worker
from fixtures.moving import fill, fingerprints
from fixtures.working import at_work
from sagas.making import Outside, make_table, marking, marks

EAST, WEST = "us_east_001", "eu_west_001"
WRITERS, READERS = 8, 2


class Heard:
    """An external reader that remembers, by event, how often and in which order it was told."""

    def __init__(self) -> None:
        self.times: Counter[UUID] = Counter()
        self.versions: dict[UUID, list[int]] = {}

    async def apply(self, stores: Stores, events: Sequence[Event]) -> None:
        for event in events:
            self.times[event.event_id] += 1
            self.versions.setdefault(event.aggregate_id, []).append(event.event_version)

    def projection(self) -> Projection:
        return Projection("heard", frozenset({"OrderPlaced", "OrderCancelled"}), self.apply)


class Load:
    """Clients that know the tenant by its id, and go on until they are stopped."""

    def __init__(self, platform: Platform, tenant: Tenant, trip: Saga) -> None:
        self.platform, self.tenant, self.trip = platform, tenant, trip
        self.placed: list[UUID] = []
        self.trips: list[UUID] = []
        self.reads = 0
        self.stopped = asyncio.Event()

    async def prepare(self) -> None:
        async with self.platform.session(self.tenant) as s:
            user = await users.register(s, email="ada@shop.test", first_name="Ada", last_name="L")
            self.user_id = user.user_id
            self.products = [
                await catalog.add(s, sku=f"P{n}", name="Lamp", price=Money("1", "EUR"), stock=10**6) for n in range(8)
            ]

    async def write(self, number: int) -> None:
        while not self.stopped.is_set():
            key, line = uuid4().hex, orders.OrderLine(self.products[number].product_id, 1)

            async def work(s, key=key, line=line) -> tuple[UUID, UUID]:
                order = await orders.place(s, user_id=self.user_id, lines=[line], idempotency_key=key)
                return order.order_id, await sagas.start(s, self.trip, {"key": key}, key=key)

            order_id, saga_id = await self.platform.run(await self.platform.tenant("acme"), work)
            self.placed.append(order_id)
            self.trips.append(saga_id)
            await asyncio.sleep(0.05)

    async def read(self) -> None:
        while not self.stopped.is_set():
            tenant, known = await self.platform.tenant("acme"), len(self.placed)
            found = await self.platform.run(tenant, lambda s: s.execute("SELECT FROM orders"), readonly=True)
            assert found >= known, (
                "what was acknowledged before the read began is seen by it, wherever the tenant lives"
            )
            self.reads += 1
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_a_move_under_load(config: Config, tmp_path: Path, placement: str):
    await make_table(config)  # in the shared schema alone
    outside, heard = Outside(tmp_path / "outside"), Heard()
    inside = [marking("a"), marking("c")] if placement == "row" else []
    trip = Saga("trip", outside.step("b"), *inside)
    async with Platform.open(config, projections=[*readmodels.ALL, heard.projection()], sagas=[trip]) as platform:
        tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
        load = Load(platform, tenant, trip)
        await load.prepare()
        async with at_work(platform):
            async with asyncio.TaskGroup() as clients:
                for number in range(WRITERS):
                    clients.create_task(load.write(number))
                for _ in range(READERS):
                    clients.create_task(load.read())
                await asyncio.sleep(1)
                before = len(load.placed)
                there = await platform.move_tenant(tenant, to_shard=EAST, may_leave_region=True)
                back = await platform.move_tenant(await platform.tenant("acme"), to_shard=WEST, may_leave_region=True)
                await asyncio.sleep(0.5)
                load.stopped.set()
            assert (there.state, back.state) == (MoveState.GRACE, MoveState.GRACE)
            assert len(load.placed) > before
            assert load.reads > 0
            await all_ended(platform, load)
        await Worker(platform).run_until_caught_up()
        await nothing_is_lost_or_doubled(platform, load, heard, outside)


async def all_ended(platform: Platform, load: Load) -> None:
    async with asyncio.timeout(60):
        while True:
            async with platform.session(await platform.tenant("acme")) as s:
                open_ = await s.execute("SELECT FROM saga_instances WHERE status <> 'completed'")
            if not open_:
                return
            await asyncio.sleep(0.1)


async def nothing_is_lost_or_doubled(platform: Platform, load: Load, heard: Heard, outside: Outside) -> None:
    tenant = await platform.tenant("acme")
    async with platform.session(tenant) as s:
        found = {row[0] for row in await s.fetch_tuples("SELECT order_id FROM orders")}
        ((sold,),) = await s.fetch_tuples("SELECT sum(unit_count)::integer FROM product_sales")
        events = await s.fetch_tuples("SELECT event_id FROM events WHERE event_type = 'OrderPlaced'")
        gaps = await s.execute(
            "SELECT FROM events GROUP BY aggregate_id HAVING count(*) <> max(event_version) OR min(event_version) <> 1"
        )
        streams = await s.execute(
            "SELECT FROM event_streams AS t WHERE event_version <>"
            " (SELECT count(*) FROM events AS e WHERE e.aggregate_id = t.aggregate_id)"
        )
    assert found == set(load.placed)
    assert sold == len(load.placed)
    assert set(heard.times) == {row[0] for row in events}
    assert all(versions == sorted(versions) for versions in heard.versions.values())
    assert (gaps, streams) == (0, 0)
    for saga_id in load.trips if tenant.placement == "row" else ():
        assert await marks(platform, tenant, saga_id) == ["a", "c"]
    assert Counter(outside.done()) == Counter(b=len(load.trips))


def one_region(config: Config) -> Config:
    """Let both shards stand in one region, in the directory too."""
    with psycopg.connect(config.control.owner_url, autocommit=True) as control:
        control.execute("UPDATE cloudlab.shards SET region = 'eu-west-1'")
    return replace(config, shards=tuple(replace(shard, region="eu-west-1") for shard in config.shards))


async def test_a_shard_is_drained_and_the_tenants_are_spread_again(config: Config):
    """Shards of one region: the tenants go to the emptiest, and each has what it had."""
    async with Platform.open(config, projections=readmodels.ALL) as platform:
        for number in range(4):
            tenant = await platform.create_tenant(
                f"t{number}", region="eu-west-1", placement=("row", "schema")[number % 2]
            )
            await fill(platform, tenant, many=1)
        before = {tenant.tenant_name: await fingerprints(platform, tenant) for tenant in await platform.tenants()}
        pools = platform._pools
        steps = await plan_drain(pools, one_region(config), WEST)
        assert [(step.source, step.target) for step in steps] == [(WEST, EAST)] * 4
        told: list[int] = []
        await carry_out(pools, one_region(config), steps, lambda done, _, move: told.append(done))
        assert told == [1, 2, 3, 4]
        platform._routes.clear()
        after = {tenant.tenant_name: await fingerprints(platform, tenant) for tenant in await platform.tenants()}
        assert after == before
        assert {tenant.shard for tenant in await platform.tenants()} == {EAST}
        spread = await plan_rebalance(pools, one_region(config))
        assert [(step.source, step.target) for step in spread] == [(EAST, WEST)] * 2
