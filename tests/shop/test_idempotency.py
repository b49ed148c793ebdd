"""Every command that moves stock or money, submitted again with its key."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from cloudlab.errors import InvalidInput, KeyReused, OutOfStock
from cloudlab.session import Session
from cloudlab.shop import fulfilment, inventory, orders, returns
from cloudlab.shop.gateway import Receipt
from cloudlab.shop.inventory import Level
from cloudlab.shop.sandbox import Sandbox
from shop.paying import CARD, Shop, eur

Command = Callable[[Session, bool], Awaitable[object]]


async def commands(shop: Shop) -> dict[str, Command]:
    """Each command under the key `k`, and with another request under it."""
    unpaid = await shop.place((2, 1))
    product = shop.products[0]
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def note(other: bool) -> list[returns.CreditLine]:
        return [returns.CreditLine(1, "A", -2 if other else -1, eur("1"), product)]

    return {
        "place": lambda s, other: orders.place(s, lines=[(product, 2 if other else 1)], idempotency_key="k"),
        "receive": lambda s, other: inventory.receive(s, product, 6 if other else 5, idempotency_key="k"),
        "adjust": lambda s, other: inventory.adjust(s, product, -4 if other else -3, idempotency_key="k"),
        "cancel": lambda s, other: fulfilment.cancel(
            s, unpaid.order_id, reason="other" if other else "x", idempotency_key="k"
        ),
        "credit": lambda s, other: returns.credit(s, "C1", note(other), credited_at=at, idempotency_key="k"),
    }


async def snapshot(shop: Shop) -> list[dict[str, object]]:
    async with shop.opener() as s:
        return await s.fetch(
            dict,
            """
            SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM events) AS events,
                   (SELECT count(*) FROM inventory_updates) AS ledger, (SELECT count(*) FROM credit_notes) AS notes,
                   (SELECT sum(available_quantity) FROM inventory) AS stock
            """,
        )


NAMES = ["place", "receive", "adjust", "cancel", "credit"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_hundred_double_submits_have_one_effect_and_one_answer(shop: Shop, name: str):
    command = (await commands(shop))[name]

    async def submit() -> object:
        async with shop.opener() as s:
            return await command(s, False)

    before = await snapshot(shop)
    first = await submit()
    after = await snapshot(shop)
    assert after != before
    answers = await asyncio.gather(*(submit() for _ in range(99)))
    assert all(answer == first for answer in answers)
    assert await snapshot(shop) == after
    await shop.all_holds()


@pytest.mark.parametrize("name", ["place", "receive"])
async def test_a_hundred_parallel_submits_have_one_effect(shop: Shop, name: str):
    command = (await commands(shop))[name]

    async def submit() -> object:
        async with shop.opener() as s:
            return await command(s, False)

    answers = await asyncio.gather(*(submit() for _ in range(100)))
    assert all(answer == answers[0] for answer in answers)
    assert (await shop.level(0)).available == (999 if name == "place" else 1005)


@pytest.mark.parametrize("name", NAMES)
async def test_another_request_under_the_same_key_is_refused(row_shop: Shop, name: str):
    command = (await commands(row_shop))[name]
    async with row_shop.opener() as s:
        await command(s, False)
    before = await snapshot(row_shop)
    with pytest.raises(KeyReused):
        async with row_shop.opener() as s:
            await command(s, True)
    assert await snapshot(row_shop) == before


async def test_two_commands_never_share_a_key(row_shop: Shop):
    made = await commands(row_shop)
    async with row_shop.opener() as s:
        await made["receive"](s, False)
    for name in ("place", "adjust", "cancel", "credit"):
        with pytest.raises(KeyReused):
            async with row_shop.opener() as s:
                await made[name](s, False)


async def test_what_was_refused_leaves_its_key_free(row_shop: Shop):
    with pytest.raises(OutOfStock):
        async with row_shop.opener() as s:
            await inventory.adjust(s, row_shop.products[0], -5000, idempotency_key="k")
    async with row_shop.opener() as s:
        assert await inventory.adjust(s, row_shop.products[0], -5, idempotency_key="k") == Level(995, 0)
    with pytest.raises(InvalidInput, match="corrects nothing"):
        async with row_shop.opener() as s:
            await inventory.adjust(s, row_shop.products[0], 0)


async def test_without_a_key_every_submit_counts(row_shop: Shop):
    for available in (1001, 1002):
        async with row_shop.opener() as s:
            assert await inventory.receive(s, row_shop.products[0], 1) == Level(available, 0)


async def test_a_receipt_for_something_else_under_a_known_key_is_refused(row_shop: Shop):
    first, second = await row_shop.place((2, 1)), await row_shop.place((2, 1))
    receipt = await Sandbox().capture(idempotency_key="c", amount=first.total, payment_method=CARD)
    async with row_shop.opener() as s:
        await fulfilment.pay(s, first.order_id, receipt)
    async with row_shop.opener() as s:
        assert (await fulfilment.pay(s, first.order_id, receipt)).version == 2
    other = Receipt("sandbox", receipt.reference, "c", CARD, eur("1"))
    for order, wrong in ((first, other), (second, receipt)):
        with pytest.raises(KeyReused):
            async with row_shop.opener() as s:
                await fulfilment.pay(s, order.order_id, wrong)
    await row_shop.all_holds()
