"""Placing an order and everything that becomes of it."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from cloudlab.errors import (
    BadCursor,
    IllegalTransition,
    InvalidInput,
    KeyReused,
    NotFound,
    OutOfStock,
    VersionConflict,
)
from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, fulfilment, invariants, inventory, orders, users, vendors
from cloudlab.shop.catalog import Product
from cloudlab.shop.orders import Order, OrderLine
from cloudlab.shop.payments import PaymentMethod, Receipt, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money

CARD = PaymentMethod.CREDIT_CARD


async def lamp(s: Session, *, stock: int = 10, price: str = "49.99", sku: str = "LAMP") -> Product:
    return await catalog.add(s, sku=sku, name=sku.title(), price=Money(price, "EUR"), stock=stock)


async def place(platform: Platform, tenant: Tenant, *lines: tuple[UUID, int], key: str | None = None) -> Order:
    async with platform.session(tenant) as s:
        return await orders.place(s, lines=lines, idempotency_key=key or str(uuid4()))


async def paid(platform: Platform, tenant: Tenant, order: Order) -> Receipt:
    receipt = await Sandbox().capture(idempotency_key=str(uuid4()), amount=order.total, payment_method=CARD)
    async with platform.session(tenant) as s:
        await fulfilment.pay(s, order.order_id, receipt)
    return receipt


async def all_hold(platform: Platform, tenant: Tenant) -> None:
    async with platform.session(tenant) as s:
        for verdict in await invariants.check(s):
            assert verdict.holds, verdict


async def test_an_order_takes_stock_and_leaves_every_trace(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")
        product = await lamp(s)
        order = await orders.place(s, user_id=ada.user_id, lines=[(product.product_id, 2)], idempotency_key="k1")
    assert order.total == Money("99.98", "EUR")
    async with platform.session(tenant) as s:
        assert await orders.find(s, order.order_id) == order
        (item,) = await orders.items(s, order.order_id)
        assert (item.sku, item.quantity, item.price) == ("LAMP", 2, Decimal("49.9900"))
        assert await inventory.level(s, product.product_id) == inventory.Level(8, 2)
        (event,) = await events.read_stream(s, order.stream)
        assert event.event_type == "OrderPlaced"
        assert event.event_data["total_amount"] == "99.9800"
        assert event.event_data["lines"][0]["price"] == "49.9900"
    await all_hold(platform, tenant)


async def test_the_same_key_gives_the_same_order_and_another_order_under_it_is_refused(
    platform: Platform, tenant: Tenant
):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    line = (product.product_id, 1)
    first = await place(platform, tenant, line, key="k")
    assert await place(platform, tenant, line, key="k") == first
    with pytest.raises(KeyReused):
        await place(platform, tenant, (product.product_id, 2), key="k")
    async with platform.session(tenant) as s:
        assert await inventory.level(s, product.product_id) == inventory.Level(9, 1)


async def test_a_hundred_double_submits_make_one_order(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s, stock=1000)
    line = (product.product_id, 1)
    placed = await asyncio.gather(*(place(platform, tenant, line, key="once") for _ in range(100)))
    assert len({order.order_id for order in placed}) == 1
    async with platform.session(tenant) as s:
        assert await inventory.level(s, product.product_id) == inventory.Level(999, 1)


async def test_too_little_stock_refuses_the_whole_order_and_says_which(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        plenty, few = await lamp(s), await lamp(s, sku="BULB", stock=1)
    with pytest.raises(OutOfStock, match="2 of BULB wanted, 1 in stock"):
        await place(platform, tenant, (plenty.product_id, 1), (few.product_id, 2))
    async with platform.session(tenant) as s:
        assert await inventory.level(s, plenty.product_id) == inventory.Level(10, 0)
    await all_hold(platform, tenant)


async def test_a_repeated_product_is_counted_once_against_the_stock(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s, stock=3)
    with pytest.raises(OutOfStock, match="4 of LAMP wanted, 3 in stock"):
        await place(platform, tenant, (product.product_id, 2), (product.product_id, 2))
    order = await place(platform, tenant, (product.product_id, 2), (product.product_id, 1))
    async with platform.session(tenant) as s:
        assert [item.quantity for item in await orders.items(s, order.order_id)] == [2, 1]
        assert await inventory.level(s, product.product_id) == inventory.Level(0, 3)
    await all_hold(platform, tenant)


async def test_sixteen_buyers_of_a_hundred_pieces_buy_exactly_a_hundred(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s, stock=100)

    async def buyer() -> int:
        bought = 0
        while True:
            try:
                await place(platform, tenant, (product.product_id, 1))
            except OutOfStock:
                return bought
            bought += 1

    assert sum(await asyncio.gather(*(buyer() for _ in range(16)))) == 100
    async with platform.session(tenant) as s:
        assert await inventory.level(s, product.product_id) == inventory.Level(0, 100)
    await all_hold(platform, tenant)


async def test_buyers_of_the_same_products_in_any_order_never_deadlock(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        products = [(await lamp(s, sku=f"P{n}", stock=100_000)).product_id for n in range(20)]
    until = asyncio.get_running_loop().time() + 10

    async def buyer(seed: int) -> int:
        choice = random.Random(seed)
        count = 0
        while asyncio.get_running_loop().time() < until:
            # A deadlock would come out as SerializationFailed: nothing here tries again.
            await place(platform, tenant, *((product, 1) for product in choice.sample(products, 3)))
            count += 1
        return count

    counts = await asyncio.gather(*(buyer(seed) for seed in range(16)))
    assert min(counts) > 0
    await all_hold(platform, tenant)


@pytest.mark.parametrize("quantity", [0, -1, 2**31])
async def test_an_impossible_quantity_is_refused(platform: Platform, tenant: Tenant, quantity: int):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    with pytest.raises(InvalidInput, match=str(quantity)):
        await place(platform, tenant, (product.product_id, quantity))


async def test_what_is_not_for_sale_is_refused_by_name(platform: Platform, tenant: Tenant):
    unknown = uuid4()
    with pytest.raises(NotFound, match=str(unknown)):
        await place(platform, tenant, (unknown, 1))
    with pytest.raises(InvalidInput, match="not 0"):
        await place(platform, tenant)


async def test_an_order_of_a_thousand_lines(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        products = [(await lamp(s, sku=f"P{n}", stock=100)).product_id for n in range(50)]
    order = await place(platform, tenant, *((products[n % 50], 1) for n in range(1114)))
    assert order.line_count == 1114
    await all_hold(platform, tenant)


async def test_from_placed_to_delivered_and_then_refunded(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        vendor = await vendors.join(s, vendor_name="Lumen", commission_rate="0.125")
        product = await catalog.add(
            s, sku="LAMP", name="Lamp", price=Money("33.335", "EUR"), stock=5, vendor_id=vendor.vendor_id
        )
        own = await lamp(s, sku="BULB", price="0.01")
    order = await place(platform, tenant, (product.product_id, 1), (own.product_id, 1))
    assert order.total == Money("33.35", "EUR")
    receipt = await paid(platform, tenant, order)
    at = datetime.now(UTC) + timedelta(days=1)
    async with platform.session(tenant) as s:
        await fulfilment.prepare(s, order.order_id)
        await fulfilment.ship(s, order.order_id, carrier="DHL", tracking_number="1")
        assert (await fulfilment.deliver(s, order.order_id, at=at)).status == "delivered"
        assert await inventory.level(s, product.product_id) == inventory.Level(4, 0)
    await all_hold(platform, tenant)
    back = await Sandbox().refund(receipt, idempotency_key="r", amount=order.total)
    async with platform.session(tenant) as s:
        assert await fulfilment.receipt_of(s, order.order_id) == receipt
        assert (await fulfilment.refund(s, order.order_id, back, reason="broken")).status == "refunded"
        assert await inventory.level(s, product.product_id) == inventory.Level(5, 0)
    await all_hold(platform, tenant)
    async with platform.session(tenant) as s:
        types = [event.event_type for event in await events.read_stream(s, order.stream)]
    expected = ["OrderPlaced", "OrderPaid", "OrderPrepared", "OrderShipped", "OrderDelivered", "OrderRefunded"]
    assert types == expected


async def test_cancelling_gives_the_stock_back_and_a_paid_order_cannot_be_cancelled(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    first, second = [await place(platform, tenant, (product.product_id, 3)) for _ in range(2)]
    async with platform.session(tenant) as s:
        assert (await fulfilment.cancel(s, first.order_id, reason="changed my mind")).status == "cancelled"
        assert await inventory.level(s, product.product_id) == inventory.Level(7, 3)
    await paid(platform, tenant, second)
    with pytest.raises(IllegalTransition, match="from paid to cancelled"):
        async with platform.session(tenant) as s:
            await fulfilment.cancel(s, second.order_id, reason="too late")
    await all_hold(platform, tenant)


async def test_a_refund_before_shipping_releases_the_reservation(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    order = await place(platform, tenant, (product.product_id, 3))
    receipt = await paid(platform, tenant, order)
    back = await Sandbox().refund(receipt, idempotency_key="r", amount=order.total)
    async with platform.session(tenant) as s:
        await fulfilment.refund(s, order.order_id, back, reason="changed my mind")
        assert await inventory.level(s, product.product_id) == inventory.Level(10, 0)
    await all_hold(platform, tenant)


async def test_a_receipt_counts_once_and_only_for_the_whole_price(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    order = await place(platform, tenant, (product.product_id, 1))
    wrong = await Sandbox().capture(idempotency_key="w", amount=Money("1", "EUR"), payment_method=CARD)
    with pytest.raises(InvalidInput, match=r"costs 49\.99 EUR, the receipt is for 1\.00 EUR"):
        async with platform.session(tenant) as s:
            await fulfilment.pay(s, order.order_id, wrong)
    receipt = await paid(platform, tenant, order)
    async with platform.session(tenant) as s:
        assert (await fulfilment.pay(s, order.order_id, receipt)).version == 2
    await all_hold(platform, tenant)


async def test_an_order_is_paid_once_whoever_pays(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    order = await place(platform, tenant, (product.product_id, 1))
    found = await asyncio.gather(*(paid(platform, tenant, order) for _ in range(4)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, BaseException)]
    assert [type(one) for one in refused] == [IllegalTransition] * 3
    await all_hold(platform, tenant)


async def test_a_stale_version_is_refused_and_so_is_psql(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        product = await lamp(s)
    order = await place(platform, tenant, (product.product_id, 1))
    with pytest.raises(VersionConflict, match="is at version 1, not 7"):
        async with platform.session(tenant) as s:
            await fulfilment.cancel(s, order.order_id, reason="", expected_version=7)
    with pytest.raises(IllegalTransition):
        async with platform.session(tenant) as s:
            await s.execute("UPDATE orders SET status = 'delivered', order_version = 2")
    with pytest.raises(IllegalTransition, match="raises order_version"):
        async with platform.session(tenant) as s:
            await s.execute("UPDATE orders SET status = 'cancelled'")


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_paging_loses_no_order_even_when_all_share_one_time(platform: Platform, tenant: Tenant, limit: int):
    at = datetime(2011, 1, 1, tzinfo=UTC)
    async with platform.session(tenant) as s:
        product = await lamp(s, stock=100)
        ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")
        line = OrderLine(product.product_id, 1)
        placed = {
            (await orders.place(s, user_id=ada.user_id, lines=[line], idempotency_key=f"{n}", placed_at=at)).order_id
            for n in range(20)
        }
        seen, after = [], None
        while True:
            page = await orders.list_for_user(s, ada.user_id, limit=limit, after=after)
            seen += [order.order_id for order in page.items]
            if (after := page.next) is None:
                break
        assert len(seen) == 20
        assert set(seen) == placed
        with pytest.raises(BadCursor):
            await orders.list_for_user(s, uuid4(), after=(await orders.list_for_user(s, ada.user_id, limit=1)).next)
