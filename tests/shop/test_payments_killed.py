"""A payment that dies at every point there is: before each statement, each commit, each question and each answer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from cloudlab.errors import PaymentFailed
from cloudlab.shop import payments
from cloudlab.shop.sandbox import FileLedger, Sandbox
from shop.paying import CARD, Shop, eur

NOW = timedelta(seconds=-60)


class DiedError(Exception):
    """Stands for the end of the process: nothing after it runs, and an open transaction is rolled back."""


class Fate:
    """Lets so many steps happen, and then no more."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise DiedError


class MortalSession:
    """A session in which each statement is a step."""

    def __init__(self, s: Any, fate: Fate) -> None:
        self._s, self._fate = s, fate

    def __getattr__(self, name: str) -> Any:
        if name in ("fetch", "fetch_one", "fetch_tuples", "execute"):
            self._fate.step()
        return getattr(self._s, name)


class MortalGateway:
    """A gateway whose questions and answers are steps."""

    provider = Sandbox.provider

    def __init__(self, gateway: Sandbox, fate: Fate) -> None:
        self._gateway, self._fate = gateway, fate

    def __getattr__(self, name: str) -> Any:
        async def asked(*args: Any, **options: Any) -> Any:
            self._fate.step()
            answer = await getattr(self._gateway, name)(*args, **options)
            self._fate.step()
            return answer

        return asked


async def trade(shop: Shop, gateway: Any, order: Any, fate: Fate, key: str) -> None:
    """Authorise, capture a part, charge the rest, give some back, give all back."""

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Any]:
        async with shop.opener() as s:
            yield MortalSession(s, fate)
            fate.step()

    number = order.order_id
    first = await payments.authorize(
        opener, gateway, number, payment_method=CARD, amount=eur("20"), idempotency_key=f"{key}a"
    )
    await payments.capture(opener, gateway, first.payment.payment_id, amount=eur("15"), idempotency_key=f"{key}c")
    await payments.charge(opener, gateway, number, payment_method=CARD, idempotency_key=f"{key}d")
    await payments.refund(opener, gateway, number, amount=eur("30"), reason="some", idempotency_key=f"{key}r")
    await payments.refund(opener, gateway, number, reason="all", idempotency_key=f"{key}s")


@pytest.mark.parametrize("recovery", ["repeated", "resolved first"])
async def test_a_payment_killed_anywhere_ends_whole_and_charges_nothing_twice(row_shop: Shop, recovery: str, tmp_path):
    shop, points = row_shop, 0
    while True:
        # Each death has a ledger of its own, in a file, as the provider outlives us.
        path = tmp_path / f"{points}.sqlite"
        order = await shop.place((2, 2))
        fate, key = Fate(points), f"{recovery}-{points}-"
        try:
            await trade(shop, MortalGateway(Sandbox(ledger=FileLedger(path)), fate), order, fate, key)
            break
        except DiedError:
            points += 1
        gateway = Sandbox(ledger=FileLedger(path))
        if recovery == "resolved first":
            await payments.resolve_unknown(shop.opener, gateway, older_than=NOW)
            found = [payment.status for payment in await shop.payments(order)]
            assert not {"created", "unknown"} & set(found)
        await finish(shop, gateway, order, key)
        assert await shop.status(order) == "refunded"
        sums = (await gateway.sums())["EUR"]
        assert (sums.captured, sums.refunded) == (order.total.amount, order.total.amount)
    assert points > 60
    await shop.all_holds()


async def finish(shop: Shop, gateway: Sandbox, order: Any, key: str) -> None:
    """Repeat the whole with its keys; what was found not to have happened is asked for under new ones."""
    try:
        await trade(shop, gateway, order, Fate(10**6), key)
    except PaymentFailed:
        for payment in await shop.payments(order):
            if payment.status == "authorized":
                await shop.capture(gateway, payment.payment_id)
        if await shop.status(order) == "pending_payment":
            await shop.charge(gateway, order)
        await shop.refund(gateway, order)
