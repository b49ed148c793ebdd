"""Giving money back in parts: of which payment, by which vendor, and what becomes of the goods; and paying too late."""

import asyncio

import pytest

from cloudlab.errors import InvalidInput, OutOfStock, PaymentFailed, PaymentUnknown
from cloudlab.events import store as events
from cloudlab.shop import fulfilment, payments
from cloudlab.shop.inventory import Level
from cloudlab.shop.payments import ReturnLine
from cloudlab.shop.reservations import expire_reservations
from cloudlab.shop.sandbox import Course, Sandbox, Scenario
from shop.paying import CARD, Shop, eur

NOW = payments.timedelta(seconds=-60)


async def expired(shop: Shop):
    await shop.expire_holds()
    async with shop.opener() as s:
        return await expire_reservations(s)


async def accounts(shop: Shop) -> dict[str, tuple[str, str]]:
    async with shop.opener() as s:
        rows = await s.fetch_tuples(
            """
            SELECT v.vendor_name, sum(c.gross_amount)::text, sum(c.commission_amount)::text
            FROM vendor_commissions AS c JOIN vendors AS v USING (tenant_id, vendor_id)
            GROUP BY v.vendor_name
            """
        )
    return {name: (gross, commission) for name, gross, commission in rows}


async def test_a_part_is_given_back_and_the_order_stays_what_it_is(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((0, 1), (2, 1))
    await shop.charge(gateway, order)
    (settled,) = await shop.refund(gateway, order, eur("10"))
    assert (settled.payment.status, settled.order.status) == ("partially_refunded", "paid")
    await shop.all_holds(gateway)
    (settled,) = await shop.refund(gateway, order)
    assert (settled.payment.status, settled.order.status) == ("refunded", "refunded")
    assert await accounts(shop) == {"A": ("0.0000", "0.0000"), "C": ("0.0000", "0.0000")}
    assert await shop.level(0) == Level(1000, 0)
    async with shop.opener() as s:
        types = [event.event_type for event in await events.read_stream(s, order.stream)]
    assert types == ["OrderPlaced", "OrderPaid", "PaymentRefunded", "OrderRefunded"]
    await shop.all_holds(gateway)


async def test_the_newest_payment_gives_first(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 1))
    await shop.charge(gateway, order, eur("15"))
    await shop.charge(gateway, order)
    older, newer = await shop.refund(gateway, order, eur("6"))
    assert [each.attempt.amount for each in (older, newer)] == [eur("4.99"), eur("1.01")]
    assert [payment.status for payment in await shop.payments(order)] == ["partially_refunded", "refunded"]
    await shop.all_holds(gateway)
    with pytest.raises(InvalidInput, match=r"13\.99 EUR is left"):
        await shop.refund(gateway, order, eur("14"))


async def test_a_refund_unit_by_unit_ends_exactly_at_nothing(row_shop: Shop):
    gateway = Sandbox()
    order = await row_shop.place((1, 7), (1, 5))
    await row_shop.charge(gateway, order)
    for _ in range(12):
        await row_shop.all_holds(gateway)
        await row_shop.refund(gateway, order, eur("0.01"))
    assert await row_shop.status(order) == "refunded"
    assert await accounts(row_shop) == {"B": ("0.0000", "0.0000")}


async def test_returned_goods_are_paid_back_by_their_vendor_and_only_restocked_ones_are_for_sale(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((0, 2), (2, 3))
    await shop.charge(gateway, order)
    before = await accounts(shop)
    await shop.send(order)
    lines = [ReturnLine(2, 1, restock=True), ReturnLine(1, 1, restock=False)]
    await shop.refund(gateway, order, lines=lines[:1])
    after = await accounts(shop)
    assert after["A"] == before["A"]
    assert after["C"][0] == "39.9800"
    assert (await shop.level(0), await shop.level(2)) == (Level(998, 0), Level(998, 0))
    await shop.refund(gateway, order, lines=lines[1:])
    assert await shop.level(0) == Level(998, 0)
    await shop.all_holds(gateway)
    with pytest.raises(InvalidInput, match="3 units of line 2 cannot be returned: 2 are left"):
        await shop.refund(gateway, order, lines=[ReturnLine(2, 3, restock=True)])
    assert await shop.status(order) == "shipped"
    await shop.refund(gateway, order)
    assert await shop.status(order) == "refunded"
    await shop.all_holds(gateway)


async def test_what_was_not_sent_cannot_come_back(row_shop: Shop):
    gateway = Sandbox()
    order = await row_shop.place((0, 2))
    await row_shop.charge(gateway, order)
    with pytest.raises(InvalidInput, match="was not sent"):
        await row_shop.refund(gateway, order, lines=[ReturnLine(1, 1, restock=True)])
    assert (await row_shop.refund(gateway, order, lines=[ReturnLine(1, 1)]))[0].attempt.amount == eur("33.34")
    await row_shop.all_holds(gateway)


async def test_a_refund_under_way_is_not_given_twice(row_shop: Shop):
    gateway = Sandbox()
    order = await row_shop.place((2, 1))
    await row_shop.charge(gateway, order)
    lost = Sandbox(ledger=gateway._ledger, scenario=Scenario(by_key={"r:1": Course.LOST_ANSWER}))
    with pytest.raises(PaymentUnknown):
        await row_shop.refund(lost, order, key="r")
    with pytest.raises(InvalidInput, match=r"0\.00 EUR is left"):
        await row_shop.refund(gateway, order)
    await payments.resolve_unknown(row_shop.opener, gateway, older_than=NOW)
    assert await row_shop.status(order) == "refunded"
    await row_shop.all_holds(gateway)


async def test_a_hundred_submits_of_one_refund_give_back_once(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 3))
    await shop.charge(gateway, order)
    await asyncio.gather(*(shop.refund(gateway, order, eur("5"), key="r") for _ in range(100)))
    assert (await gateway.sums())["EUR"].refunded == eur("5").amount
    await shop.all_holds(gateway)


