"""A process that runs a checkout is killed -9 at every point: before each round trip, commit, question and answer.

Each point has a process and an order of its own. Then other workers resume what is left of all of them.

Standard: §3.3 Saga State Management, §3.1 Strong Consistency (CP from CAP)
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.postgres.transaction import Transaction
from cloudlab.shop import catalog, invariants, inventory, orders, payments, vendors
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.order import NewOrder
from cloudlab.shop.sandbox import Course, FileLedger, Sandbox, Scenario
from cloudlab.tenancy.tenants import shard_config
from sagas.making import running
from sagas.test_workers import forked, waited
from shop.paying import CARD, eur

log = logging.getLogger(__name__)

STOCK = 1000


class NoCapture(Scenario):
    """Authorises everything, and takes nothing."""

    def course(self, wanted: Any) -> Course:
        return Course.DECLINE if wanted.kind == "capture" else Course.ACCEPT


SCENARIOS = {"completed": Scenario(), "compensated": NoCapture(), "refunded": Scenario()}


class Mortal:
    """A gateway whose questions and answers are points at which its process may die."""

    provider = Sandbox.provider

    def __init__(self, gateway: Sandbox, point: Callable[[], None]) -> None:
        self._gateway, self._point = gateway, point

    def __getattr__(self, name: str) -> Any:
        async def asked(*args: Any, **options: Any) -> Any:
            self._point()
            answer = await getattr(self._gateway, name)(*args, **options)
            self._point()
            return answer

        return asked


def counted(deadly: int) -> Callable[[], None]:
    """Return what counts points, and kills this process at one of them."""
    passed = [0]

    def point() -> None:
        passed[0] += 1
        if passed[0] == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    return point


def make_mortal(point: Callable[[], None]) -> None:
    """Make every round trip and every commit a point; what is queued travels with one of them, and can die in no other.

    This process ends with its test, so nothing is put back.
    """

    def before(name: str) -> None:
        real = getattr(Transaction, name)

        def dying(self: Transaction, *args: Any, **options: Any) -> Any:
            point()
            return real(self, *args, **options)

        setattr(Transaction, name, dying)

    for name in ("execute", "commit"):
        before(name)


async def prepared(config: Config, checkout: Checkout) -> list[UUID]:
    """Open a shop with the goods of two vendors."""
    async with Platform.open(config, sagas=checkout.definitions) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        products: list[UUID] = []
        async with platform.session(acme) as s:
            for name, price in (("A", "33.335"), ("B", "19.99")):
                vendor = await vendors.join(s, vendor_name=name, commission_rate="0.125")
                product = await catalog.add(
                    s, sku=name, name=name, price=eur(price), stock=STOCK, vendor_id=vendor.vendor_id
                )
                products.append(product.product_id)
        return products


async def bought(config: Config, checkout: Checkout, products: list[UUID], key: str, *, refund: bool) -> UUID:
    """Place an order and start what is to be killed: its checkout, or its refund when it has been paid for."""
    async with Platform.open(config, sagas=checkout.definitions) as platform:
        acme = await platform.tenant("acme")
        order = NewOrder(lines=[(product, 1) for product in products], idempotency_key=key)
        if not refund:
            return (await checkout.buy(platform, acme, order, payment_method=CARD)).saga_id

        async with platform.session(acme) as s:
            placed = await orders.place(s, lines=order.lines, idempotency_key=key)
        for part, amount in (("a", eur("20")), ("b", None)):
            await payments.charge(
                lambda: platform.session(acme), checkout._gateway, placed.order_id,
                payment_method=CARD, idempotency_key=f"{key}-{part}", amount=amount,
            )  # fmt: skip
        async with platform.session(acme) as s:
            return await checkout.give_back(s, placed.order_id, reason="test", idempotency_key=key)


async def run_one(config: Config, gateway: Sandbox, saga_id: UUID, point: Callable[[], None]) -> None:
    """Run a saga to its end, unless a point ends this process."""
    checkout = Checkout(Mortal(gateway, point))
    async with Platform.open(config, sagas=checkout.definitions) as platform:
        acme = await platform.tenant("acme")
        make_mortal(point)
        async with running(platform, acme, lease_seconds=3600):
            await platform.sagas.ended(acme, saga_id, within_seconds=30)


def put_off(config: Config, interval: str) -> None:
    """Say when the sagas under way are due: those of dead processes wait until all have died."""
    with psycopg.connect(shard_config(config, "eu_west_001").urls.worker_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE cloudlab.saga_instances SET next_at = clock_timestamp() + %s::interval WHERE next_at IS NOT NULL",
            [interval],
        )


@asynccontextmanager
async def resumed(config: Config, gateway: Sandbox, sagas: list[UUID]):
    """Let a worker resume what is left; yield how each ended."""
    checkout = Checkout(gateway)
    async with Platform.open(config, sagas=checkout.definitions) as platform:
        acme = await platform.tenant("acme")
        async with running(platform, acme):
            yield platform, acme, [(await platform.sagas.ended(acme, each)).status for each in sagas]


async def check(config: Config, gateway: Sandbox, sagas: list[UUID], products: list[UUID], ending: str) -> None:
    """Check how every saga ended, that both ledgers agree, and that nothing was charged twice."""
    async with resumed(config, gateway, sagas) as (platform, acme, statuses):
        assert set(statuses) == {"compensated" if ending == "compensated" else "completed"}
        async with platform.session(acme) as s:
            verdicts = await invariants.check(s)
            ours = await s.fetch_tuples(
                """
                SELECT /* test */ t.idempotency_key, t.transaction_type, t.status, t.amount
                FROM payment_transactions AS t ORDER BY t.idempotency_key
                """
            )
            states = await s.fetch_tuples("SELECT /* test */ status::text, count(*) FROM orders GROUP BY status")
            levels = {await inventory.level(s, product) for product in products}
        assert all(verdict.holds for verdict in verdicts), verdicts
        theirs = {entry.key: (entry.kind, entry.status, entry.amount.amount) for entry in await gateway.entries()}
        assert {key: (kind, status, amount) for key, kind, status, amount in ours} == theirs
        left = STOCK - len(sagas) if ending == "completed" else STOCK
        assert levels == {inventory.Level(left, 0)}
        state = {"completed": "shipped", "compensated": "cancelled", "refunded": "refunded"}[ending]
        assert states == [(state, len(sagas))]
        sums = (await gateway.sums()).get("EUR")
        price = Decimal("53.33") if sums is None else sums.captured / len(sagas)
        assert price == Decimal("53.33")  # once for each
        assert (sums.refunded if sums else 0) == (sums.captured if sums and ending == "refunded" else 0)


@pytest.mark.parametrize("ending", ["completed", "compensated", "refunded"])
def test_killed_at_any_point_it_ends_whole_and_charges_nothing_twice(config: Config, tmp_path: Path, ending: str):
    gateway = Sandbox(scenario=SCENARIOS[ending], ledger=FileLedger(tmp_path / "sandbox.sqlite"))
    checkout = Checkout(gateway)
    products = asyncio.run(prepared(config, checkout))
    sagas: list[UUID] = []
    for deadly in range(1, 1000):
        sagas.append(asyncio.run(bought(config, checkout, products, f"{ending}-{deadly}", refund=ending == "refunded")))
        pid = forked(lambda: asyncio.run(run_one(config, gateway, sagas[-1], counted(deadly))))  # noqa: B023
        code = waited(pid)
        put_off(config, "1 hour")
        if code == 0:
            break
        assert code == -signal.SIGKILL
    put_off(config, "0 seconds")
    asyncio.run(check(config, gateway, sagas, products, ending))
    log.warning("%s: %d points", ending, deadly - 1)
    assert deadly > {"completed": 60, "compensated": 60, "refunded": 30}[ending]
