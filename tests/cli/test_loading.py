"""Loading a shop's history: once, again, from half way, twice at the same time, and with what cannot be sold."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cloudlab.cli import loading
from cloudlab.cli.loading import Loaded, Phase, email_of
from cloudlab.config import Config
from cloudlab.errors import Unavailable
from cloudlab.platform import Platform
from cloudlab.shop import catalog, files, fulfilment, orders, readmodels
from cloudlab.shop.dataset import Dataset, DatasetOrder
from cloudlab.shop.orders import OrderLine
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from fixtures.shops import REAL_DATA, as_expected, contents, first_real_orders, promises_hold, small_shop


@pytest.fixture(params=["row", "schema"])
async def tenant(request: pytest.FixtureRequest, platform: Platform) -> Tenant:
    return await platform.create_tenant("acme", placement=request.param)


async def load(platform: Platform, tenant: Tenant, dataset: Dataset) -> Loaded:
    return await loading.load(platform, tenant, dataset, concurrency=8)


async def test_a_shop_is_loaded_once_however_often(platform: Platform, tenant: Tenant):
    dataset = small_shop()
    told: dict[Phase, list[int]] = {}

    def tell(phase: Phase, done: int, lines: int) -> None:
        total = told.setdefault(phase, [0, 0])
        total[0] += done
        total[1] += lines

    first = await loading.load(platform, tenant, dataset, concurrency=8, progress=tell)
    notes = len({line.credit_note for line in dataset.credit_lines})
    assert (first.orders_new, first.orders_there, first.orders_refused) == (40, 0, 0)
    assert (first.lines, first.amount, first.rejects) == (dataset.line_count, dataset.revenue, [])
    assert told == {
        Phase.PRODUCTS: [30, 0],
        Phase.CUSTOMERS: [20, 0],
        Phase.ORDERS: [40, dataset.line_count],
        Phase.CREDIT_NOTES: [notes, 0],
    }
    before = await contents(platform, tenant)
    assert as_expected(before, dataset)
    assert await promises_hold(platform, tenant)

    again = await load(platform, tenant, dataset)
    assert (again.orders_new, again.orders_there, again.orders_per_second) == (0, 40, 0)
    assert (again.lines, again.amount, again.credit_notes) == (first.lines, first.amount, notes)
    assert await contents(platform, tenant) == before


async def test_the_next_orders_of_a_shop_are_added_to_the_first(platform: Platform, tenant: Tenant):
    dataset = small_shop()
    await load(platform, tenant, replace(dataset, orders=dataset.orders[:15], credit_lines=dataset.credit_lines[:2]))
    loaded = await load(platform, tenant, dataset)
    assert (loaded.orders_new, loaded.orders_there) == (25, 15)
    assert as_expected(await contents(platform, tenant), dataset)


async def place(platform: Platform, tenant: Tenant, wanted: DatasetOrder) -> orders.Order:
    """Place a guest's order of a dataset as a load does."""
    async with platform.session(tenant) as s:
        known = await catalog.find_by_skus(s, [line.sku for line in wanted.lines])
        return await orders.place(
            s,
            lines=[
                OrderLine(known[line.sku].product_id, line.quantity, Money(line.unit_price, wanted.currency))
                for line in wanted.lines
            ],
            idempotency_key=f"import:{wanted.order_number}",
            currency=wanted.currency,
            order_number=wanted.order_number,
            placed_at=wanted.placed_at,
        )


async def test_an_order_is_taken_on_from_wherever_it_stands(platform: Platform, tenant: Tenant):
    dataset = small_shop()
    guests = [order for order in dataset.orders if order.customer_id is None][:6]
    await load(platform, tenant, replace(dataset, orders=(), credit_lines=()))
    for steps, wanted in enumerate(guests):
        order = await place(platform, tenant, wanted)
        receipt = await Sandbox().capture(
            idempotency_key=f"import:{wanted.order_number}:capture",
            amount=order.total,
            payment_method=PaymentMethod.PAYPAL,
        )
        async with platform.session(tenant) as s:
            if steps >= 1:
                await fulfilment.pay(s, order.order_id, receipt)
            if steps >= 2:
                await fulfilment.prepare(s, order.order_id)
            if steps >= 3:
                await fulfilment.ship(s, order.order_id)
            if steps >= 4:
                await fulfilment.deliver(s, order.order_id)
            if steps == 5:
                back = await Sandbox().refund(receipt, idempotency_key="back", amount=order.total)
                await fulfilment.refund(s, order.order_id, back, reason="broken", restock=False)
    loaded = await load(platform, tenant, dataset)
    assert loaded.rejects == []
    assert (loaded.orders_new, loaded.orders_there) == (38, 2)
    found = await contents(platform, tenant)
    assert (found.orders, found.delivered, found.payments, found.transactions) == (40, 39, 40, 41)
    assert await promises_hold(platform, tenant)


async def test_two_loads_at_once_do_everything_once(config: Config, platform: Platform, tenant: Tenant):
    dataset = small_shop()
    async with Platform.open(config, projections=readmodels.ALL) as other:
        first, second = await asyncio.gather(load(platform, tenant, dataset), load(other, tenant, dataset))
    assert first.rejects == second.rejects == []
    assert first.amount == second.amount == dataset.revenue
    assert as_expected(await contents(platform, tenant), dataset)
    assert await promises_hold(platform, tenant)


