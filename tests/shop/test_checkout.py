"""The checkout: paid and sent, or undone as a whole; and money given back.

Standard: §3.3 Saga State Management
"""

import asyncio
from decimal import Decimal

import pytest

from cloudlab.config import Config
from cloudlab.errors import KeyReused, OutOfStock
from cloudlab.sagas import operations
from cloudlab.shop import catalog, fulfilment, invariants, orders, reservations
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.gateway import PaymentMethod
from cloudlab.shop.inventory import Level
from cloudlab.shop.order import NewOrder
from cloudlab.shop.refunding import ReturnLine
from cloudlab.shop.sandbox import Course, Sandbox, Scenario
from shop.checking_out import Till, opened
from shop.paying import CARD, eur


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_an_order_is_paid_and_sent_by_each_of_its_vendors(config: Config, placement: str):
    gateway = Sandbox()
    async with opened(config, gateway, placement=placement) as till:
        bought = await till.buy((0, 2), (1, 1), (2, 3))
        assert (await till.ended(bought.saga_id)).status == "completed"
        assert await till.status(bought.order) == "shipped"
        done = [name for name, direction, status in await till.steps(bought.saga_id) if status == "completed"]
        assert done[:5] == ["accept", "reserve", "authorise", "capture", "paid"]
        assert sorted(done[5:8]) == ["ship[0]", "ship[1]", "ship[2]"]
        assert done[8:] == ["notify"]
        async with till.opener() as s:
            parcels = await s.fetch_tuples("SELECT /* test */ count(DISTINCT vendor_id), count(*) FROM shipments")
            sums = await s.fetch_tuples("SELECT /* test */ sum(gross_amount), count(*) FROM vendor_commissions")
        assert parcels == [(3, 3)]
        assert sums == [(bought.order.total.amount, 3)]
        assert [await till.level(n) for n in (0, 2)] == [Level(998, 0), Level(997, 0)]
        assert till.postbox.told() == ["shipped"]
        await till.all_holds(gateway)


async def test_a_declined_payment_undoes_everything(config: Config):
    gateway = Sandbox(declines_above=eur("50"))
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 2))
        state = await till.ended(bought.saga_id)
        assert state.status == "compensated"
        assert state.compensation_data is not None
        assert state.compensation_data["step"] == "authorise"
        assert await till.status(bought.order) == "cancelled"
        assert (await till.level(0)).available == 1000
        assert till.postbox.told() == []
        await till.all_holds(gateway)


async def test_a_capture_that_fails_voids_the_authorisation(config: Config):
    class NoCapture(Scenario):
        def course(self, wanted):
            return Course.DECLINE if wanted.kind == "capture" else Course.ACCEPT

    gateway = Sandbox(scenario=NoCapture())
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 1), (2, 1))
        assert (await till.ended(bought.saga_id)).status == "compensated"
        undone = [name for name, direction, _ in await till.steps(bought.saga_id) if direction == "undo"]
        assert undone == ["capture", "authorise", "reserve", "accept"]
        assert [payment.status for payment in await till.payments(bought.order)] == ["voided"]
        assert await till.status(bought.order) == "cancelled"
        await till.all_holds(gateway)


@pytest.mark.parametrize("course", [Course.TIMEOUT, Course.LOST_ANSWER])
async def test_what_nobody_knows_is_asked_again_under_its_key(config: Config, course: Course):
    class Once(Scenario):
        def course(self, wanted):
            return course

    gateway = Sandbox(scenario=Once())
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 1))
        assert (await till.ended(bought.saga_id)).status == "completed"
        steps = await till.steps(bought.saga_id)
        assert ("authorise", "do", "unknown") in steps
        assert ("capture", "do", "unknown") in steps
        assert [entry.kind for entry in await gateway.entries()] == ["authorize", "capture"]
        await till.all_holds(gateway)


async def test_a_payment_that_stays_unknown_is_undone_by_what_the_provider_says_in_the_end(config: Config):
    class Silent(Sandbox):
        silent = True

        async def capture(self, **wanted):
            receipt = await super().capture(**wanted)
            if self.silent:
                raise TimeoutError
            return receipt

    gateway = Silent()
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 1))
        while ("capture", "do", "unknown") not in await till.steps(bought.saga_id):
            await asyncio.sleep(0.02)
        async with till.opener() as s:
            await operations.steer(s, bought.saga_id, "cancel", actor="ada", reason="called")
        await asyncio.sleep(0.1)
        gateway.silent = False
        assert (await till.ended(bought.saga_id)).status == "compensated"
        (payment,) = await till.payments(bought.order)
        assert (payment.captured_amount, payment.refunded_amount) == (bought.order.total.amount,) * 2
        assert (await till.level(0)).available == 1000
        await till.all_holds(gateway)


