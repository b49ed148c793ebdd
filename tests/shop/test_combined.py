"""Orders that many callers place at once share commits; each keeps its own outcome."""

import asyncio

from cloudlab.errors import NotFound, OutOfStock
from cloudlab.platform import Platform
from cloudlab.shop import catalog, inventory, orders
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money, uuid7


async def test_a_flash_sale_sells_exactly_what_there_is(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("5", "EUR"), stock=50)

    async def buy(buyer: int) -> object:
        wanted = orders.NewOrder(lines=[(lamp.product_id, 1)], idempotency_key=f"buyer-{buyer}")
        try:
            return await platform.combine(acme, orders.place_all, wanted, most=64)
        except OutOfStock as error:
            return error

    outcomes = await asyncio.gather(*(buy(buyer) for buyer in range(300)))

    placed = [each for each in outcomes if isinstance(each, orders.Order)]
    assert len(placed) == len({order.order_id for order in placed}) == 50
    assert sum(isinstance(each, OutOfStock) for each in outcomes) == 250
    async with platform.session(acme, readonly=True) as s:
        level = await inventory.level(s, lamp.product_id)
        assert (level.available, level.reserved) == (0, 50)


async def test_a_hundred_double_submits_are_one_order_and_one_bad_order_fails_alone(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("5", "EUR"), stock=50)
    twin = orders.NewOrder(lines=[(lamp.product_id, 2)], idempotency_key="twin")
    bad = orders.NewOrder(lines=[(uuid7(), 1)], idempotency_key="bad")

    outcomes = await asyncio.gather(
        *(platform.combine(acme, orders.place_all, each, most=64) for each in [twin] * 100 + [bad]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[-1], NotFound)
    assert len({each.order_id for each in outcomes[:-1] if isinstance(each, orders.Order)}) == 1
    async with platform.session(acme, readonly=True) as s:
        assert (await inventory.level(s, lamp.product_id)).reserved == 2
