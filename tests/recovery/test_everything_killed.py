"""kill -9 of workers, PostgreSQL, Valkey and ClickHouse at random, for a while, under load.

Afterwards every read model is as a rebuild from the events makes it, and every promise holds.
CLOUDLAB_TEST_CHAOS_SECONDS says for how long.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from uuid import UUID

from cloudlab.embedded import stack
from cloudlab.errors import CloudLabError
from cloudlab.platform import Platform
from cloudlab.shop import catalog, fulfilment, invariants, orders, readmodels, sales, users
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker
from fixtures.commands import start
from recovery.conftest import Installation

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("CLOUDLAB_TEST_CHAOS_SECONDS", "15"))
SERVERS = ("postgres", "valkey", "clickhouse")
WORKERS = 2


async def shop(platform: Platform, name: str, placement: str) -> tuple[Tenant, list[UUID], list[UUID]]:
    tenant = await platform.create_tenant(name, region="eu-west-1", placement=placement)
    async with platform.session(tenant) as s:
        customers = [
            (await users.register(s, email=f"c{n}@{name}.test", first_name="C", last_name=str(n))).user_id
            for n in range(5)
        ]
        products = [
            (await catalog.add(s, sku=f"P{n}", name=f"P {n}", price=Money("1.25", "EUR"), stock=10**6)).product_id
            for n in range(10)
        ]
    return tenant, customers, products


async def trade(
    platform: Platform, opened: tuple[Tenant, list[UUID], list[UUID]], end: float, chance: random.Random
) -> int:
    """Sell until the time is up; whatever fails is tried again under its key. Return how many orders were placed."""
    tenant, customers, products = opened
    loop, gateway, placed = asyncio.get_running_loop(), Sandbox(), 0
    while loop.time() < end:
        key = f"order-{chance.randrange(2**60)}"
        lines = [(product, chance.randrange(1, 4)) for product in chance.sample(products, 3)]
        customer = chance.choice(customers)
        while True:
            try:
                async with platform.session(tenant) as s:
                    order = await orders.place(s, lines=lines, idempotency_key=key, user_id=customer)
                receipt = await gateway.capture(
                    idempotency_key=key, amount=order.total, payment_method=PaymentMethod.PAYPAL
                )
                async with platform.session(tenant) as s:
                    await fulfilment.pay(s, order.order_id, receipt)
                break
            except CloudLabError as error:
                if not error.retryable and error.code != "CL604":
                    raise
                await asyncio.sleep(0.1)
        placed += 1
    return placed


async def kill_at_random(installation: Installation, processes: ExitStack, end: float, chance: random.Random) -> int:
    """Kill something, mend it, and again. Return how often."""
    loop, kills = asyncio.get_running_loop(), 0
    workers: list[subprocess.Popen[str]] = []

    def work() -> "subprocess.Popen[str]":
        worker = processes.enter_context(start(installation.home, "worker", **installation.environment))
        processes.callback(worker.kill)
        return worker

    workers += [work() for _ in range(WORKERS)]
    while loop.time() < end:
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        victim = chance.choice([*SERVERS, *range(WORKERS)])
        log.warning("killing %s", victim)
        if isinstance(victim, int):
            workers[victim].kill()
            await asyncio.to_thread(workers[victim].communicate)
            workers[victim] = work()
        else:
            runtime = json.loads((installation.state_dir / "runtime.json").read_text())
            os.kill(runtime["servers"][victim]["pid"], signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0, 0.5))
            await stack.up(installation.state_dir)
        kills += 1
    for worker in workers:
        worker.kill()
        await asyncio.to_thread(worker.communicate)
    return kills


async def models(platform: Platform, tenants: list[Tenant]) -> dict[str, object]:
    """Return what every read model says."""

    def row(user_id: UUID, order_count: int, placed_amount: Decimal) -> tuple[UUID, int, Decimal]:
        return user_id, order_count, placed_amount

    said: dict[str, object] = {}
    for tenant in tenants:
        async with platform.session(tenant, readonly=True) as s:
            said[f"{tenant.tenant_name} sales"] = await sales.best_sellers(
                s, since=date(2000, 1, 1), until=date(2100, 1, 1), limit=1000
            )
            said[f"{tenant.tenant_name} summaries"] = await s.fetch(
                row,
                "SELECT /* test */ user_id, order_count, placed_amount FROM user_order_summaries ORDER BY user_id",
            )
    for table, query in {
        "orders": "SELECT count() AS n, groupBitXor(cityHash64(*)) AS h FROM orders FINAL",
        "order_items": "SELECT count() AS n, groupBitXor(cityHash64(*)) AS h FROM order_items FINAL",
        "payments": "SELECT count() AS n, groupBitXor(cityHash64(*)) AS h FROM payments FINAL",
    }.items():
        said[table] = await platform.analytics.query(query)
    return said


async def test_every_read_model_is_as_a_rebuild_makes_it_whatever_was_killed(installation: Installation):
    seed = random.SystemRandom().randrange(2**32)
    log.warning("seed %d", seed)
    chance = random.Random(seed)
    async with Platform.open(installation.config, projections=readmodels.ALL) as platform:
        shops = [await shop(platform, f"chaos-{placement}", placement) for placement in ("row", "schema")]
        end = asyncio.get_running_loop().time() + SECONDS
        with ExitStack() as processes:
            killing = asyncio.create_task(kill_at_random(installation, processes, end, chance))
            placed = await asyncio.gather(
                *(trade(platform, each, end, random.Random(seed + n)) for n in range(3) for each in shops)
            )
            kills = await killing
        await stack.up(installation.state_dir)
        await Worker(platform).run_until_caught_up()
        tenants = [tenant for tenant, _, _ in shops]
        before = await models(platform, tenants)
        for projection in (readmodels.user_order_summaries, sales.product_sales, readmodels.order_facts):
            await platform.readers.rebuild(projection)
        assert await models(platform, tenants) == before
        for shard in installation.config.shards:
            assert await platform.readers.parked(shard.name) == []
        count = 0
        for tenant in tenants:
            async with platform.session(tenant, readonly=True) as s:
                verdicts = [
                    *await invariants.check(s),
                    await invariants.summarised(s),
                    await invariants.reconcile(s, platform.analytics),
                ]
                count += (await invariants.totals(s)).orders
            assert all(verdict.holds for verdict in verdicts), verdicts
        assert count == sum(placed)
        assert kills > SECONDS / 6
    log.warning("%d orders, %d kills", count, kills)