async def test_an_operator_undoes_a_checkout_behind_its_pivot(config: Config):
    class Lost(Exception):
        pass

    gateway = Sandbox()
    async with opened(config, gateway) as till:

        async def refuse(notice, *, idempotency_key):
            raise Lost

        till.postbox.notify = refuse  # type: ignore[method-assign]
        bought = await till.buy((0, 1))
        assert (await till.ended(bought.saga_id)).status == "failed"
        async with till.opener() as s:
            await operations.steer(s, bought.saga_id, "undo", actor="ada", reason="agreed")
        assert (await till.ended(bought.saga_id)).status == "compensated"
        assert await till.status(bought.order) == "refunded"
        await till.all_holds(gateway)


async def test_who_comes_too_late_is_refused_at_once_and_leaves_nothing(config: Config):
    async with opened(config, Sandbox(), stock=3) as till:
        bought = await till.buy((0, 3))
        with pytest.raises(OutOfStock, match="1 of A wanted, 0 in stock"):
            await till.buy((0, 1))
        await till.ended(bought.saga_id)
        listed = await till.platform.sagas.listed(till.tenant.shard)
        assert [each.saga_id for each in listed] == [bought.saga_id]


async def test_a_hundred_double_clicks_are_one_order_and_one_payment(config: Config):
    gateway = Sandbox()
    async with opened(config, gateway) as till:
        bought = await asyncio.gather(*(till.buy((0, 1), (1, 2), key="once") for _ in range(100)))
        assert len({each.saga_id for each in bought}) == len({each.order.order_id for each in bought}) == 1
        assert (await till.ended(bought[0].saga_id)).status == "completed"
        assert len(await gateway.entries()) == 2
        with pytest.raises(KeyReused):
            await till.buy((0, 2), key="once")
        await till.all_holds(gateway)


async def test_an_ended_hold_is_held_again_or_the_order_is_given_up(config: Config):
    gateway = Sandbox()
    async with opened(config, gateway, stock=5) as till:
        first, second = await till.place((0, 3)), await till.place((0, 2))
        await till.expire_holds()
        async with till.opener() as s:
            assert len(await reservations.expire_reservations(s)) == 2
        await till.place((0, 3))
        ended = [(await till.ended(await started(till, order))).status for order in (first, second)]
        assert ended == ["compensated", "completed"]
        assert [await till.status(order) for order in (first, second)] == ["cancelled", "shipped"]
        await till.all_holds(gateway)


async def test_an_order_that_is_paid_otherwise_is_left_alone(config: Config):
    gateway = Sandbox()
    async with opened(config, gateway) as till:
        paid, in_part = await till.place((0, 1)), await till.place((0, 1))
        await till.charge(gateway, paid)
        await till.charge(gateway, in_part, eur("3.33"))
        assert (await till.ended(await started(till, paid))).status == "compensated"
        assert await till.status(paid) == "paid"
        assert (await till.ended(await started(till, in_part))).status == "completed"
        assert await till.status(in_part) == "shipped"
        assert sorted(payment.captured_amount for payment in await till.payments(in_part)) == [
            Decimal("3.3300"), in_part.total.amount - Decimal("3.33"),
        ]  # fmt: skip
        await till.all_holds(gateway)


async def test_a_part_payment_outlives_a_checkout_that_is_undone(config: Config):
    gateway = Sandbox(declines_above=eur("20"))
    async with opened(config, gateway) as till:
        order = await till.place((0, 1))
        await till.charge(gateway, order, eur("3.33"))
        assert (await till.ended(await started(till, order))).status == "compensated"
        assert await till.status(order) == "pending_payment"
        assert (await till.level(0)).reserved == 1
        await till.all_holds(gateway)


async def test_an_order_that_is_cancelled_while_it_is_paid_gives_the_money_back(config: Config):
    class Cancelling(Sandbox):
        async def capture(self, **wanted):
            async with till.opener() as s:
                await fulfilment.cancel(s, bought.order.order_id, reason="customer")
            return await super().capture(**wanted)

    gateway = Cancelling()
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 1))
        assert (await till.ended(bought.saga_id)).status == "compensated"
        sums = (await gateway.sums())["EUR"]
        assert sums.captured == sums.refunded == bought.order.total.amount
        assert await till.status(bought.order) == "cancelled"
        await till.all_holds(gateway)


