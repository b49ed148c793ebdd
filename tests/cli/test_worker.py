"""`cloudlab worker`, `projection` and `event` as processes."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cloudlab.cli import loading
from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import invariants, orders, readmodels
from fixtures.commands import cloudlab, start, write_config
from fixtures.shops import small_shop


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
        (shard, name) for shard in ("us_east_001", "eu_west_001") for name in ("order_facts", "product_cache", "product_sales")
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
