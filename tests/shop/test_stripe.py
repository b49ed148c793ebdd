"""The Stripe adapter, on Stripe's own library, against a stand-in of its HTTP interface."""

import json
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from cloudlab.errors import ConfigError, Forbidden, InvalidInput, KeyReused, PaymentFailed, PaymentUnknown
from cloudlab.shop import payments
from cloudlab.shop.gateway import Answer, Kind, PaymentMethod
from cloudlab.shop.stripe_gateway import (
    StripeGateway,
    StripeWebhooks,
    from_minor_units,
    minor_units,
    stripe_gateway,
)
from cloudlab.shop.webhooks import receive_webhook
from cloudlab.values import Money
from shop.paying import CARD, Shop, eur
from shop.stripe_standin import StandIn, stand_in

VISA, DECLINED, SECRET = "pm_card_visa", "pm_card_chargeDeclined", "whsec_test"
NOW = timedelta(seconds=-60)


@pytest.fixture
async def server() -> AsyncGenerator[StandIn]:
    async with stand_in() as running:
        yield running


@pytest.fixture
async def gateway(server: StandIn) -> AsyncGenerator[StripeGateway]:
    async with stripe_gateway("sk_test", base_url=server.url, timeout_seconds=0.5, retries=0) as opened:
        yield opened


async def charge(gateway: StripeGateway, key: str, *, token: str = VISA, amount: Money | None = None):
    return await gateway.capture(idempotency_key=key, amount=amount or eur("10"), payment_method=CARD, token=token)


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [("49.99", "EUR", 4999), ("5000", "JPY", 5000), ("1.230", "KWD", 1230), ("5", "ISK", 500), ("700", "MGA", 700)],
)
def test_amounts_are_counted_as_stripe_counts_them(amount: str, currency: str, units: int):
    money = Money(amount, currency)
    assert minor_units(money) == units
    assert from_minor_units(units, currency.lower()) == money


@pytest.mark.parametrize(("amount", "currency"), [("0.001", "EUR"), ("1.5", "JPY"), ("1.234", "KWD"), ("5.5", "ISK")])
def test_an_amount_that_stripe_cannot_charge_is_refused(amount: str, currency: str):
    with pytest.raises(InvalidInput, match="too many decimals"):
        minor_units(Money(amount, currency))


async def test_authorise_capture_a_part_and_refund_a_part(gateway: StripeGateway, server: StandIn):
    kept = await gateway.authorize(idempotency_key="a", amount=eur("10"), payment_method=CARD, token=VISA)
    taken = await gateway.capture(idempotency_key="c", amount=eur("7.5"), payment_method=CARD, authorization=kept)
    back = await gateway.refund(taken, idempotency_key="r", amount=eur("2.5"))
    assert server.intents["pi_1"]["amount_received"] == 750
    assert server.refunds[back.reference]["amount"] == 250
    assert [key for method, _, key in server.requests if method == "POST"] == ["a", "c", "r"]
    with pytest.raises(PaymentFailed, match="greater than unrefunded"):
        await gateway.refund(taken, idempotency_key="r2", amount=eur("5.01"))


async def test_an_authorisation_is_let_go_once(gateway: StripeGateway, server: StandIn):
    kept = await gateway.authorize(idempotency_key="a", amount=eur("10"), payment_method=CARD, token=VISA)
    await gateway.void(kept, idempotency_key="v")
    assert server.intents["pi_1"]["status"] == "canceled"
    await gateway.void(kept, idempotency_key="v")
    with pytest.raises(PaymentFailed, match="is canceled"):
        await gateway.capture(idempotency_key="c", amount=eur("10"), payment_method=CARD, authorization=kept)


async def test_the_same_key_is_the_same_payment_and_never_another(gateway: StripeGateway, server: StandIn):
    assert await charge(gateway, "k") == await charge(gateway, "k")
    assert len(server.intents) == 1
    with pytest.raises(KeyReused):
        await charge(gateway, "k", amount=eur("11"))


async def test_a_declined_card_has_failed_for_good(gateway: StripeGateway):
    with pytest.raises(PaymentFailed, match="Your card was declined") as declined:
        await charge(gateway, "k", token=DECLINED)
    assert declined.value.details == "card_declined"
    found = await gateway.find("k", kind=Kind.CAPTURE, since=datetime.now(UTC), parent=None)
    assert found is not None
    assert found.status is Answer.FAILED


