"""Projections: exactly once in effect, never skipping, whatever fails.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from cloudlab.config import Config
from cloudlab.errors import ProjectionFailed
from cloudlab.events import store as events
from cloudlab.events.projections import InlineProjection, Projection, Stores
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, invariants, inventory, orders, readmodels, users
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Event, Money, NewEvent, Stream
from cloudlab.worker import Worker
from fixtures.pgbouncer import THROUGH_PGBOUNCER

ROUTES = THROUGH_PGBOUNCER


class Collector:
    """Applies batches to a list, and fails when told to."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.broken = False

    async def apply(self, stores: Stores, batch: Sequence[Event]) -> None:
        if self.broken:
            raise ZeroDivisionError("broken on purpose")
        self.seen += batch


async def happen(platform: Platform, tenant: Tenant, count: int = 1) -> None:
    async with platform.session(tenant) as s:
        stream = Stream("Thing", uuid4())
        await events.append(s, stream, [NewEvent("Happened", {"n": "1"})] * count, expected_version=events.NEW)


async def test_batches_follow_each_other_without_gap_or_twin(config: Config):
    collector = Collector()
    projection = Projection("collector", frozenset({"Happened"}), collector.apply, batch_size=3)
    async with Platform.open(config, projections=[projection]) as platform:
        acme = await platform.create_tenant("acme")
        await happen(platform, acme, 10)
        assert await Worker(platform).run_until_caught_up() == 10
        await happen(platform, acme, 5)
        assert await Worker(platform).run_until_caught_up() == 5
    assert [event.event_version for event in collector.seen] == [*range(1, 11), *range(1, 6)]


async def test_a_batch_that_fails_is_on_record_and_comes_again(config: Config):
    collector = Collector()
    collector.broken = True
    projection = Projection("collector", frozenset({"Happened"}), collector.apply, lanes=1)
    async with Platform.open(config, projections=[projection]) as platform:
        acme = await platform.create_tenant("acme")
        await happen(platform, acme)
        with pytest.raises(ProjectionFailed, match="broken on purpose"):
            await platform.readers.run_once(acme.shard, projection)
        (progress,) = await platform.readers.progress(acme.shard)
        assert (progress.event_position, progress.failed_attempts, progress.lag_events) == (0, 1, 1)
        assert "broken on purpose" in (progress.last_error or "")
        collector.broken = False
        assert await platform.readers.run_once(acme.shard, projection) == 1
        (progress,) = await platform.readers.progress(acme.shard)
        assert (progress.failed_attempts, progress.last_error, progress.lag_events) == (0, None, 0)
    assert len(collector.seen) == 1


async def test_two_workers_share_a_projection_without_doubling(config: Config):
    collector = Collector()
    projection = Projection("collector", frozenset({"Happened"}), collector.apply, batch_size=2)
    async with (
        Platform.open(config, projections=[projection]) as first,
        Platform.open(config, projections=[projection]) as second,
    ):
        acme = await first.create_tenant("acme")
        for _ in range(10):
            await happen(first, acme, 5)
        await asyncio.gather(Worker(first).run_until_caught_up(), Worker(second).run_until_caught_up())
    by_stream: dict[UUID, list[int]] = {}
    for event in collector.seen:
        by_stream.setdefault(event.aggregate_id, []).append(event.event_version)
    assert list(by_stream.values()) == [[1, 2, 3, 4, 5]] * 10


async def test_an_inline_projection_that_fails_undoes_the_event(config: Config):
    async def refuse(s: Session, batch: Sequence[Event]) -> None:
        raise ZeroDivisionError

    inline = InlineProjection("refuser", frozenset({"Happened"}), refuse)
    async with Platform.open(config, projections=[inline]) as platform:
        acme = await platform.create_tenant("acme")
        with pytest.raises(ZeroDivisionError):
            await happen(platform, acme)
        async with platform.session(acme) as s:
            assert await s.execute("SELECT FROM events") == 0


async def test_orders_reach_clickhouse_once_even_when_every_batch_comes_twice(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        product = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("0.125", "EUR"), stock=100)
        for number in range(7):
            line = orders.OrderLine(product.product_id, number + 1)
            await orders.place(s, lines=[line, line], idempotency_key=str(number))
    await Worker(platform).run_until_caught_up()
    async with platform.session(acme) as s:
        assert (await invariants.reconcile(s, platform.analytics)).holds
    await rewind(platform, acme)
    await Worker(platform).run_until_caught_up()
    async with platform.session(acme) as s:
        verdict = await invariants.reconcile(s, platform.analytics)
        assert verdict.holds, verdict
        assert "7 orders, 14 lines" in verdict.detail


async def rewind(platform: Platform, tenant: Tenant) -> None:
    """Forget how far the readers came, as a crash before the checkpoint does."""
    for projection in platform.readers.projections:
        assert (await platform.readers.progress(tenant.shard))[0].event_position > 0, projection.name
    async with platform._pools.transaction(
        next(shard.urls.worker_url for shard in platform.config.shards if shard.name == tenant.shard)
    ) as transaction:
        await transaction.execute("UPDATE cloudlab.projection_checkpoints SET event_position = 0")


async def test_the_shop_sells_on_while_clickhouse_and_cache_are_away_and_they_catch_up_later(config: Config):
    away = dataclasses.replace(config, analytics_url="http://127.0.0.1:1/cloudlab", cache_url="redis://127.0.0.1:1")
    async with Platform.open(away, projections=readmodels.ALL) as platform:
        acme = await platform.create_tenant("acme")
        async with platform.session(acme) as s:
            product = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("10", "EUR"), stock=9)
            await orders.place(s, lines=[(product.product_id, 2)], idempotency_key="k")
        for projection in (readmodels.product_cache, readmodels.order_facts):
            with pytest.raises(ProjectionFailed):
                await platform.readers.run_once(acme.shard, projection)
        recorded = await platform.readers.progress(acme.shard)
        # An outage is on record and never counts towards parking.
        assert {item.projection_name for item in recorded if item.last_error} == {"order_facts", "product_cache"}
        assert {item.failed_attempts for item in recorded} == {0}
    async with Platform.open(config, projections=readmodels.ALL) as platform:
        await Worker(platform).run_until_caught_up()
        async with platform.session(acme) as s:
            assert (await invariants.reconcile(s, platform.analytics)).holds


async def test_a_changed_price_is_seen_through_the_cache_after_the_worker(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        product = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("10", "EUR"), stock=1)

    async def seen() -> Money:
        found = await catalog.view(
            platform.cache, lambda: platform.session(acme, readonly=True), acme.tenant_id, product.product_id
        )
        return found.price

    assert [await seen(), await seen()] == [Money("10", "EUR")] * 2
    assert (platform.cache.statistics.hits, platform.cache.statistics.misses) == (1, 1)
    async with platform.session(acme) as s:
        await catalog.change_price(s, product.product_id, Money("12", "EUR"))
        await inventory.receive(s, product.product_id, 5)
    await Worker(platform).run_until_caught_up()
    assert await seen() == Money("12", "EUR")


async def test_summaries_follow_in_the_transaction_of_the_order(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        user_id = (await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")).user_id
        product = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("10", "EUR"), stock=9)
        for number in range(3):
            line = orders.OrderLine(product.product_id, 1)
            await orders.place(s, user_id=user_id, lines=[line], idempotency_key=str(number))
    async with platform.session(acme) as s:
        rows = await s.fetch(dict, "SELECT user_id, order_count, placed_amount FROM user_order_summaries")
    assert rows == [{"user_id": user_id, "order_count": 3, "placed_amount": Money("30", "EUR").amount}]
