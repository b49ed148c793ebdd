"""Placing many orders in one call: each has an outcome of its own, and stock stays exact whoever comes together."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from cloudlab.errors import CloudLabError, Duplicate, InvalidInput, KeyReused, NotFound, OutOfStock
from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, invariants, inventory, orders, users
from cloudlab.shop.orders import NewOrder, Order, OrderLine
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money


async def product(s: Session, sku: str, *, stock: int = 10, currency: str = "EUR") -> UUID:
    return (await catalog.add(s, sku=sku, name=sku, price=Money("5.5", currency), stock=stock)).product_id


def wanted(*lines: tuple[UUID, int], key: str | None = None) -> NewOrder:
    return NewOrder(lines=lines, idempotency_key=key or str(uuid4()))


async def place_all(platform: Platform, tenant: Tenant, *together: NewOrder) -> list[Order | CloudLabError]:
    async with platform.session(tenant) as s:
        return await orders.place_all(s, together)


async def count(s: Session, relation: str) -> int:
    """Count what is there of orders, of their lines, keys, reservations or events."""
    return {
        "orders": await s.execute("SELECT FROM orders"),
        "order_items": await s.execute("SELECT FROM order_items"),
        "idempotency_keys": await s.execute("SELECT FROM idempotency_keys"),
        "inventory_reservations": await s.execute("SELECT FROM inventory_reservations"),
        "events": await s.execute("SELECT FROM events WHERE event_type = 'OrderPlaced'"),
    }[relation]


async def all_hold(platform: Platform, tenant: Tenant) -> None:
    async with platform.session(tenant) as s:
        for verdict in [*await invariants.check(s), await invariants.summarised(s)]:
            assert verdict.holds, verdict


async def test_every_order_of_a_batch_has_an_outcome_of_its_own(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp, few, foreign = (
            await product(s, "LAMP"),
            await product(s, "FEW", stock=1),
            await product(s, "FOREIGN", currency="USD"),
        )
        ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")
        first = await orders.place(s, lines=[(lamp, 1)], idempotency_key="first")
    unknown = uuid4()
    batch = [
        replace(wanted((lamp, 2), (lamp, 1)), user_id=ada.user_id, metadata={"actor": "ada"}),
        wanted((lamp, 1), key="first"),
        wanted((lamp, 2), key="first"),
        wanted((lamp, 1), (unknown, 1)),
        wanted((lamp, 1), (foreign, 1)),
        wanted((lamp, 1), (few, 2)),
        wanted(),
        wanted((lamp, 0)),
        replace(wanted((few, 1)), user_id=ada.user_id),
    ]
    async with platform.session(tenant) as s:
        placed, again, reused, missing, mixed, short, empty, none, last = await orders.place_all(s, batch)
    assert isinstance(placed, Order)
    assert isinstance(last, Order)
    assert (placed.total, placed.line_count, placed.user_id) == (Money("16.5", "EUR"), 2, ada.user_id)
    assert again == first
    assert isinstance(reused, KeyReused)
    assert "first" in reused.message
    assert isinstance(missing, NotFound)
    assert missing.message == f"not for sale in EUR: {unknown}"
    assert isinstance(mixed, NotFound)
    assert mixed.message == f"not for sale in EUR: {foreign}"
    assert isinstance(short, OutOfStock)
    assert (short.message, short.details) == ("2 of FEW wanted, 1 in stock", str(few))
    assert isinstance(empty, InvalidInput)
    assert isinstance(none, InvalidInput)
    async with platform.session(tenant) as s:
        assert await inventory.level(s, lamp) == inventory.Level(6, 4)
        assert await inventory.level(s, few) == inventory.Level(0, 1)
        assert [item.quantity for item in await orders.items(s, placed.order_id)] == [2, 1]
        assert await orders.find(s, placed.order_id) == placed
        (event,) = await events.read_stream(s, placed.stream)
        # Nothing of what was refused is left, not even its key.
        for relation in ("orders", "idempotency_keys", "inventory_reservations", "events"):
            assert await count(s, relation) == 3, relation
    assert (event.metadata or {})["actor"] == "ada"
    assert [line["line"] for line in event.event_data["lines"]] == [1, 2]
    await all_hold(platform, tenant)


async def test_an_event_says_the_same_whether_its_order_came_alone_or_with_others(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = await product(s, "LAMP")
        alone = await orders.place(s, lines=[(lamp, 2), (lamp, 1)], idempotency_key="alone")
        together = await orders.place_all(s, [wanted((lamp, 2), (lamp, 1)), wanted((lamp, 1))])
        assert isinstance(together[0], Order)
        facts = [(await events.read_stream(s, order.stream))[0].event_data for order in (alone, together[0])]
    differing = {"order_id", "order_number"}
    assert {k: v for k, v in facts[0].items() if k not in differing} == {
        k: v for k, v in facts[1].items() if k not in differing
    }


async def test_stock_that_ends_in_the_middle_of_a_batch_leaves_the_others(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        scarce, plenty = await product(s, "SCARCE", stock=5), await product(s, "PLENTY")
    batch = [
        wanted((scarce, 2), (plenty, 1)),
        wanted((plenty, 1)),
        wanted((scarce, 4), (plenty, 1)),
        wanted((scarce, 1), (scarce, 1)),
        wanted((scarce, 2)),
        wanted((scarce, 1)),
    ]
    outcomes = await place_all(platform, tenant, *batch)
    assert [type(outcome) for outcome in outcomes] == [Order, Order, OutOfStock, Order, OutOfStock, Order]
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, OutOfStock)] == [
        "4 of SCARCE wanted, 3 in stock",
        "2 of SCARCE wanted, 1 in stock",
    ]
    async with platform.session(tenant) as s:
        assert await inventory.level(s, scarce) == inventory.Level(0, 5)
        assert await inventory.level(s, plenty) == inventory.Level(8, 2)
        assert await count(s, "idempotency_keys") == await count(s, "inventory_reservations") == 4
    await all_hold(platform, tenant)


async def test_twins_in_one_batch_make_one_order(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp, few = await product(s, "LAMP"), await product(s, "FEW", stock=1)
    batch = [
        wanted((lamp, 1), key="k"),
        wanted((lamp, 1), key="k"),
        wanted((lamp, 2), key="k"),
        wanted((few, 2), key="refused"),
        wanted((few, 1), key="refused"),
    ]
    first, second, third, refused, smaller = await place_all(platform, tenant, *batch)
    assert isinstance(first, Order)
    assert first == second
    assert isinstance(third, KeyReused)
    # What was refused has used up no key.
    assert isinstance(refused, OutOfStock)
    assert isinstance(smaller, Order)
    async with platform.session(tenant) as s:
        assert await inventory.level(s, lamp) == inventory.Level(9, 1)
        assert await count(s, "orders") == 2
    await all_hold(platform, tenant)


async def test_batches_with_the_same_keys_at_the_same_time_make_each_order_once(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = await product(s, "LAMP", stock=1000)
    keys = [f"k{n}" for n in range(20)]

    async def submit(seed: int) -> list[Order | CloudLabError]:
        mixed = random.Random(seed).sample(keys, len(keys))
        return await place_all(platform, tenant, *(wanted((lamp, 1), key=key) for key in mixed))

    outcomes = [outcome for batch in await asyncio.gather(*map(submit, range(10))) for outcome in batch]
    placed = [outcome.order_id for outcome in outcomes if isinstance(outcome, Order)]
    assert len(placed) == 200
    assert len(set(placed)) == 20
    async with platform.session(tenant) as s:
        assert await inventory.level(s, lamp) == inventory.Level(980, 20)
    await all_hold(platform, tenant)


async def test_twins_that_want_the_last_pieces_get_the_same_order(platform: Platform, tenant: Tenant):
    for turn in range(15):
        async with platform.session(tenant) as s:
            last = await product(s, f"LAST{turn}", stock=3)
        twins = [place_all(platform, tenant, wanted((last, 3), key=f"k{turn}")) for _ in range(6)]
        placed = [outcome for outcomes in await asyncio.gather(*twins) for outcome in outcomes]
        assert len({outcome.order_id if isinstance(outcome, Order) else outcome for outcome in placed}) == 1
    await all_hold(platform, tenant)


async def test_a_key_that_another_order_takes_while_the_stock_is_waited_for(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp, bulb = await product(s, "LAMP"), await product(s, "BULB")
    async with platform.session(tenant) as holder:
        await orders.place(holder, lines=[(lamp, 1)], idempotency_key="k")
        waiting = asyncio.create_task(
            place_all(platform, tenant, wanted((bulb, 1), key="k"), wanted((bulb, 1), key="other"))
        )
        await asyncio.sleep(0.3)
        assert not waiting.done()
    reused, placed = await waiting
    assert isinstance(reused, KeyReused)
    assert isinstance(placed, Order)
    async with platform.session(tenant) as s:
        assert await inventory.level(s, bulb) == inventory.Level(9, 1)
    await all_hold(platform, tenant)


async def test_sixteen_callers_with_overlapping_products_never_deadlock_and_sell_exactly_what_is_there(
    platform: Platform, tenant: Tenant
):
    async with platform.session(tenant) as s:
        products = [await product(s, f"P{n}", stock=100) for n in range(20)]
    until = asyncio.get_running_loop().time() + 4
    sold: Counter[UUID] = Counter()

    async def caller(seed: int) -> int:
        choice = random.Random(seed)
        calls = 0
        while asyncio.get_running_loop().time() < until:
            batch = [
                wanted(*((each, choice.randint(1, 2)) for each in choice.sample(products, 3)))
                for _ in range(choice.randint(1, 12))
            ]
            # A deadlock would come out as SerializationFailed: nothing here tries again.
            for order, outcome in zip(batch, await place_all(platform, tenant, *batch), strict=True):
                if isinstance(outcome, Order):
                    sold.update({each: quantity for each, quantity in order.lines if isinstance(each, UUID)})
                else:
                    assert isinstance(outcome, OutOfStock)
            calls += 1
        return calls

    assert min(await asyncio.gather(*(caller(seed) for seed in range(16)))) > 0
    async with platform.session(tenant) as s:
        for each in products:
            assert await inventory.level(s, each) == inventory.Level(100 - sold[each], sold[each])
    assert max(sold.values()) >= 99  # so stock did run out while they raced
    await all_hold(platform, tenant)


async def test_a_twin_order_number_fails_the_call_and_leaves_nothing(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        lamp = await product(s, "LAMP")
        await orders.place(s, lines=[(lamp, 1)], idempotency_key="k", order_number="N1")
    with pytest.raises(Duplicate, match="uq_orders_order_number"):
        await place_all(platform, tenant, wanted((lamp, 1)), replace(wanted((lamp, 1)), order_number="N1"))
    async with platform.session(tenant) as s:
        assert await inventory.level(s, lamp) == inventory.Level(9, 1)
        assert await count(s, "idempotency_keys") == 1


async def test_no_orders_are_no_work(platform: Platform, tenant: Tenant):
    assert await place_all(platform, tenant) == []


async def test_sixty_four_orders_of_many_lines(platform: Platform, tenant: Tenant):
    async with platform.session(tenant) as s:
        products = [await product(s, f"P{n}", stock=2000) for n in range(50)]
    agreed = Money("1.2345", "EUR")
    batch = [
        NewOrder(
            lines=[OrderLine(products[(n + i) % 50], 1 + i % 3, agreed) for i in range(n + 1)],
            idempotency_key=f"k{n}",
            currency="EUR",
        )
        for n in range(64)
    ]
    placed = await place_all(platform, tenant, *batch)
    assert [order.line_count for order in placed if isinstance(order, Order)] == list(range(1, 65))
    assert await place_all(platform, tenant, *reversed(batch)) == placed[::-1]
    async with platform.session(tenant) as s:
        assert await count(s, "order_items") == 64 * 65 // 2
    await all_hold(platform, tenant)
