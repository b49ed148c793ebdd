"""One random step of a shop's day; what the shop refuses is part of it."""

import contextlib
import random

from cloudlab.errors import Conflict, InvalidInput, PaymentFailed, PaymentUnknown
from cloudlab.shop import fulfilment, payments
from cloudlab.shop.orders import Order
from cloudlab.shop.payments import ReturnLine
from cloudlab.shop.reservations import expire_reservations
from cloudlab.shop.sandbox import Sandbox
from cloudlab.shop.webhooks import receive_webhook
from shop.paying import Shop, eur


async def wander(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    steps = [_charge, _authorize, _end, _refund, _return, _send, _expire, _messages, _cancel]
    (step,) = choice.choices(steps, [4, 3, 3, 3, 2, 2, 1, 2, 0.3])
    with contextlib.suppress(InvalidInput, Conflict, PaymentFailed, PaymentUnknown):
        await step(shop, gateway, order, choice)


async def _charge(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    amount = eur(f"{choice.randint(1, 3000) / 100:.2f}") if choice.random() < 0.6 else None
    await shop.charge(gateway, order, amount)


async def _authorize(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    await shop.authorize(gateway, order, eur(f"{choice.randint(1, 5000) / 100:.2f}") if choice.random() < 0.6 else None)


async def _end(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    for payment in await shop.payments(order):
        if payment.status == "authorized":
            if choice.random() < 0.3:
                await payments.void(shop.opener, gateway, payment.payment_id, idempotency_key=shop.new_key())
            else:
                await shop.capture(gateway, payment.payment_id)


async def _refund(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    await shop.refund(gateway, order, eur(f"{choice.randint(1, 4000) / 100:.2f}") if choice.random() < 0.8 else None)


async def _return(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    await shop.refund(gateway, order, lines=[ReturnLine(choice.randint(1, 3), 1, choice.random() < 0.5)])


async def _send(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    await shop.send(order)


async def _expire(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    await shop.expire_holds()
    async with shop.opener() as s:
        await expire_reservations(s)


async def _messages(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    messages = await gateway.take_messages()
    choice.shuffle(messages)
    for message in messages:
        async with shop.opener() as s:
            await receive_webhook(s, message)


async def _cancel(shop: Shop, gateway: Sandbox, order: Order, choice: random.Random) -> None:
    async with shop.opener() as s:
        await fulfilment.cancel(s, order.order_id, reason="test")