async def test_an_unpaid_order_past_its_hold_gives_its_stock_to_others(shop: Shop):
    order = await shop.place((2, 4))
    assert await expired(shop) == [order.order_id]
    assert await expired(shop) == []
    assert await shop.level(2) == Level(1000, 0)
    assert await shop.status(order) == "pending_payment"
    await shop.all_holds()
    async with shop.opener() as s:
        await fulfilment.cancel(s, order.order_id, reason="nobody paid")
    assert await shop.level(2) == Level(1000, 0)
    await shop.all_holds()


@pytest.mark.parametrize("state", ["pending", "authorized", "unknown"])
async def test_a_hold_never_ends_while_a_payment_may_have_moved_money(shop: Shop, state: str):
    order = await shop.place((2, 4))
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.LOST_ANSWER}))
    if state == "pending":
        async with shop.opener() as s:
            await payments.begin_payment(
                s, order.order_id, kind=payments.Kind.CAPTURE, payment_method=CARD, provider="x", idempotency_key="k"
            )
    elif state == "authorized":
        await shop.authorize(gateway, order)
    else:
        with pytest.raises(PaymentUnknown):
            await shop.charge(gateway, order, key="k")
    assert await expired(shop) == []
    assert await shop.level(2) == Level(996, 4)


async def test_a_payment_that_begins_while_holds_are_ended_keeps_its_stock(row_shop: Shop):
    """Whichever comes first: the stock is held when money is asked for."""
    for _ in range(10):
        order = await row_shop.place((2, 1))
        await row_shop.expire_holds()

        async def sweep():
            async with row_shop.opener() as s:
                return await expire_reservations(s)

        await asyncio.gather(sweep(), row_shop.charge(Sandbox(), order), sweep())
        assert await row_shop.status(order) == "paid"
    assert await row_shop.level(2) == Level(990, 10)
    await row_shop.all_holds()


async def test_who_pays_late_gets_the_goods_if_they_are_there(shop: Shop):
    order = await shop.place((2, 4))
    await expired(shop)
    assert (await shop.charge(Sandbox(), order)).order.status == "paid"
    assert await shop.level(2) == Level(996, 4)
    await shop.all_holds()


async def test_nobody_is_asked_for_money_when_the_goods_are_sold(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 4))
    await expired(shop)
    await shop.place((2, 1000))
    with pytest.raises(OutOfStock):
        await shop.charge(gateway, order)
    assert await gateway.entries() == []


@pytest.mark.parametrize("goods", ["there", "sold"])
async def test_a_success_after_the_hold_has_ended_pays_or_is_given_back(shop: Shop, goods: str):
    """The request was held for lost, so the hold could end; then the provider says that it had succeeded."""
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.TIMEOUT}))
    order = await shop.place((2, 4))
    with pytest.raises(PaymentUnknown):
        await shop.charge(gateway, order, key="k")
    await payments.resolve_unknown(shop.opener, gateway, older_than=NOW)
    assert await expired(shop) == [order.order_id]
    if goods == "sold":
        await shop.place((2, 1000))
    # The request arrives after all.
    receipt = await gateway.capture(idempotency_key="k", amount=order.total, payment_method=CARD)
    async with shop.opener() as s:
        reply = payments.Reply("k", payments.Answer.SUCCEEDED, receipt.reference)
        settled = await payments.settle(s, reply)
    await shop.all_holds(gateway)
    if goods == "there":
        assert (settled.order.status, settled.due) == ("paid", eur("0"))
        return
    assert (settled.order.status, settled.due) == ("pending_payment", order.total)
    await shop.refund(gateway, order, settled.due)
    async with shop.opener() as s:
        await fulfilment.cancel(s, order.order_id, reason="its goods are sold")
        assert (await payments.conclude(s, order.order_id))[1] == eur("0")
    await shop.all_holds(gateway)


async def test_money_for_a_cancelled_order_is_due_back(row_shop: Shop):
    gateway = Sandbox()
    order = await row_shop.place((2, 1))
    authorised = await row_shop.authorize(gateway, order)
    async with row_shop.opener() as s:
        await fulfilment.cancel(s, order.order_id, reason="changed my mind")
    captured = await row_shop.capture(gateway, authorised.payment.payment_id)
    assert (captured.order.status, captured.due) == ("cancelled", order.total)
    await row_shop.all_holds(gateway)
    await row_shop.refund(gateway, order, captured.due)
    await row_shop.all_holds(gateway)


async def test_a_refused_refund_leaves_the_money_where_it_is(row_shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"r:1": Course.DECLINE}))
    order = await row_shop.place((2, 1))
    await row_shop.charge(gateway, order)
    with pytest.raises(PaymentFailed):
        await row_shop.refund(gateway, order, key="r")
    assert await row_shop.status(order) == "paid"
    await row_shop.refund(gateway, order)
    assert await row_shop.status(order) == "refunded"
    await row_shop.all_holds(gateway)
