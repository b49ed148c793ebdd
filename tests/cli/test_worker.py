"""`cloudlab worker`, `projection` and `event` as processes."""

import asyncio
import json
import signal
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cloudlab.cli import loading, shopkeeping
from cloudlab.config import Config, Payments
from cloudlab.errors import NotFound, PaymentUnknown
from cloudlab.platform import Platform
from cloudlab.shop import catalog, fulfilment, invariants, inventory, orders, readmodels
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.order import NewOrder
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.shop.sandbox import Scenario
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from cloudlab.worker import Chore, Worker
from fixtures.commands import cloudlab, start, write_config
from fixtures.shops import small_shop
from shop.checking_out import opened


@pytest.fixture
def home(config: Config, tmp_path: Path) -> Path:
    write_config(config, tmp_path)
    return tmp_path


def log_of(worker: "subprocess.Popen[str]", until: str) -> list[dict[str, object]]:
    """Read the worker's log until a message appears."""
    lines: list[dict[str, object]] = []
    assert worker.stderr
    for line in worker.stderr:
        lines.append(json.loads(line))
        if lines[-1]["message"] == until:
            break
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_worker_cleanly(home: Path, number: signal.Signals):
    with start(home, "worker") as worker:
        lines = log_of(worker, until="partitions ensured")
        time.sleep(0.3)
        asked = time.monotonic()
        worker.send_signal(number)
        printed, rest = worker.communicate(timeout=20)
    assert (worker.returncode, printed) == (0, "")
    assert time.monotonic() - asked < 5
    assert all(json.loads(line) for line in rest.splitlines())
    assert {"time", "level", "logger", "message", "shard"} <= lines[-1].keys()
    assert "Traceback" not in rest


def test_it_catches_up_and_everybody_can_see_how_far_it_is(home: Path, config: Config):
    shop = small_shop(20)

    async def trade() -> orders.Order:
        async with Platform.open(config, projections=readmodels.ALL) as platform:
            tenant = await platform.create_tenant("acme", region="eu-west-1")
            await loading.load(platform, tenant, shop, concurrency=8)
            async with platform.session(tenant) as s:
                return (await orders.find_by_numbers(s, [shop.orders[0].order_number]))[shop.orders[0].order_number]

    order = asyncio.run(trade())
    done = cloudlab(home, "worker", "--until-caught-up", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] >= (5 + 1) * 20  # every change of 20 orders, and their sales
    assert asyncio.run(reconciled(config))

    listed = json.loads(cloudlab(home, "projection", "list", "--json").stdout)
    assert {(each["shard"], each["projection_name"]) for each in listed} == {
        (shard, name)
        for shard in ("us_east_001", "eu_west_001")
        for name in ("order_facts", "product_cache", "product_sales")
    }
    assert {(each["lag_events"], each["failed_attempts"]) for each in listed} == {(0, 0)}

    read = cloudlab(home, "event", "read", "Order", order.order_id, "--tenant", "acme", "--json").stdout
    types = [json.loads(line)["event_type"] for line in read.splitlines()]
    assert types == ["OrderPlaced", "OrderPaid", "OrderPrepared", "OrderShipped", "OrderDelivered"]
    tail = cloudlab(home, "event", "tail", "--shard", "eu_west_001", "--after", 0, "--limit", 7, "--json").stdout
    positions = [json.loads(line)["event_position"] for line in tail.splitlines()]
    assert len(positions) == 7
    assert positions == sorted(positions)


async def reconciled(config: Config) -> bool:
    async with Platform.open(config) as platform:
        tenant = await platform.tenant("acme")
        async with platform.session(tenant, readonly=True) as s:
            verdict = await invariants.reconcile(s, platform.analytics)
    assert verdict.holds, verdict
    return True


def test_a_worker_checks_out_and_ends_holds_that_nobody_pays(home: Path, config: Config):
    async def shop() -> list[str]:
        checkout = Checkout(Sandbox())
        async with Platform.open(config, projections=readmodels.ALL) as platform:
            acme = await platform.create_tenant("acme", region="eu-west-1")
            async with platform.session(acme) as s:
                lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("1", "EUR"), stock=10)
                late = await orders.place(
                    s, lines=[(lamp.product_id, 4)], idempotency_key="late", hold=timedelta(milliseconds=1)
                )
            order = NewOrder(lines=[(lamp.product_id, 1)], idempotency_key="now")
            bought = await checkout.buy(platform, acme, order, payment_method=PaymentMethod.PAYPAL)
            ended = await platform.sagas.ended(acme, bought.saga_id, within_seconds=20)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                async with platform.session(acme) as s:
                    level = await inventory.level(s, lamp.product_id)
                    found = await orders.find(s, late.order_id)
                if level.available == 9:
                    break
                await asyncio.sleep(0.05)
            return [ended.status, found.status, str(level)]

    with start(home, "worker", CLOUDLAB_CHORES_EVERY_SECONDS="0.2") as worker:
        lines = log_of(worker, until="PAYMENTS GO TO THE SANDBOX: no money moves")
        came = asyncio.run(shop())
        worker.send_signal(signal.SIGTERM)
        _, rest = worker.communicate(timeout=20)
    assert came == ["completed", "pending_payment", "Level(available=9, reserved=0)"]
    assert lines[-1]["level"] == "WARNING"
    said = [json.loads(line) for line in rest.splitlines()]
    assert ("chore done", "end unpaid holds", 1) in [
        (line["message"], line.get("chore"), line.get("done")) for line in said
    ]


async def test_a_chore_that_fails_for_one_tenant_is_done_for_the_others(platform: Platform):
    names = sorted(f"t{n}" for n in range(3))
    for name in names:
        await platform.create_tenant(name)
    seen: list[str] = []

    async def work(_: Platform, tenant: Tenant) -> int:
        seen.append(tenant.tenant_name)
        if tenant.tenant_name == names[0]:
            raise NotFound("nothing")
        return 1

    worker = asyncio.create_task(Worker(platform, chores=[Chore("look", 0.05, work)]).run())
    while len(seen) < 6:
        await asyncio.sleep(0.01)
    worker.cancel()
    await asyncio.wait([worker])
    assert seen[:6] == names * 2


async def test_the_gateway_is_the_one_that_is_configured(config: Config, caplog: pytest.LogCaptureFixture):
    payments = Payments(provider="stripe", stripe_api_key="sk_test_secret")
    with caplog.at_level("INFO"):
        async with shopkeeping.gateway_of(replace(config, payments=payments)) as gateway:
            assert gateway.provider == "stripe"
    assert "secret" not in caplog.text


async def test_money_that_turns_out_to_have_been_taken_for_a_cancelled_order_is_given_back(config: Config):
    gateway = Sandbox(scenario=Scenario(lost_answer=1.0))
    async with opened(config, gateway) as till:
        order = await till.place((0, 1))
        with pytest.raises(PaymentUnknown):
            await till.charge(gateway, order)
        async with till.opener() as s:
            await fulfilment.cancel(s, order.order_id, reason="changed my mind")
        chores = shopkeeping.chores(config, gateway, till.checkout, lost_after=timedelta(seconds=-60))
        (resolve,) = [chore for chore in chores if chore.name == "resolve unknown payments"]
        assert await resolve.work(till.platform, till.tenant) == 1
        assert await resolve.work(till.platform, till.tenant) == 0
        (listed,) = await till.platform.sagas.listed(till.tenant.shard)
        assert (await till.ended(listed.saga_id)).status == "completed"
        sums = (await gateway.sums())["EUR"]
        assert sums.captured == sums.refunded == order.total.amount
        await till.all_holds(gateway)
