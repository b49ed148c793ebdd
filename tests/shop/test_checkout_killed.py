"""A process that runs a checkout is killed -9 at every point: before each round trip, commit, question and answer.

A whole run says which points there are, by their names; each of them, and each that is found on the way, has a process
and an order of its own. Then another worker resumes what is left of all of them.

Standard: §3.3 Saga State Management, §3.1 Strong Consistency (CP from CAP)
"""

import asyncio
import logging
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

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

TRIES = 10

Point = Callable[[str], None]


class NoCapture(Scenario):
    """Authorises everything, and takes nothing."""

    def course(self, wanted: Any) -> Course:
        return Course.DECLINE if wanted.kind == "capture" else Course.ACCEPT


SCENARIOS = {"completed": Scenario(), "compensated": NoCapture(), "refunded": Scenario()}


class Mortal:
    """A gateway whose questions and answers are points at which its process may die."""

    provider = Sandbox.provider

    def __init__(self, gateway: Sandbox, point: Point) -> None:
        self._gateway, self._point = gateway, point

    def __getattr__(self, name: str) -> Any:
        async def asked(*args: Any, **options: Any) -> Any:
            self._point(f"before {name}")
            answer = await getattr(self._gateway, name)(*args, **options)
            self._point(f"after {name}")
            return answer

        return asked


def deadly(target: str, record: Path) -> Point:
    """Return what kills this process at one point; the record says which have been reached."""
    passed: Counter[str] = Counter()

    def point(name: str) -> None:
        passed[name] += 1
        reached = f"{name} #{passed[name]}"
        with record.open("a") as file:
            file.write(f"{reached}\n")
        if reached == target:
            os.kill(os.getpid(), signal.SIGKILL)

    return point


def make_mortal(point: Point) -> None:
    """Make every round trip and every commit a point; what is queued travels with one of them, and can die in no other.

    This process ends with its test, so nothing is put back.
    """

    last: WeakKeyDictionary[Transaction, str] = WeakKeyDictionary()

    def before(name: str) -> None:
        real = getattr(Transaction, name)

        def dying(self: Transaction, *args: Any, **options: Any) -> Any:
            if args:
                (tag,) = re.findall(r"/\* (\S+) \*/", args[0])[:1]
                last[self] = tag
            if name != "queue" and not last.get(self, "").startswith("runner."):  # claiming is no step of a saga
                point(f"{name} {last.get(self, '')}")
            return real(self, *args, **options)

        setattr(Transaction, name, dying)

    for name in ("queue", "execute", "commit"):
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


async def run_one(config: Config, gateway: Sandbox, saga_id: UUID, point: Point) -> None:
    """Run a saga to its end, unless a point ends this process. Looking for the end is no point of it."""
    checkout = Checkout(Mortal(gateway, point))
    async with Platform.open(config, sagas=checkout.definitions) as platform:
        acme = await platform.tenant("acme")
        make_mortal(point)
        url = shard_config(config, acme.shard).urls.worker_url
        runner = asyncio.create_task(platform.sagas.runner(acme.shard, lease_seconds=3600).run())
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection, asyncio.timeout(60):
            query = "SELECT FROM cloudlab.saga_instances WHERE saga_id = %s AND next_at IS NOT NULL"
            while (await connection.execute(query, [saga_id])).rowcount:
                await asyncio.sleep(0.02)
        runner.cancel()
        await asyncio.wait([runner])


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
    record = tmp_path / "points"

    def killed(target: str) -> tuple[bool, list[str]]:
        key = f"{ending}-{len(sagas)}"
        sagas.append(asyncio.run(bought(config, checkout, products, key, refund=ending == "refunded")))
        record.write_text("")
        pid = forked(lambda: asyncio.run(run_one(config, gateway, sagas[-1], deadly(target, record))))
        code = waited(pid)
        put_off(config, "1 hour")
        assert code in (0, -signal.SIGKILL)
        return code != 0, record.read_text().splitlines()

    _, whole = killed("nowhere")
    waiting, seen = list(whole), set(whole)
    died: set[str] = set()
    while waiting:
        target = waiting.pop(0)
        # Steps side by side do not always meet in the same way: a point may be reached only now and then.
        for _ in range(TRIES):
            has_died, reached = killed(target)
            waiting += [point for point in reached if point not in seen]
            seen |= set(reached)
            if has_died:
                died.add(target)
                break
    put_off(config, "0 seconds")
    asyncio.run(check(config, gateway, sagas, products, ending))
    log.warning("%s: %d points, %d processes", ending, len(died), len(sagas))
    assert died == seen
    assert len(whole) > {"completed": 50, "compensated": 50, "refunded": 25}[ending]
