"""Several payments for an order: authorised, captured, let go of, and never taken twice."""

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlab.errors import (
    Conflict,
    Forbidden,
    IllegalTransition,
    InvalidInput,
    KeyReused,
    PaymentFailed,
    PaymentUnknown,
)
from cloudlab.events import store as events
from cloudlab.shop import invariants, payments
from cloudlab.shop.commissions import split
from cloudlab.shop.sandbox import Course, FileLedger, Sandbox, Scenario
from cloudlab.worker import Worker
from shop.paying import CARD, Shop, eur
from shop.wandering import wander

# Clocks of two machines: what began a moment ago counts as well.
NOW = timedelta(seconds=-60)


async def test_authorised_then_captured_makes_the_order_paid(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((0, 1), (1, 1))
    authorised = await shop.authorize(gateway, order)
    assert (authorised.payment.status, authorised.order.status) == ("authorized", "pending_payment")
    captured = await shop.capture(gateway, authorised.payment.payment_id)
    assert (captured.payment.status, captured.order.status) == ("captured", "paid")
    assert captured.due == eur("0")
    async with shop.opener() as s:
        types = [event.event_type for event in await events.read_stream(s, order.stream)]
    assert types == ["OrderPlaced", "OrderPaid"]
    await shop.all_holds(gateway)


async def test_an_order_is_paid_when_the_last_of_several_payments_completes_its_price(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((0, 1), (1, 1), (2, 1))
    assert (await shop.charge(gateway, order, eur("10"))).order.status == "pending_payment"
    await shop.all_holds(gateway)
    with pytest.raises(InvalidInput, match=r"43\.34 EUR is open"):
        await shop.charge(gateway, order, eur("43.35"))
    part = await shop.authorize(gateway, order, eur("20"))
    assert (await shop.capture(gateway, part.payment.payment_id, eur("7.77"))).order.status == "pending_payment"
    rest = await shop.charge(gateway, order)
    assert rest.payment.captured_amount == eur("35.57").amount
    assert rest.order.status == "paid"
    assert len(await shop.payments(order)) == 3
    await shop.all_holds(gateway)


async def test_a_voided_payment_takes_nothing_and_leaves_room_for_another(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 1))
    first = await shop.authorize(gateway, order)
    with pytest.raises(InvalidInput):
        await shop.charge(gateway, order)
    voided = await payments.void(shop.opener, gateway, first.payment.payment_id, idempotency_key="v")
    assert voided.payment.status == "voided"
    with pytest.raises(IllegalTransition, match="is voided"):
        await shop.capture(gateway, first.payment.payment_id)
    assert (await shop.charge(gateway, order)).order.status == "paid"
    await shop.all_holds(gateway)


async def test_more_than_was_authorised_cannot_be_captured(row_shop: Shop):
    gateway = Sandbox()
    first = await row_shop.authorize(gateway, await row_shop.place((2, 1)), eur("5"))
    with pytest.raises(InvalidInput, match=r"5\.01 EUR cannot be captured of 5\.00 EUR"):
        await row_shop.capture(gateway, first.payment.payment_id, eur("5.01"))


async def test_a_declined_payment_is_on_record_and_another_may_follow(shop: Shop):
    gateway = Sandbox(declines_above=eur("19"))
    order = await shop.place((2, 1))
    with pytest.raises(PaymentFailed, match="declined"):
        await shop.charge(gateway, order, key="k")
    with pytest.raises(PaymentFailed, match="declined"):
        await shop.charge(gateway, order, key="k")
    (failed,) = await shop.payments(order)
    assert failed.status == "failed"
    await shop.charge(gateway, order, eur("10"))
    assert (await shop.charge(gateway, order)).order.status == "paid"
    await shop.all_holds(gateway)


async def test_a_lost_answer_is_unknown_until_the_provider_is_asked_again(shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.LOST_ANSWER}))
    order = await shop.place((2, 1))
    with pytest.raises(PaymentUnknown):
        await shop.charge(gateway, order, key="k")
    (unknown,) = await shop.payments(order)
    assert unknown.status == "unknown"
    with pytest.raises(InvalidInput):
        await shop.charge(gateway, order)
    (settled,) = await payments.resolve_unknown(shop.opener, gateway, older_than=NOW)
    assert (settled.payment.status, settled.order.status) == ("captured", "paid")
    assert await payments.resolve_unknown(shop.opener, gateway, older_than=NOW) == []
    await shop.all_holds(gateway)


async def test_repeating_with_the_same_key_settles_a_lost_answer_too(row_shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.LOST_ANSWER}))
    order = await row_shop.place((2, 1))
    with pytest.raises(PaymentUnknown):
        await row_shop.charge(gateway, order, key="k")
    assert (await row_shop.charge(gateway, order, key="k")).order.status == "paid"
    await row_shop.all_holds(gateway)


async def test_what_never_reached_the_provider_has_failed(row_shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.TIMEOUT}))
    order = await row_shop.place((2, 1))
    with pytest.raises(PaymentUnknown):
        await row_shop.charge(gateway, order, key="k")
    (settled,) = await payments.resolve_unknown(row_shop.opener, gateway, older_than=NOW)
    assert settled.payment.status == "failed"
    assert (await row_shop.charge(gateway, order)).order.status == "paid"
    await row_shop.all_holds(gateway)


async def test_nothing_young_and_no_other_providers_requests_are_resolved(row_shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.TIMEOUT}))
    order = await row_shop.place((2, 1))
    with pytest.raises(PaymentUnknown):
        await row_shop.charge(gateway, order, key="k")
    assert await payments.resolve_unknown(row_shop.opener, gateway) == []
    other = Sandbox()
    other.provider = "other"
    assert await payments.resolve_unknown(row_shop.opener, other, older_than=NOW) == []


