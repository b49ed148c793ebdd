"""What a provider says of its own accord: twice, late, out of order, about things we never asked for."""

import random
from dataclasses import replace

import pytest

from cloudlab.errors import InvalidInput, PaymentUnknown
from cloudlab.shop import payments
from cloudlab.shop.gateway import Message
from cloudlab.shop.payments import Settled
from cloudlab.shop.sandbox import Course, Sandbox, Scenario
from cloudlab.shop.webhooks import receive_webhook
from shop.paying import Shop, eur


async def receive(shop: Shop, message: Message) -> Settled | None:
    async with shop.opener() as s:
        return await receive_webhook(s, message)


async def test_a_message_settles_what_the_answer_was_lost_of_and_changes_nothing_twice(shop: Shop):
    gateway = Sandbox(scenario=Scenario(by_key={"k": Course.LOST_ANSWER}, duplicate_webhook=1))
    order = await shop.place((2, 1))
    with pytest.raises(PaymentUnknown):
        await shop.charge(gateway, order, key="k")
    first, again = await gateway.take_messages()
    assert first == again
    settled = await receive(shop, first)
    assert settled is not None
    assert settled.order.status == "paid"
    assert await receive(shop, again) is None
    assert (await shop.charge(gateway, order, key="k")).order.version == settled.order.version
    await shop.all_holds(gateway)


async def test_messages_in_any_order_end_in_the_same_state(row_shop: Shop):
    for seed in range(6):
        gateway = Sandbox(scenario=Scenario(seed=seed, duplicate_webhook=0.5, late_webhook=0.5))
        order = await row_shop.place((2, 2))
        authorised = await row_shop.authorize(gateway, order)
        await row_shop.capture(gateway, authorised.payment.payment_id)
        await row_shop.refund(gateway, order, eur("3"))
        before = await row_shop.payments(order)
        messages = await gateway.take_messages() + await gateway.take_messages()
        random.Random(seed).shuffle(messages)
        for message in messages:
            await receive(row_shop, message)
        assert await row_shop.payments(order) == before
    await row_shop.all_holds()


async def test_an_early_failure_does_not_undo_a_success(row_shop: Shop):
    gateway = Sandbox()
    order = await row_shop.place((2, 1))
    await row_shop.charge(gateway, order)
    (message,) = await gateway.take_messages()
    await receive(row_shop, replace(message, event_id="other", status=payments.Answer.FAILED))
    assert await row_shop.status(order) == "paid"


async def test_what_we_never_asked_for_is_kept_and_changes_nothing(row_shop: Shop):
    gateway = Sandbox()
    await gateway.capture(idempotency_key="theirs", amount=eur("1"), payment_method=payments.PaymentMethod.PAYPAL)
    (message,) = await gateway.take_messages()
    assert await receive(row_shop, message) is None
    assert await receive(row_shop, replace(message, event_id="e2", idempotency_key=None)) is None
    async with row_shop.opener() as s:
        assert len(await s.fetch(dict, "SELECT event_id FROM payment_webhooks")) == 2


async def test_a_message_of_another_amount_is_refused(row_shop: Shop):
    gateway = Sandbox()
    await row_shop.charge(gateway, await row_shop.place((2, 1)))
    (message,) = await gateway.take_messages()
    with pytest.raises(InvalidInput, match=r"a capture of 1\.00 EUR"):
        await receive(row_shop, replace(message, amount=eur("1")))


async def test_messages_come_late_and_twice_as_the_scenario_says(row_shop: Shop):
    gateway = Sandbox(scenario=Scenario(late_webhook=1, duplicate_webhook=1))
    await row_shop.charge(gateway, await row_shop.place((2, 1)))
    assert await gateway.take_messages() == []
    assert len(await gateway.take_messages()) == 2
    assert await gateway.take_messages() == []
