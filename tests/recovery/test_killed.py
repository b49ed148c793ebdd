"""kill -9 of an import, of a worker and of PostgreSQL at random moments: the same totals as ever, nothing doubled.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cloudlab.embedded import stack
from cloudlab.errors import NotFound, Unavailable
from cloudlab.platform import Platform
from cloudlab.shop import files, invariants, readmodels
from cloudlab.tenancy.tenants import Tenant
from fixtures.commands import cloudlab, start
from fixtures.shops import as_expected, contents, promises_hold, small_shop, write_folder
from recovery.conftest import Installation

log = logging.getLogger(__name__)

ORDERS = 960  # thirty groups
KILLS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(small_shop(ORDERS, seed=3), tmp_path_factory.mktemp("data") / "shop")


@pytest.fixture
def chance() -> random.Random:
    """Chance that can be had again: the seed is logged, which pytest shows when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    log.warning("seed %d", seed)
    return random.Random(seed)


@asynccontextmanager
async def opened(installation: Installation) -> AsyncGenerator[Platform]:
    async with Platform.open(installation.config, projections=readmodels.ALL) as platform:
        yield platform


def importing(installation: Installation, folder: Path, name: str, placement: str) -> "subprocess.Popen[str]":
    command = ("import", folder, "--tenant", name, "--region", "eu-west-1", "--placement", placement, "--json")
    return start(installation.home, *command, **installation.environment)


async def events_in(platform: Platform, name: str) -> int:
    """Count what has happened in a tenant; 0 while it cannot be asked."""
    with suppress(NotFound, Unavailable):
        tenant = await platform.tenant(name)
        async with platform.session(tenant, readonly=True) as s:
            return await s.execute("SELECT FROM events")
    return 0


async def until_it_went_on(platform: Platform, name: str, process: "subprocess.Popen[str]", events: int) -> None:
    """Wait until so many events were added, which the process must live to see."""
    goal = await events_in(platform, name) + events
    while await events_in(platform, name) < goal:
        assert process.poll() is None, process.communicate()
        await asyncio.sleep(0.005)


async def whole(platform: Platform, name: str, folder: Path) -> Tenant:
    """Check that a tenant holds exactly the folder, and that every promise holds."""
    tenant = await platform.tenant(name)
    assert as_expected(await contents(platform, tenant), files.read(folder))
    assert await promises_hold(platform, tenant)
    return tenant


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_an_import_killed_three_times(
    installation: Installation, folder: Path, chance: random.Random, placement: str
):
    name = f"killed-{placement}"
    async with opened(installation) as platform:
        for _ in range(KILLS):
            with importing(installation, folder, name, placement) as process:
                await until_it_went_on(platform, name, process, chance.randrange(100, 1400))
                await asyncio.sleep(chance.uniform(0, 0.05))
                process.kill()
                process.communicate()
        with importing(installation, folder, name, placement) as process:
            printed, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        summary = json.loads(printed)
        assert summary["orders_there"] > 0
        assert summary["orders_new"] + summary["orders_there"] == ORDERS
        await whole(platform, name, folder)


async def test_postgres_killed_three_times_under_an_import_that_goes_on_by_itself(
    installation: Installation, folder: Path, chance: random.Random
):
    async with opened(installation) as platform:
        with importing(installation, folder, "outage", "row") as process:
            for _ in range(KILLS):
                await until_it_went_on(platform, "outage", process, chance.randrange(1, 1000))
                runtime = json.loads((installation.state_dir / "runtime.json").read_text())
                os.kill(runtime["servers"]["postgres"]["pid"], signal.SIGKILL)
                await asyncio.sleep(chance.uniform(0, 0.5))
                await stack.up(installation.state_dir)
            printed, said = await asyncio.to_thread(process.communicate, timeout=90)
    assert process.returncode == 0, said
    assert json.loads(printed)["orders_new"] == ORDERS
    async with opened(installation) as platform:
        await whole(platform, "outage", folder)


async def test_a_worker_killed_three_times(installation: Installation, folder: Path, chance: random.Random):
    """It comes last: everything that the tests above have done is what it must bring to ClickHouse."""
    async with opened(installation) as platform:
        tenant = await platform.create_tenant("worked", region="eu-west-1")
        with importing(installation, folder, "worked", "row") as process:
            await until_it_went_on(platform, "worked", process, 1000)
            for _ in range(KILLS):
                with start(installation.home, "worker", **installation.environment) as worker:
                    await asyncio.sleep(chance.uniform(0.4, 1.5))
                    worker.kill()
                    worker.communicate()
            process.communicate(timeout=60)
        done = await asyncio.to_thread(
            cloudlab, installation.home, "worker", "--until-caught-up", "--json", **installation.environment
        )
        assert done.returncode == 0, done.stderr
        await whole(platform, "worked", folder)
        assert {item.lag_events for item in await platform.readers.progress(tenant.shard)} == {0}
        for each in await platform.tenants():
            async with platform.session(each, readonly=True) as s:
                verdict = await invariants.reconcile(s, platform.analytics)
            assert verdict.holds, (each.tenant_name, verdict)
