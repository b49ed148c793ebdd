"""A session is one transaction: all or nothing, bound to its tenant, with nothing left on the connection."""

import asyncio
import dataclasses

import pytest

from cloudlab.config import Config
from cloudlab.errors import CloudLabError, NotFound, SerializationFailed, TimedOut
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import vendors
from cloudlab.tenancy.tenants import Tenant, shard_config
from fixtures.pgbouncer import THROUGH_PGBOUNCER

ROUTES = THROUGH_PGBOUNCER


async def count(platform: Platform, tenant: Tenant) -> int:
    async with platform.session(tenant) as s:
        return await s.execute("SELECT FROM vendors")


async def test_an_exception_undoes_everything(platform: Platform, acme: Tenant):
    with pytest.raises(ZeroDivisionError):
        async with platform.session(acme) as s:
            await vendors.join(s, vendor_name="Lumen")
            raise ZeroDivisionError
    assert await count(platform, acme) == 0


async def test_a_queued_statement_that_fails_undoes_everything_at_commit(platform: Platform, acme: Tenant):
    with pytest.raises(CloudLabError, match="division by zero"):
        async with platform.session(acme) as s:
            await vendors.join(s, vendor_name="Lumen")
            s.queue("SELECT 1 / 0")
    assert await count(platform, acme) == 0


async def test_a_swallowed_error_cannot_be_committed(platform: Platform, acme: Tenant):
    with pytest.raises(CloudLabError, match="rolled back"):
        async with platform.session(acme) as s:
            await vendors.join(s, vendor_name="Lumen")
            with pytest.raises(CloudLabError):
                await s.execute("SELECT 1 / 0")
    assert await count(platform, acme) == 0


async def test_a_session_that_does_nothing_sends_nothing(config: Config):
    unreachable = dataclasses.replace(config.limits, statement_timeout_seconds=0.05)
    async with Platform.open(dataclasses.replace(config, limits=unreachable)) as platform:
        acme = await platform.create_tenant("acme")
        async with platform.session(acme) as s:
            assert "not begun" in repr(s)
        with pytest.raises(TimedOut):
            async with platform.session(acme) as s:
                await s.execute("SELECT pg_sleep(5)")


async def test_a_cancelled_task_leaves_the_connection_usable(config: Config):
    one = dataclasses.replace(config, limits=dataclasses.replace(config.limits, pool_max_size=1))
    async with Platform.open(one) as platform:
        acme = await platform.create_tenant("acme")

        async def slow() -> None:
            async with platform.session(acme) as s:
                await vendors.join(s, vendor_name="Lumen")
                await s.execute("SELECT pg_sleep(30)")

        task = asyncio.create_task(slow())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await count(platform, acme) == 0


async def test_nothing_stays_on_a_connection_after_its_session(config: Config):
    one = dataclasses.replace(config, limits=dataclasses.replace(config.limits, pool_max_size=1))
    async with Platform.open(one) as platform:
        acme = await platform.create_tenant("acme")
        async with platform.session(acme) as s:
            await s.execute("SELECT")
        url = shard_config(platform.config, acme.shard).urls.app_url
        async with platform._pools.transaction(url) as transaction:
            result = await transaction.execute(
                "SELECT cloudlab.current_tenant() AS tenant, current_setting('search_path')"
            )
            (row,) = result.rows(dict)
            assert row["tenant"] is None
            assert "shop" not in row["current_setting"]


async def test_run_repeats_what_lost_a_race_and_gives_up_in_the_end(platform: Platform, acme: Tenant):
    attempts = 0

    async def work(s: Session) -> str:
        nonlocal attempts
        attempts += 1
        await s.execute("SELECT")
        if attempts < 3:
            raise SerializationFailed
        return "done"

    assert await platform.run(acme, work) == "done"
    assert attempts == 3
    attempts = -10
    with pytest.raises(SerializationFailed):
        await platform.run(acme, work)
    assert attempts == -5


async def test_a_missing_row_is_named_and_a_wrong_parameter_too(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        with pytest.raises(NotFound, match="vendor_name nobody"):
            await vendors.find_by_name(s, "nobody")
        with pytest.raises(TypeError, match="vendor"):
            await s.execute("SELECT %(vendor)s::text", vendr="x")


async def test_hostile_text_is_only_text(platform: Platform, acme: Tenant):
    hostile = "Robert'); DROP TABLE vendors;-- %s %(x)s \\ \u202e 🙂"
    async with platform.session(acme) as s:
        vendor = await vendors.join(s, vendor_name=hostile)
        assert await vendors.find_by_name(s, hostile) == vendor
