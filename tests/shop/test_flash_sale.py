"""A flash sale: many more buyers than units, and payments that fail in every way.

CLOUDLAB_TEST_FLASH_BUYERS says how many buyers come, by default 10,000.

Standard: §3.1 Strong Consistency (CP from CAP), §3.3 Saga State Management
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

import psycopg

from cloudlab.config import Config
from cloudlab.errors import OutOfStock
from cloudlab.platform import Platform
from cloudlab.shop.sandbox import Sandbox, Scenario
from cloudlab.shop.webhooks import receive_webhook
from cloudlab.tenancy.tenants import shard_config
from shop.checking_out import Till, opened

log = logging.getLogger(__name__)

BUYERS = int(os.environ.get("CLOUDLAB_TEST_FLASH_BUYERS", "10000"))
UNITS = 500
AT_ONCE = 64
TROUBLE = Scenario(seed=4, decline=0.02, timeout=0.01, duplicate_webhook=0.005, late_webhook=0.005)


@asynccontextmanager
async def delivering(till: Till, gateway: Sandbox) -> AsyncGenerator[None]:
    """Deliver the provider's messages meanwhile, and the last of them at the end."""

    async def deliver() -> int:
        messages = await gateway.take_messages()
        for message in messages:
            async with till.opener() as s:
                await receive_webhook(s, message)
        return len(messages)

    async def keep_delivering() -> None:
        while True:
            await deliver()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(keep_delivering())
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    while await deliver():
        pass


async def rush(till: Till, buyers: int, name: str) -> tuple[list[UUID], list[float]]:
    """Let buyers come, so many at once; return the sagas of those who bought, and how long each refusal took."""
    sagas: list[UUID] = []
    refusals: list[float] = []
    waiting = iter(range(buyers))

    async def come() -> None:
        for number in waiting:
            begun = time.monotonic()
            try:
                bought = await till.buy((0, 1), key=f"{name}-{number}")
                sagas.append(bought.saga_id)
            except OutOfStock:
                refusals.append(time.monotonic() - begun)

    await asyncio.gather(*(come() for _ in range(AT_ONCE)))
    return sagas, refusals


def deadlocks(config: Config, till: Till) -> int:
    """Count the deadlocks there were; statistics for the checks that follow are made on the way."""
    with psycopg.connect(shard_config(config, till.tenant.shard).urls.owner_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
        assert row
        return row[0]


async def test_a_flash_sale_sells_exactly_what_there_is(config: Config):
    gateway = Sandbox(scenario=TROUBLE)
    async with opened(config, gateway, stock=UNITS) as till, delivering(till, gateway):
        begun = time.monotonic()
        sagas, refusals = await rush(till, BUYERS, "first")
        seconds = time.monotonic() - begun
        ended = Counter([(await till.ended(saga_id)).status for saga_id in sagas])
        paid_seconds = time.monotonic() - begun
        # What declined payments gave back is there for whoever comes again.
        again = 0
        while left := (await till.level(0)).available:
            again += 1
            more, _ = await rush(till, left, f"again-{again}")
            ended += Counter([(await till.ended(saga_id)).status for saga_id in more])
        assert ended["completed"] == UNITS
        assert set(ended) == {"completed", "compensated"}
        assert len(sagas) + len(refusals) == BUYERS
        assert (await till.level(0)).reserved == 0
    async with opened_again(config, gateway) as till:
        async with till.opener() as s:
            rows = await s.fetch_tuples("SELECT /* test */ status::text, count(*) FROM orders GROUP BY status")
        assert dict(rows) == {"shipped": UNITS, "cancelled": ended["compensated"]}
        assert deadlocks(config, till) == 0
        await till.all_holds(gateway)
    refusals.sort()
    half, most, all_ = (1000 * refusals[int((len(refusals) - 1) * part)] for part in (0.5, 0.99, 1))
    log.warning(
        "%d buyers in %.1f s, %d at once, all paid after %.1f s; refused within %.0f ms (half), %.0f ms (99 of 100), "
        "%.0f ms (all); %s, again %d",
        BUYERS, seconds, AT_ONCE, paid_seconds, half, most, all_, dict(ended), again,
    )  # fmt: skip


@asynccontextmanager
async def opened_again(config: Config, gateway: Sandbox) -> AsyncGenerator[Till]:
    """The same shop when nothing runs any more."""
    async with Platform.open(config) as platform:
        yield Till(platform, await platform.tenant("acme"), [], count())