async def test_what_is_not_known_is_never_called_a_failure(gateway: StripeGateway, server: StandIn):
    server.silent.add("silent")
    server.in_flight.add("twin")
    for key in ("silent", "twin"):
        with pytest.raises(PaymentUnknown):
            await charge(gateway, key)
    async with stripe_gateway("sk_test", base_url="http://127.0.0.1:1", retries=0) as nobody:
        with pytest.raises(PaymentUnknown):
            await charge(nobody, "k")


async def test_a_wrong_api_key_is_said_to_be_one(server: StandIn):
    async with stripe_gateway("sk_wrong", base_url=server.url, retries=0) as opened:
        with pytest.raises(ConfigError, match="API key"):
            await charge(opened, "k")


async def test_a_payment_without_a_token_is_refused_before_stripe_is_asked(gateway: StripeGateway, server: StandIn):
    with pytest.raises(InvalidInput, match="token"):
        await gateway.capture(idempotency_key="k", amount=eur("1"), payment_method=PaymentMethod.PAYPAL)
    assert server.requests == []


async def test_every_request_is_found_again_page_after_page(gateway: StripeGateway):
    since = datetime.now(UTC)
    receipts = [await charge(gateway, f"k{n}") for n in range(7)]
    backs = [await gateway.refund(receipts[0], idempotency_key=f"r{n}", amount=eur("1")) for n in range(5)]
    for receipt in receipts:
        assert await gateway.find(receipt.idempotency_key, kind=Kind.CAPTURE, since=since, parent=None) == receipt
    for back in backs:
        parent = receipts[0].reference
        assert await gateway.find(back.idempotency_key, kind=Kind.REFUND, since=since, parent=parent) == back
    assert await gateway.find("other", kind=Kind.CAPTURE, since=since, parent=None) is None
    assert await gateway.find("other", kind=Kind.REFUND, since=since, parent="pi_1") is None
    long_ago = since - timedelta(days=9)
    assert await gateway.find("k1", kind=Kind.CAPTURE, since=long_ago, parent=None) is None


async def test_the_end_of_an_authorisation_is_found_by_what_became_of_it(gateway: StripeGateway):
    since = datetime.now(UTC)
    first = await gateway.authorize(idempotency_key="a", amount=eur("10"), payment_method=CARD, token=VISA)
    assert await gateway.find("c", kind=Kind.CAPTURE, since=since, parent=first.reference) is None
    taken = await gateway.capture(idempotency_key="c", amount=eur("4"), payment_method=CARD, authorization=first)
    assert await gateway.find("c", kind=Kind.CAPTURE, since=since, parent=first.reference) == taken
    voided = await gateway.find("v", kind=Kind.VOID, since=since, parent=first.reference)
    assert voided is not None
    assert voided.status is Answer.FAILED
    assert await gateway.find("a", kind=Kind.AUTHORIZE, since=since, parent=None) is not None


async def test_an_order_is_paid_by_stripe_and_a_lost_answer_found_out(
    row_shop: Shop, gateway: StripeGateway, server: StandIn
):
    order = await row_shop.place((2, 2))
    server.silent.add("k")
    pay = {"payment_method": CARD, "token": VISA}
    with pytest.raises(PaymentUnknown):
        await payments.charge(row_shop.opener, gateway, order.order_id, idempotency_key="k", **pay)
    (settled,) = await payments.resolve_unknown(row_shop.opener, gateway, older_than=NOW)
    assert settled.order.status == "paid"
    await row_shop.refund(gateway, order, eur("9.98"))
    await row_shop.refund(gateway, order)
    assert await row_shop.status(order) == "refunded"
    assert len(server.intents) == 1
    assert sum(refund["amount"] for refund in server.refunds.values()) == 3998
    await row_shop.all_holds()


