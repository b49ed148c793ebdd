"""A shard restored to an earlier time: what ran ahead in the cache and in ClickHouse is forgotten."""

import dataclasses
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, invariants, orders, readmodels
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker
from fixtures.postgres import Cluster


def copied(cluster: Cluster, config: Config, tenant: Tenant, target: str, file: Path) -> Config:
    """Dump the tenant's shard, restore it into another database, and return a configuration that names that one."""
    (shard,) = [each for each in config.shards if each.name == tenant.shard]
    source = str(conninfo_to_dict(shard.urls.worker_url)["dbname"])
    cluster.copy(source, target, file)
    shards = tuple(
        dataclasses.replace(each, urls=cluster.urls(target)) if each.name == tenant.shard else each
        for each in config.shards
    )
    return dataclasses.replace(config, shards=shards)


async def buy(platform: Platform, tenant: Tenant, *keys: str) -> None:
    async with platform.session(tenant) as s:
        lamp = await catalog.find_by_sku(s, "LAMP")
        for key in keys:
            await orders.place(s, lines=[(lamp.product_id, 1)], idempotency_key=key)


async def test_nothing_of_the_lost_future_is_left(config: Config, postgres: Cluster, tmp_path: Path):
    with postgres.database("rewound") as name:
        async with Platform.open(config, projections=readmodels.ALL) as platform:
            tenant = await platform.create_tenant("acme", region="eu-west-1")
            async with platform.session(tenant) as s:
                lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("1", "EUR"), stock=100)
            await buy(platform, tenant, "a", "b")
            await Worker(platform).run_until_caught_up()
            before = copied(postgres, config, tenant, name, tmp_path / "dump")
            await buy(platform, tenant, "lost-1", "lost-2", "lost-3")
            async with platform.session(tenant) as s:
                for price in ("2", "3", "4"):
                    await catalog.change_price(s, lamp.product_id, Money(price, "EUR"))
            await Worker(platform).run_until_caught_up()

        async with Platform.open(before, projections=readmodels.ALL) as platform:
            async with platform.session(tenant) as s:
                assert not (await invariants.reconcile(s, platform.analytics)).holds
                await catalog.change_price(s, lamp.product_id, Money("7", "EUR"))
            assert await platform.readers.restored(tenant.shard) == ["order_facts"]
            await buy(platform, tenant, "c")
            await Worker(platform).run_until_caught_up()
            async with platform.session(tenant) as s:
                verdict = await invariants.reconcile(s, platform.analytics)
            assert verdict.holds, verdict
            assert "3 orders" in verdict.detail

            def session() -> AbstractAsyncContextManager[Session]:
                return platform.session(tenant, readonly=True)

            for _ in range(2):  # loaded, then from the copy, which no floor of the lost future keeps out
                seen = await catalog.view(platform.cache, session, tenant.tenant_id, lamp.product_id)
                assert seen.price == Money("7", "EUR")
            assert platform.cache.statistics.hits == 1
