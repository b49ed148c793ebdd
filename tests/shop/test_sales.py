"""Best sellers follow the orders exactly."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from cloudlab.platform import Platform
from cloudlab.shop import catalog, orders, readmodels, sales
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_best_sellers_add_up_by_day_and_survive_a_rebuild(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("0.125", "EUR"), stock=1000)
        desk = await catalog.add(s, sku="DESK", name="Desk", price=Money("100", "EUR"), stock=1000)
        for number in range(9):
            await orders.place(
                s,
                lines=[(lamp.product_id, 8), (desk.product_id, 1), (lamp.product_id, 8)],
                idempotency_key=str(number),
                placed_at=DAY + timedelta(days=number // 3),
            )
    await Worker(platform).run_until_caught_up()
    for _ in range(2):
        async with platform.session(acme, readonly=True) as s:
            found = await sales.best_sellers(s, since=date(2026, 3, 1), until=date(2026, 3, 2))
            assert [(item.sku, item.orders, item.units, item.revenue) for item in found] == [
                ("DESK", 6, 6, Decimal(600)), ("LAMP", 6, 96, Decimal(12)),
            ]  # fmt: skip
            assert await sales.best_sellers(s, since=date(2026, 4, 1), until=date(2026, 5, 1)) == []
        await platform.readers.rebuild(readmodels.product_sales)