async def test_what_the_shop_refuses_is_put_on_record_and_stops_nothing(platform: Platform, tenant: Tenant):
    dataset = small_shop()
    short, foreign, gone = dataset.orders[10], dataset.orders[20], dataset.orders[30]
    async with platform.session(tenant) as s:
        for sku, currency in (("SHORT", "GBP"), ("FOREIGN", "EUR")):
            await catalog.add(s, sku=sku, name=sku, price=Money("1", currency), stock=1)

    def buying(order: DatasetOrder, sku: str) -> DatasetOrder:
        line = replace(order.lines[0], sku=sku, quantity=2)
        total = (2 * line.unit_price).quantize(Decimal("0.01"))
        return replace(order, lines=(line,), total_amount=total)

    unsellable = {
        short.order_number: buying(short, "SHORT"),
        foreign.order_number: buying(foreign, "FOREIGN"),
        gone.order_number: replace(gone, customer_id="nobody"),
    }
    product = replace(dataset.products[0], name="Twice")
    changed = replace(
        dataset,
        products=(*dataset.products, replace(product, sku="SHORT"), replace(product, sku="FOREIGN")),
        orders=tuple(unsellable.get(order.order_number, order) for order in dataset.orders),
        credit_lines=(),
    )
    loaded = await load(platform, tenant, changed)
    assert (loaded.orders_new, loaded.orders_refused) == (37, 3)
    reasons = {reject.row: (reject.file, reject.reason) for reject in loaded.rejects}
    assert reasons[short.order_number] == ("orders", "2 of SHORT wanted, 1 in stock")
    assert "not for sale in GBP" in reasons[foreign.order_number][1]
    assert reasons[gone.order_number] == ("orders", "customer nobody was refused")
    assert await promises_hold(platform, tenant)
    again = await load(platform, tenant, changed)
    assert (again.orders_new, again.orders_there, len(again.rejects)) == (0, 37, 3)


async def test_a_number_that_belongs_to_another_order_is_refused(platform: Platform, tenant: Tenant):
    dataset = replace(small_shop(3), credit_lines=())
    await load(platform, tenant, dataset)
    before = await contents(platform, tenant)
    twin = replace(dataset.orders[1], total_amount=dataset.orders[1].total_amount + 1)
    loaded = await load(platform, tenant, replace(dataset, orders=(dataset.orders[0], twin, dataset.orders[2])))
    (reject,) = loaded.rejects
    assert reject.row == twin.order_number
    assert f"order {twin.order_number} is there with {len(twin.lines)} lines for" in reject.reason
    assert await contents(platform, tenant) == before


async def test_a_bad_product_costs_only_itself_and_its_orders(platform: Platform, tenant: Tenant):
    dataset = replace(small_shop(10), credit_lines=())
    bad = dataset.products[3]
    products = tuple(replace(p, name="x" * 300) if p is bad else p for p in dataset.products)
    loaded = await load(platform, tenant, replace(dataset, products=products))
    without = [order for order in dataset.orders if bad.sku not in {line.sku for line in order.lines}]
    assert loaded.orders_new == len(without)
    assert ("products", bad.sku) in {(reject.file, reject.row) for reject in loaded.rejects}
    assert (await contents(platform, tenant)).products == 29


async def test_orders_get_believable_times_and_none_in_the_future(platform: Platform, tenant: Tenant):
    dataset = small_shop()
    late = replace(dataset.orders[-1], placed_at=dataset.orders[-1].placed_at + timedelta(days=36_500))
    await load(platform, tenant, replace(dataset, orders=(*dataset.orders[:-1], late), credit_lines=()))
    async with platform.session(tenant) as s:
        disordered = await s.execute(
            """
            SELECT FROM orders
            WHERE NOT (placed_at <= paid_at AND paid_at <= processing_at AND processing_at <= shipped_at
                       AND shipped_at <= delivered_at AND delivered_at <= greatest(now(), placed_at))
            """
        )
    assert disordered == 0


async def test_a_server_that_stays_away_ends_the_load_with_a_clear_error(config: Config, tenant: Tenant):
    limits = replace(config.limits, pool_timeout_seconds=0.2)
    shards = tuple(
        replace(shard, urls=replace(shard.urls, app_url="postgresql://nobody@127.0.0.1:1/none"))
        for shard in config.shards
    )
    async with Platform.open(replace(config, shards=shards, limits=limits)) as platform:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await loading.load(platform, tenant, small_shop(1), patience_seconds=1)
        assert 1 <= asyncio.get_running_loop().time() - started < 10


def test_every_customer_has_an_address_of_their_own():
    assert email_of("12346") == "customer-12346@import.invalid"
    odd = ["A", "a", "a b", "a@b", "Ä", "ä", "", "x" * 50, "x" * 51]
    addresses = {email_of(customer_id) for customer_id in odd}
    assert len({address.lower() for address in addresses}) == len(odd)
    assert all(" " not in address and address.count("@") == 1 for address in addresses)


async def test_the_first_real_orders(platform: Platform, tmp_path: Path):
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real orders: {REAL_DATA} is not there")
    dataset = files.read(first_real_orders(300, tmp_path / "shop"))
    assert (dataset.order_count, dataset.rejects) == (300, ())
    tenant = await platform.create_tenant("gifts", placement="schema")
    loaded = await load(platform, tenant, dataset)
    assert (loaded.orders_new, loaded.rejects) == (300, [])
    assert as_expected(await contents(platform, tenant), dataset)
    assert await promises_hold(platform, tenant)
