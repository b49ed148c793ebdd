"""Stock spread over buckets: sold side by side, and one number to everybody."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cloudlab.errors import InvalidInput, NotFound, OutOfStock, SerializationFailed
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, fulfilment, invariants, inventory, orders, reservations
from cloudlab.shop.orders import Order
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money


async def spread_lamp(platform: Platform, tenant: Tenant, *, stock: int, buckets: int = 4) -> UUID:
    async with platform.session(tenant) as s:
        lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money(1, "EUR"), stock=stock)
        assert await inventory.spread(s, lamp.product_id, buckets=buckets) == buckets
    return lamp.product_id


async def place(s: Session, *lines: tuple[UUID, int], hold: timedelta = timedelta(hours=1)) -> Order:
    return await orders.place(s, lines=lines, idempotency_key=str(uuid4()), hold=hold)


async def level(platform: Platform, tenant: Tenant, product_id: UUID) -> inventory.Level:
    async with platform.session(tenant) as s:
        for verdict in await invariants.check(s):
            assert verdict.holds, verdict
        return await inventory.level(s, product_id)


async def test_orders_of_one_product_do_not_wait_for_each_other(platform: Platform, tenant: Tenant):
    lamp = await spread_lamp(platform, tenant, stock=40)
    async with platform.session(tenant) as one, platform.session(tenant) as two, platform.session(tenant) as three:
        for s in (one, two, three):
            async with asyncio.timeout(5):
                await place(s, (lamp, 2))
    assert await level(platform, tenant, lamp) == inventory.Level(34, 6)


async def test_an_order_larger_than_any_bucket_gathers_them_and_the_rest_is_dealt_out_again(
    platform: Platform, tenant: Tenant
):
    lamp = await spread_lamp(platform, tenant, stock=10)
    async with platform.session(tenant) as s:
        await place(s, (lamp, 6))
        assert await s.fetch_tuples("SELECT available_quantity FROM inventory ORDER BY bucket_number") == [
            (1,), (1,), (1,), (1,),
        ]  # fmt: skip
    with pytest.raises(OutOfStock, match="5 of LAMP wanted, 4 in stock"):
        async with platform.session(tenant) as s:
            await place(s, (lamp, 5))
    assert await level(platform, tenant, lamp) == inventory.Level(4, 6)


async def test_sixteen_buyers_of_spread_stock_buy_exactly_what_there_is(platform: Platform, tenant: Tenant):
    lamp = await spread_lamp(platform, tenant, stock=150, buckets=8)

    async def buyer(quantity: int) -> int:
        bought = 0
        while True:
            try:
                async with platform.session(tenant) as s:
                    await place(s, (lamp, quantity))
            except OutOfStock:
                return bought
            bought += quantity

    bought = sum(await asyncio.gather(*(buyer(1 + number % 3) for number in range(16))))
    # The last to come is one who wants a single piece.
    assert bought == 150
    assert await level(platform, tenant, lamp) == inventory.Level(0, 150)


async def test_stock_may_be_spread_while_it_is_sold(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = (await catalog.add(s, sku="LAMP", name="Lamp", price=Money(1, "EUR"), stock=300)).product_id
        bulb = (await catalog.add(s, sku="BULB", name="Bulb", price=Money(1, "EUR"), stock=300)).product_id

    async def buyer() -> int:
        bought = 0
        while True:
            try:
                bought += await platform.run(tenant, buy)
            except OutOfStock:
                return bought

    async def buy(s: Session) -> int:
        await place(s, (lamp, 1), (bulb, 1))
        return 1

    async def spreader() -> None:
        for buckets in (2, 5, 9, 64):
            await asyncio.sleep(0.05)
            for product in (lamp, bulb):
                async with platform.session(tenant) as s:
                    await inventory.spread(s, product, buckets=buckets)

    *bought, _ = await asyncio.gather(*(buyer() for _ in range(16)), spreader())
    assert sum(filter(None, bought)) == 300
    assert await level(platform, tenant, lamp) == await level(platform, tenant, bulb) == inventory.Level(0, 300)


async def test_a_look_that_is_older_than_the_spreading_asks_to_be_repeated(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = (await catalog.add(s, sku="LAMP", name="Lamp", price=Money(1, "EUR"), stock=8)).product_id

    async def buy() -> None:
        async with platform.session(tenant) as s:
            await place(s, (lamp, 8))

    async with platform.session(tenant) as s:
        await inventory.spread(s, lamp, buckets=4)
        buying = asyncio.create_task(buy())
        await asyncio.sleep(0.5)
        assert not buying.done()
    with pytest.raises(SerializationFailed):
        await buying
    await buy()
    assert await level(platform, tenant, lamp) == inventory.Level(0, 8)


async def test_what_is_cancelled_and_what_is_shipped_comes_out_of_the_buckets_it_was_taken_from(
    platform: Platform, tenant: Tenant
):
    lamp = await spread_lamp(platform, tenant, stock=20)
    placed: list[Order] = []
    for _ in range(6):
        async with platform.session(tenant) as s:
            placed.append(await place(s, (lamp, 2)))
    for order in placed[:3]:
        async with platform.session(tenant) as s:
            await fulfilment.cancel(s, order.order_id, reason="changed their mind")
    assert await level(platform, tenant, lamp) == inventory.Level(14, 6)


async def test_a_count_finds_fewer_than_any_bucket_could_give_up(platform: Platform, tenant: Tenant):
    lamp = await spread_lamp(platform, tenant, stock=20)
    async with platform.session(tenant) as s:
        assert await inventory.adjust(s, lamp, -17) == inventory.Level(3, 0)
        assert await inventory.receive(s, lamp, 4) == inventory.Level(7, 0)
    with pytest.raises(OutOfStock):
        async with platform.session(tenant) as s:
            await inventory.adjust(s, lamp, -8)
    async with platform.session(tenant) as s:
        await place(s, (lamp, 7))
    assert await level(platform, tenant, lamp) == inventory.Level(0, 7)


async def test_an_expired_hold_is_held_again_from_whichever_bucket_has_it(platform: Platform, tenant: Tenant):
    lamp = await spread_lamp(platform, tenant, stock=8)
    async with platform.session(tenant) as s:
        late = await place(s, (lamp, 2), hold=timedelta(0))
    async with platform.session(tenant) as s:
        assert await reservations.expire_reservations(s) == [late.order_id]
    async with platform.session(tenant) as s:
        await inventory.adjust(s, lamp, -5)
    async with platform.session(tenant) as s:
        assert await reservations.hold_again(s, late.order_id)
        assert await inventory.level(s, lamp) == inventory.Level(1, 2)


async def test_a_product_that_many_wait_for_is_found_and_spread(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = (await catalog.add(s, sku="LAMP", name="Lamp", price=Money(1, "EUR"), stock=100)).product_id
        bulb = (await catalog.add(s, sku="BULB", name="Bulb", price=Money(1, "EUR"), stock=100)).product_id

    async def buy() -> None:
        async with platform.session(tenant) as s:
            await place(s, (lamp, 1))

    async def find() -> list[UUID]:
        async with platform.session(tenant) as s:
            return await inventory.spread_contended(s, waiting=3)

    assert await find() == []
    async with platform.session(tenant) as s:
        await place(s, (lamp, 1), (bulb, 1))
        buying = [asyncio.create_task(buy()) for _ in range(5)]
        await asyncio.sleep(0.5)
        finding = asyncio.create_task(find())
        await asyncio.sleep(0.5)
    await asyncio.gather(*buying)
    assert await finding == [lamp]
    assert await level(platform, tenant, lamp) == inventory.Level(94, 6)
    async with platform.session(tenant) as s:
        assert await s.fetch_tuples("SELECT product_id, count(*) FROM inventory GROUP BY 1 ORDER BY 2") == [
            (bulb, 1), (lamp, 16),
        ]  # fmt: skip


async def test_nonsense_is_refused(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        for buckets in (0, 1, 65):
            with pytest.raises(InvalidInput, match=str(buckets)):
                await inventory.spread(s, uuid4(), buckets=buckets)
        unknown = uuid4()
        with pytest.raises(NotFound, match=str(unknown)):
            await inventory.spread(s, unknown)