@pytest.mark.parametrize("died", ["before asking", "after asking"])
async def test_a_crash_between_asking_and_answering_is_found_out(row_shop: Shop, died: str, tmp_path):
    ledger = FileLedger(tmp_path / "ledger.sqlite")
    order = await row_shop.place((2, 1))
    async with row_shop.opener() as s:
        attempt = await payments.begin_payment(
            s, order.order_id, kind=payments.Kind.CAPTURE, payment_method=CARD, provider="sandbox", idempotency_key="k"
        )
    if died == "after asking":
        await payments.ask(Sandbox(ledger=ledger), attempt)
    after = Sandbox(ledger=FileLedger(tmp_path / "ledger.sqlite"))
    (settled,) = await payments.resolve_unknown(row_shop.opener, after, older_than=NOW)
    assert settled.payment.status == ("captured" if died == "after asking" else "failed")
    await row_shop.all_holds(after)


async def test_a_second_request_about_a_payment_waits_for_the_first(row_shop: Shop):
    gateway = Sandbox()
    first = await row_shop.authorize(gateway, await row_shop.place((2, 1)))
    async with row_shop.opener() as s:
        await payments.begin_capture(s, first.payment.payment_id, idempotency_key="c")
    with pytest.raises(Conflict, match="under way"):
        await payments.void(row_shop.opener, gateway, first.payment.payment_id, idempotency_key="v")


async def test_the_same_key_charges_once_however_often_it_is_submitted(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 3))
    done = await asyncio.gather(*(shop.charge(gateway, order, key="once") for _ in range(100)))
    assert {each.order.status for each in done} == {"paid"}
    assert len({each.payment.payment_id for each in done}) == 1
    with pytest.raises(KeyReused):
        await shop.charge(gateway, order, eur("1"), key="once")
    await shop.all_holds(gateway)


async def test_parallel_payments_never_take_more_than_the_price(shop: Shop):
    gateway = Sandbox()
    order = await shop.place((2, 1))
    done = await asyncio.gather(*(shop.charge(gateway, order, eur("6")) for _ in range(10)), return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in done) == 3
    assert {type(each) for each in done if isinstance(each, Exception)} == {InvalidInput}
    await shop.all_holds(gateway)


async def test_an_answer_cannot_be_changed_afterwards(row_shop: Shop):
    order = await row_shop.place((2, 1))
    await row_shop.charge(Sandbox(), order)
    for change in (
        "UPDATE payment_transactions SET status = 'failed'",
        "UPDATE payment_transactions SET amount = 1",
        "DELETE FROM payment_transactions",
    ):
        with pytest.raises(Forbidden):
            async with row_shop.opener() as s:
                await s.execute(change)


@pytest.mark.parametrize("seed", range(4))
async def test_money_and_stock_stay_exact_whatever_happens(shop: Shop, seed: int):
    """Orders, payments, refunds and crashes at random; then everything is asked about, and both books are equal."""
    choice = random.Random(seed)
    gateway = Sandbox(scenario=Scenario(seed=seed, decline=0.1, timeout=0.15, lost_answer=0.15, duplicate_webhook=0.3,
                                        late_webhook=0.3))  # fmt: skip
    placed = [await shop.place((choice.randrange(3), choice.randint(1, 4)), (0, 1), (2, 2)) for _ in range(6)]
    for _ in range(100):
        await wander(shop, gateway, choice.choice(placed), choice)
    await payments.resolve_unknown(shop.opener, gateway, older_than=NOW, limit=1000)
    await shop.all_holds(gateway)
    done = {(entry.kind, entry.status) for entry in await gateway.entries()}
    assert {(kind, payments.Answer.SUCCEEDED) for kind in ("authorize", "capture", "refund")} <= done


async def test_payments_in_parts_reach_the_analytics_to_the_last_unit(shop: Shop):
    gateway = Sandbox()
    first, second = await shop.place((2, 2)), await shop.place((2, 1))
    await shop.charge(gateway, first, eur("9.98"))
    gateway = Sandbox(ledger=gateway._ledger, scenario=Scenario(by_key={"no": Course.DECLINE}))
    with pytest.raises(PaymentFailed):
        await shop.charge(gateway, first, key="no")
    await shop.charge(gateway, first)
    await shop.refund(gateway, first, eur("31"))
    await shop.charge(gateway, second, eur("5"))
    await shop.authorize(gateway, second)
    await Worker(shop.platform).run_until_caught_up()
    async with shop.opener() as s:
        verdict = await invariants.reconcile(s, shop.platform.analytics)
    assert verdict.holds, verdict
    assert "(3 payments)" in verdict.detail
    rows = await shop.platform.analytics.query(
        """
        SELECT status, captured_amount, refunded_amount FROM payments FINAL
        WHERE tenant_id = {tenant_id:UUID} ORDER BY captured_amount
        """,
        {"tenant_id": str(shop.tenant.tenant_id)},
    )
    found = [(row["status"], row["captured_amount"], row["refunded_amount"]) for row in rows]
    assert found == [
        ("captured", Decimal(5), Decimal(0)),
        ("partially_refunded", Decimal("9.98"), Decimal(1)),
        ("refunded", Decimal(30), Decimal(30)),
    ]


amounts = st.integers(0, 10**6)


@given(st.lists(amounts, min_size=1, max_size=6), amounts)
def test_a_split_is_exact_and_keeps_within_its_rooms(rooms, amount):
    whole = [Decimal(room) / 100 for room in rooms]
    wanted = min(Decimal(amount) / 100, sum(whole, Decimal(0)))
    parts = split(wanted, whole, whole, Decimal("0.01"))
    assert sum(parts) == wanted
    assert all(0 <= part <= room for part, room in zip(parts, whole, strict=True))
