"""An order sent in parts, by each of its vendors."""

from cloudlab.shop import fulfilment, parcels
from cloudlab.shop.inventory import Level
from cloudlab.shop.sandbox import Sandbox
from shop.paying import Shop


async def test_the_last_parcel_ships_the_order_and_takes_its_stock(shop: Shop):
    order = await shop.place((0, 2), (1, 1), (0, 1))
    await shop.charge(Sandbox(), order)
    async with shop.opener() as s:
        await fulfilment.prepare(s, order.order_id)
        first, second = await parcels.vendors_of(s, order.order_id)
    for _ in range(2):  # the second time changes nothing
        async with shop.opener() as s:
            sent = await parcels.send(s, order.order_id, first, carrier="DHL", tracking_number="1")
        assert (sent.status, sent.version) == ("processing", 4)
    assert await shop.level(0) == Level(997, 3)
    async with shop.opener() as s:
        assert await parcels.vendors_of(s, order.order_id) == [second]
        sent = await parcels.send(s, order.order_id, second)
    assert (sent.status, sent.version) == ("shipped", 6)
    assert await shop.level(0) == Level(997, 0)
    async with shop.opener() as s:
        await fulfilment.deliver(s, order.order_id)
    await shop.all_holds()


async def test_an_order_that_was_refunded_meanwhile_is_not_sent(row_shop: Shop):
    shop, gateway = row_shop, Sandbox()
    order = await shop.place((0, 1), (1, 1))
    await shop.charge(gateway, order)
    async with shop.opener() as s:
        await fulfilment.prepare(s, order.order_id)
        first, second = await parcels.vendors_of(s, order.order_id)
        await parcels.send(s, order.order_id, first)
    await shop.refund(gateway, order)
    async with shop.opener() as s:
        assert (await parcels.send(s, order.order_id, second)).status == "refunded"
    await shop.all_holds(gateway)