async def test_what_never_reached_stripe_is_failed_and_can_be_tried_again(
    row_shop: Shop, gateway: StripeGateway, server: StandIn
):
    order = await row_shop.place((2, 1))
    server.deaf.add("k")
    pay = {"payment_method": CARD, "token": VISA}
    with pytest.raises(PaymentUnknown):
        await payments.charge(row_shop.opener, gateway, order.order_id, idempotency_key="k", **pay)
    (settled,) = await payments.resolve_unknown(row_shop.opener, gateway, older_than=NOW)
    assert settled.payment.status == "failed"
    done = await payments.charge(row_shop.opener, gateway, order.order_id, idempotency_key="k2", **pay)
    assert done.order.status == "paid"
    assert len(server.intents) == 1


def posted(kind: str, thing: dict, *, key: str | None = None, event_id: str = "evt_1") -> bytes:
    return json.dumps(
        {
            "id": event_id, "object": "event", "type": kind, "created": int(time.time()), "api_version": None,
            "request": {"id": "req_1", "idempotency_key": key}, "data": {"object": thing},
        }
    ).encode()  # fmt: skip


def signed(payload: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(payload.decode(), secret, at)
    return {"Stripe-Signature": header}


async def test_a_signed_message_pays_the_order_whose_answer_was_lost(
    row_shop: Shop, gateway: StripeGateway, server: StandIn
):
    order = await row_shop.place((2, 1))
    server.silent.add("k")
    with pytest.raises(PaymentUnknown):
        await payments.charge(
            row_shop.opener, gateway, order.order_id, payment_method=CARD, idempotency_key="k", token=VISA
        )
    payload = posted("payment_intent.succeeded", server.intents["pi_1"])
    message = StripeWebhooks(SECRET).read(payload, signed(payload))
    assert message is not None
    for _ in range(2):
        async with row_shop.opener() as s:
            await receive_webhook(s, message)
    assert await row_shop.status(order) == "paid"
    await row_shop.all_holds()


async def test_messages_say_what_was_asked_for(gateway: StripeGateway, server: StandIn):
    hooks = StripeWebhooks(SECRET)

    def read(kind: str, thing: dict, key: str | None = None):
        payload = posted(kind, thing, key=key)
        message = hooks.read(payload, signed(payload))
        return message and (message.kind, message.status, message.idempotency_key, message.amount, message.reference)

    kept = await gateway.authorize(idempotency_key="a", amount=eur("10"), payment_method=CARD, token=VISA)
    intent = server.intents["pi_1"]
    assert read("payment_intent.amount_capturable_updated", intent) == (
        Kind.AUTHORIZE, Answer.SUCCEEDED, "a", eur("10"), "pi_1",
    )  # fmt: skip
    taken = await gateway.capture(idempotency_key="c", amount=eur("4"), payment_method=CARD, authorization=kept)
    assert read("payment_intent.succeeded", intent, "c") == (Kind.CAPTURE, Answer.SUCCEEDED, "c", eur("4"), "pi_1")
    await gateway.refund(taken, idempotency_key="r", amount=eur("1"))
    refund = server.refunds["re_1"]
    assert read("refund.created", refund) == (Kind.REFUND, Answer.SUCCEEDED, "r", eur("1"), "re_1")
    assert read("refund.failed", refund | {"status": "failed"})[1] is Answer.FAILED
    assert read("refund.updated", refund | {"status": "pending"}) is None
    assert read("payment_intent.payment_failed", intent)[:2] == (Kind.AUTHORIZE, Answer.FAILED)
    assert read("payment_intent.canceled", intent, "v")[:3] == (Kind.VOID, Answer.SUCCEEDED, "v")
    # Done by hand in Stripe's dashboard: nobody of ours asked, so no request of ours is answered.
    assert read("payment_intent.canceled", intent)[2] is None
    assert read("payment_intent.succeeded", intent)[2] is None
    assert read("customer.created", {"id": "cus_1", "object": "customer"}) is None


@pytest.mark.parametrize("wrong", ["no header", "other secret", "too old", "changed"])
def test_what_stripe_has_not_signed_is_refused(wrong: str):
    payload = posted("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent"})
    headers = {
        "no header": {},
        "other secret": signed(payload, secret="whsec_other"),
        "too old": signed(payload, at=int(time.time()) - 301),
        "changed": signed(payload.replace(b"pi_1", b"pi_2")),
    }[wrong]
    with pytest.raises(Forbidden, match="not signed by Stripe"):
        StripeWebhooks(SECRET).read(payload, headers)
