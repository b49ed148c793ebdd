"""Many orders through the same change of state in one call: all of them or none."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cloudlab.errors import IllegalTransition, InvalidInput, NotFound, VersionConflict
from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.shop import catalog, fulfilment, invariants, inventory, orders
from cloudlab.shop.fulfilment import Parcel, Payment
from cloudlab.shop.orders import Change, NewOrder, Order
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money


async def placed(platform: Platform, tenant: Tenant, count: int) -> list[Order]:
    """Place orders of one and the same product; each takes one unit more than the one before."""
    async with platform.session(tenant) as s:
        lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("9.99", "EUR"), stock=1000)
        wanted = [
            NewOrder(lines=[(lamp.product_id, n), (lamp.product_id, 1)], idempotency_key=f"k{n}")
            for n in range(1, count + 1)
        ]
        return [order for order in await orders.place_all(s, wanted) if isinstance(order, Order)]


async def payments_for(found: Sequence[Order]) -> list[Payment]:
    gateway = Sandbox()
    return [
        Payment(
            order_id=order.order_id,
            receipt=await gateway.capture(
                idempotency_key=f"{order.order_id}:capture", amount=order.total, payment_method=PaymentMethod.PAYPAL
            ),
        )
        for order in found
    ]


async def statuses(platform: Platform, tenant: Tenant, found: Sequence[Order]) -> list[str]:
    async with platform.session(tenant) as s:
        return [(await orders.find(s, order.order_id)).status for order in found]


async def all_hold(platform: Platform, tenant: Tenant) -> None:
    async with platform.session(tenant) as s:
        for verdict in await invariants.check(s):
            assert verdict.holds, verdict


async def test_many_orders_go_from_placed_to_delivered_together(platform: Platform, tenant: Tenant):
    found = await placed(platform, tenant, 5)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    at = [start + timedelta(hours=n) for n in range(5)]
    payments = [replace(each, at=moment) for each, moment in zip(await payments_for(found), at, strict=True)]
    async with platform.session(tenant) as s:
        # Given in any order, returned in that order.
        assert [order.order_id for order in await fulfilment.pay_all(s, payments[::-1])] == [
            order.order_id for order in found[::-1]
        ]
        await fulfilment.prepare_all(s, [Change(order_id=order.order_id) for order in found])
        parcels = [
            Parcel(order_id=order.order_id, carrier="DHL", tracking_number=order.order_number, at=moment)
            for order, moment in zip(found, at, strict=True)
        ]
        await fulfilment.ship_all(s, parcels)
        arrivals = [
            Change(order_id=order.order_id, at=moment + timedelta(days=1))
            for order, moment in zip(found, at, strict=True)
        ]
        delivered = await fulfilment.deliver_all(s, arrivals)
    assert [(order.status, order.version) for order in delivered] == [("delivered", 5)] * 5
    async with platform.session(tenant) as s:
        lamp = await catalog.find_by_sku(s, "LAMP")
        sold = sum(range(1, 6)) + 5
        assert await inventory.level(s, lamp.product_id) == inventory.Level(1000 - sold, 0)
        for order, moment in zip(found, at, strict=True):
            known = await events.read_stream(s, order.stream)
            assert [event.event_type for event in known] == [
                "OrderPlaced", "OrderPaid", "OrderPrepared", "OrderShipped", "OrderDelivered"
            ]  # fmt: skip
            assert known[1].event_data["captured_amount"] == f"{order.total.amount:.4f}"
            assert await s.execute(
                """
                SELECT FROM orders AS o JOIN shipments AS p ON p.order_id = o.order_id
                WHERE o.order_id = %(order_id)s::uuid AND o.paid_at = %(at)s::timestamptz AND o.shipped_at = o.paid_at
                  AND p.shipped_at = o.paid_at AND p.tracking_number = o.order_number
                  AND p.delivered_at = o.paid_at + interval '1 day' AND o.delivered_at = p.delivered_at
                """,
                order_id=order.order_id,
                at=moment,
            )
    await all_hold(platform, tenant)


async def test_one_that_cannot_be_paid_keeps_all_of_them_unpaid(platform: Platform, tenant: Tenant):
    found = await placed(platform, tenant, 3)
    payments = await payments_for(found)
    async with platform.session(tenant) as s:
        await fulfilment.cancel(s, found[1].order_id, reason="changed my mind")
    with pytest.raises(IllegalTransition, match="from cancelled to paid"):
        async with platform.session(tenant) as s:
            await fulfilment.pay_all(s, payments)
    wrong = replace(payments[0], receipt=replace(payments[0].receipt, amount=Money("1", "EUR")))
    with pytest.raises(InvalidInput, match=r"the receipt is for 1\.00 EUR"):
        async with platform.session(tenant) as s:
            await fulfilment.pay_all(s, [payments[2], wrong])
    assert await statuses(platform, tenant, found) == ["pending_payment", "cancelled", "pending_payment"]
    await all_hold(platform, tenant)


async def test_one_that_is_not_there_or_has_moved_on_keeps_all_where_they_are(platform: Platform, tenant: Tenant):
    found = await placed(platform, tenant, 3)
    async with platform.session(tenant) as s:
        await fulfilment.pay_all(s, await payments_for(found))
    changes = [Change(order_id=order.order_id, expected_version=2) for order in found]
    unknown = uuid4()
    with pytest.raises(NotFound, match=str(unknown)):
        async with platform.session(tenant) as s:
            await fulfilment.prepare_all(s, [*changes, Change(order_id=unknown)])
    with pytest.raises(VersionConflict, match="is at version 2, not 1"):
        async with platform.session(tenant) as s:
            await fulfilment.prepare_all(s, [*changes[:2], replace(changes[2], expected_version=1)])
    with pytest.raises(InvalidInput, match="named twice"):
        async with platform.session(tenant) as s:
            await fulfilment.prepare_all(s, [*changes, changes[0]])
    assert await statuses(platform, tenant, found) == ["paid"] * 3
    async with platform.session(tenant) as s:
        assert [order.version for order in await fulfilment.prepare_all(s, changes)] == [3] * 3


async def test_receipts_that_are_on_record_change_nothing_and_the_others_count(platform: Platform, tenant: Tenant):
    found = await placed(platform, tenant, 3)
    payments = await payments_for(found)
    async with platform.session(tenant) as s:
        await fulfilment.pay(s, found[1].order_id, payments[1].receipt)
        await fulfilment.prepare(s, found[1].order_id)
    async with platform.session(tenant) as s:
        paid = await fulfilment.pay_all(s, payments)
    assert [(order.status, order.version) for order in paid] == [("paid", 2), ("processing", 3), ("paid", 2)]
    async with platform.session(tenant) as s:
        assert [order.version for order in await fulfilment.pay_all(s, payments)] == [2, 3, 2]
        assert await s.execute("SELECT FROM payments") == 3
    await all_hold(platform, tenant)


async def test_the_same_receipts_at_the_same_time_count_once(platform: Platform, tenant: Tenant):
    found = await placed(platform, tenant, 8)
    payments = await payments_for(found)

    async def pay(turn: int) -> list[Order]:
        async with platform.session(tenant) as s:
            return await fulfilment.pay_all(s, payments[turn:] + payments[:turn])

    for paid in await asyncio.gather(*map(pay, range(4))):
        assert [(order.status, order.version) for order in paid] == [("paid", 2)] * 8
    async with platform.session(tenant) as s:
        assert await s.execute("SELECT FROM payment_transactions") == 8
    await all_hold(platform, tenant)


async def test_nothing_to_do_is_done_at_once(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        assert await fulfilment.pay_all(s, []) == []
        assert await fulfilment.prepare_all(s, []) == []
        assert await fulfilment.ship_all(s, []) == []
        assert await fulfilment.deliver_all(s, []) == []