async def test_what_costs_nothing_is_sent_without_a_payment(config: Config):
    gateway = Sandbox()
    async with opened(config, gateway) as till:
        async with till.opener() as s:
            gift = await catalog.add(s, sku="GIFT", name="Gift", price=eur("0"), stock=1)
        order = NewOrder(lines=[(gift.product_id, 1)], idempotency_key="gift")
        bought = await till.checkout.buy(till.platform, till.tenant, order, payment_method=CARD)
        assert (await till.ended(bought.saga_id)).status == "completed"
        assert await till.status(bought.order) == "shipped"
        assert await gateway.entries() == []
        await till.all_holds(gateway)


async def test_an_order_has_one_checkout(config: Config):
    async with opened(config, Sandbox()) as till:
        order = await till.place((0, 1))
        assert await started(till, order) == await started(till, order)
        with pytest.raises(KeyReused):
            async with till.opener() as s:
                await till.checkout.start(s, order.order_id, payment_method=PaymentMethod.PAYPAL)


async def test_a_provider_this_worker_does_not_know_is_waited_for(config: Config):
    class Other(Sandbox):
        provider = "other"  # type: ignore[misc]

    async with opened(config, Sandbox()) as till:
        order = await till.place((0, 1))
        async with till.opener() as s:
            saga_id = await Checkout(Other()).start(s, order.order_id, payment_method=CARD)
        while ("authorise", "do", "unknown") not in await till.steps(saga_id):
            await asyncio.sleep(0.02)
        async with till.opener() as s:
            assert (await operations.timeline(s, saga_id)).steps[-1].error_message == (
                "Unavailable: this process has no way to other"
            )


async def test_money_is_given_back_for_goods_that_are_restocked_or_not(config: Config):
    gateway = Sandbox()
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 2), (2, 2))
        await till.ended(bought.saga_id)
        lines = [ReturnLine(1, 1, restock=True), ReturnLine(2, 1, restock=False)]
        saga_id = await till.give_back(bought.order.order_id, lines=lines, key="r1")
        assert await till.give_back(bought.order.order_id, lines=lines, key="r1") == saga_id
        assert (await till.ended(saga_id)).status == "completed"
        assert [(await till.level(n)).available for n in (0, 2)] == [999, 998]
        assert await till.status(bought.order) == "shipped"
        too_many = await till.give_back(bought.order.order_id, lines=[ReturnLine(1, 2)])
        assert (await till.ended(too_many)).status == "compensated"
        rest = await till.give_back(bought.order.order_id)
        assert (await till.ended(rest)).status == "completed"
        assert await till.status(bought.order) == "refunded"
        assert till.postbox.told() == ["shipped", "refunded", "refunded"]
        await till.all_holds(gateway)


async def test_a_refund_that_is_declined_waits_for_a_human(config: Config):
    class Poor(Sandbox):
        async def refund(self, receipt, *, idempotency_key, amount):
            return await super().refund(receipt, idempotency_key=idempotency_key, amount=eur("999"))

    gateway = Poor()
    async with opened(config, gateway) as till:
        bought = await till.buy((0, 1))
        await till.ended(bought.saga_id)
        saga_id = await till.give_back(bought.order.order_id)
        assert (await till.ended(saga_id)).status == "failed"
        assert await till.status(bought.order) == "shipped"
        await till.all_holds(gateway)


async def test_the_events_of_a_checkout_share_the_correlation_of_its_order(config: Config):
    async with opened(config, Sandbox()) as till:
        bought = await till.buy((0, 1))
        await till.ended(bought.saga_id)
        async with till.opener() as s:
            rows = await s.fetch_tuples(
                """
                SELECT /* test */ event_type, metadata ->> 'correlation_id' FROM events
                WHERE aggregate_id = %(order_id)s::uuid ORDER BY event_version
                """,
                order_id=bought.order.order_id,
            )
            verdicts = await invariants.check(s)
        assert [event_type for event_type, _ in rows] == [
            "OrderPlaced", "OrderPaid", "OrderPrepared", "ParcelSent", "OrderShipped",
        ]  # fmt: skip
        assert len({correlation for _, correlation in rows}) == 1
        assert all(verdict.holds for verdict in verdicts)


async def started(till: Till, order: orders.Order):
    async with till.opener() as s:
        return await till.checkout.start(s, order.order_id, payment_method=CARD)
