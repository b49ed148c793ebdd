"""Tenants are suspended, resumed, renamed and dropped whole: after a crash anywhere, directory and shard agree again.

Standard: §4.2 Tenant Configuration
"""

import asyncio
import csv
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import Duplicate, InvalidInput, TenantSuspended, TimedOut, WrongShard
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.shop import catalog
from cloudlab.tenancy import lifecycle, tenants
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money
from fixtures.commands import cloudlab, write_config

Verb = Callable[[Pools, Config], Awaitable[Tenant]]
VERBS: dict[str, Verb] = {
    "suspend": lambda pools, config: lifecycle.suspend(pools, config, "acme"),
    "resume": lambda pools, config: lifecycle.resume(pools, config, "acme"),
    "drop": lambda pools, config: lifecycle.drop(pools, config, "acme", grace=timedelta(days=1)),
}


class Crash(Exception):
    pass


class Breaking(Pools):
    """Pools whose process dies at a given point: before or after the end of its n-th transaction."""

    def __init__(self, config: Config, point: int) -> None:
        super().__init__(config.limits)
        self._left = point

    def _pass(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Crash

    @asynccontextmanager
    async def transaction(self, url: str) -> AsyncGenerator[Transaction]:
        async with super().transaction(url) as transaction:
            yield transaction
            self._pass()
        self._pass()


async def on_shard(config: Config, tenant: Tenant) -> tuple[str, str]:
    url = shard_config(config, tenant.shard).urls.owner_url
    async with await psycopg.AsyncConnection.connect(url) as conn:
        rows = await conn.execute(
            "SELECT state, tenant_name FROM cloudlab.tenant_local WHERE tenant_id = %s", [tenant.tenant_id]
        )
        ((state, name),) = await rows.fetchall()
        return state, name


async def agree(config: Config, tenant_id) -> Tenant:
    """Check that directory and shard say the same, or that the directory knows of something unfinished."""
    async with Pools(config.limits) as pools:
        tenant = await tenants.find(pools, config, tenant_id)
    if tenant.pending is None:
        assert await on_shard(config, tenant) == ("open" if tenant.is_active else "suspended", tenant.tenant_name)
    return tenant


@pytest.mark.parametrize("before", ["suspend", "resume", "drop"])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_crash_anywhere_is_mended_by_the_same_verb_or_by_finish(
    config: Config, platform: Platform, acme: Tenant, before: str, verb: str
):
    crashes = 0
    for point in range(20):
        async with Pools(config.limits) as pools:
            await VERBS[before](pools, config)
        try:
            async with Breaking(config, point) as breaking:
                await VERBS[verb](breaking, config)
            break
        except Crash:
            crashes += 1
        await agree(config, acme.tenant_id)
        async with Pools(config.limits) as pools:
            if point % 2:
                await VERBS[verb](pools, config)
            else:
                await lifecycle.finish_all(pools, config)
        assert (await agree(config, acme.tenant_id)).pending is None
    assert crashes >= 8
    after = await agree(config, acme.tenant_id)
    assert after.is_active is (verb == "resume")
    # A suspension leaves a drop that was asked for; only to resume takes it back.
    assert bool(after.drop_after) is (verb == "drop" or (verb == "suspend" and before == "drop"))


async def test_a_rename_that_broke_off_is_finished(config: Config, acme: Tenant):
    for point in range(20):
        new = f"acme-{point}"
        try:
            async with Breaking(config, point) as breaking:
                await lifecycle.rename(breaking, config, acme.tenant_id, new)
            break
        except Crash:
            pass
        await agree(config, acme.tenant_id)
        async with Pools(config.limits) as pools:
            renamed = await lifecycle.rename(pools, config, acme.tenant_id, new)
        assert (renamed.tenant_name, await on_shard(config, renamed)) == (new, ("open", new))
    assert point > 5


async def test_verbs_at_the_same_time_end_in_one_state(config: Config, acme: Tenant):
    async with Pools(config.limits) as pools:
        for _ in range(5):
            verbs = [VERBS[name](pools, config) for name in ("suspend", "resume", "suspend", "resume", "drop")]
            await asyncio.gather(*verbs)
            assert (await agree(config, acme.tenant_id)).pending is None


async def test_a_suspended_tenant_is_refused_everywhere_and_comes_back(
    config: Config, platform: Platform, acme: Tenant
):
    async with Platform.open(config) as other:
        async with other.session(await other.tenant("acme")) as s:
            assert await s.execute("SELECT 1") == 1
        suspended = await platform.suspend_tenant(acme)
        assert not suspended.is_active
        for where, tenant in ((platform, suspended), (platform, acme), (other, await other.tenant("acme"))):
            with pytest.raises(TenantSuspended):
                async with where.session(tenant) as s:
                    await s.execute("SELECT 1")
        again = await platform.resume_tenant(suspended)
        for where, tenant in ((platform, again), (other, await other.tenant("acme"))):
            async with where.session(tenant) as s:
                assert await s.execute("SELECT 1") == 1


async def test_a_name_is_given_once_and_a_schema_keeps_its_own(platform: Platform):
    first = await platform.create_tenant("acme", region="eu-west-1", placement="schema")
    await platform.create_tenant("rival")
    with pytest.raises(Duplicate):
        await platform.rename_tenant(first, "rival")
    with pytest.raises(InvalidInput):
        await platform.rename_tenant(first, "No Name")
    renamed = await platform.rename_tenant(first, "acme-old")
    assert (renamed.schema_name, renamed.tenant_id) == ("tenant_acme", first.tenant_id)
    assert await platform.tenant("acme-old") == renamed
    second = await platform.create_tenant("acme", region="eu-west-1", placement="schema")
    assert second.schema_name != renamed.schema_name
    for tenant in (renamed, second):
        async with platform.session(tenant) as s:
            assert await s.fetch_tuples("SELECT current_schema()") == [(tenant.schema_name,)]


async def test_what_is_being_moved_is_not_suspended_by_halves(config: Config, platform: Platform, acme: Tenant):
    url = shard_config(config, acme.shard).urls.owner_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("UPDATE cloudlab.tenant_local SET state = 'moved'")
        with pytest.raises(WrongShard, match="not served by shard"):
            await platform.suspend_tenant(acme)
        await conn.execute("UPDATE cloudlab.tenant_local SET state = 'open'")
    async with Pools(config.limits) as pools:
        assert [tenant.pending for tenant in await lifecycle.finish_all(pools, config)] == [None]
    assert not (await agree(config, acme.tenant_id)).is_active


async def test_a_dropped_tenant_is_kept_for_its_grace_and_resume_brings_it_back(platform: Platform, acme: Tenant):
    with pytest.raises(InvalidInput, match="negative"):
        await platform.drop_tenant(acme, grace=timedelta(days=-1))
    dropped = await platform.drop_tenant(acme, grace=timedelta(days=7))
    assert dropped.drop_after
    assert timedelta(days=6) < dropped.drop_after - datetime.now(UTC) <= timedelta(days=7)
    assert (await platform.drop_tenant(acme, grace=timedelta(days=1))).drop_after == dropped.drop_after
    back = await platform.resume_tenant(dropped)
    assert (back.is_active, back.drop_after) == (True, None)


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_an_export_holds_all_of_a_tenant_and_nothing_of_another(
    platform: Platform, tmp_path: Path, placement: str
):
    pair = [await platform.create_tenant(name, region="eu-west-1", placement=placement) for name in ("acme", "rival")]
    for tenant in pair:
        async with platform.session(tenant) as s:
            await catalog.add(s, sku="LAMP", name=f"Lamp of {tenant.tenant_name}", price=Money("10", "EUR"), stock=9)
    acme, rival = pair
    suspended = await platform.suspend_tenant(acme)
    rows = await platform.export_tenant(suspended, tmp_path / "out")
    products = f"{acme.schema_name}.products"
    assert rows[products] == 1
    assert rows["cloudlab.events"] >= 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for name, entry in manifest["tables"].items():
        raw = (tmp_path / "out" / f"{name}.csv").read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha256"]
        assert len(list(csv.DictReader(raw.decode().splitlines()))) == entry["rows"]
        assert str(rival.tenant_id) not in raw.decode()
    assert "Lamp of acme" in (tmp_path / "out" / f"{products}.csv").read_text()
    with pytest.raises(Duplicate, match="is there already"):
        await platform.export_tenant(suspended, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "value"),
    [("sessions_max", 0), ("sessions_max", "x"), ("sessions_max", True), ("statement_timeout_seconds", -1),
     ("rows_per_second", "nan"), ("currency", "euro"), ("time_zone", "Mars/Olympus"), ("locale", "de_DE"),
     ("sesions_max", 1)],
)  # fmt: skip
async def test_a_setting_that_is_none_is_refused_by_name(platform: Platform, acme: Tenant, name: str, value: object):
    with pytest.raises(InvalidInput, match=name):
        await platform.change_settings(acme, **{"currency": "EUR", name: value})
    assert (await platform.tenant(acme.tenant_id)).settings.currency is None


async def test_settings_are_typed_and_can_be_taken_back(platform: Platform, acme: Tenant):
    changed = await platform.change_settings(
        acme, sessions_max="4", rows_per_second="1000", currency="EUR", time_zone="Europe/Berlin", locale="de-DE"
    )
    assert (changed.settings.sessions_max, changed.settings.rows_per_second) == (4, 1000.0)
    assert changed.settings.time_zone == "Europe/Berlin"
    back = await platform.change_settings(acme, sessions_max=None)
    assert (back.settings.sessions_max, back.settings.currency) == (None, "EUR")
    assert await platform.tenant("acme") == back


async def test_a_statement_of_a_limited_tenant_is_stopped_early(platform: Platform, acme: Tenant):
    acme = await platform.change_settings(acme, statement_timeout_seconds=0.1)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        async with platform.session(acme) as s:
            await s.execute("SELECT pg_sleep(10)")
    assert time.monotonic() - started < 2


async def test_a_tenant_with_all_its_sessions_waits_and_nobody_else_does(platform: Platform, acme: Tenant):
    rival = await platform.create_tenant("rival", region="eu-west-1")
    # As the caller holds it: the newest settings count, not those of the value passed in.
    await platform.change_settings(acme, sessions_max=2)
    open_now = most = 0

    async def sleep() -> None:
        nonlocal open_now, most
        async with platform.session(acme) as s:
            open_now += 1
            most = max(most, open_now)
            await s.execute("SELECT pg_sleep(0.2)")
            open_now -= 1

    crowd = [asyncio.create_task(sleep()) for _ in range(6)]
    await asyncio.sleep(0.05)
    started = time.monotonic()
    async with platform.session(rival) as s:
        await s.execute("SELECT 1")
    assert time.monotonic() - started < 0.2
    await asyncio.gather(*crowd)
    assert most == 2


async def test_a_tenant_that_reads_too_much_waits(platform: Platform, acme: Tenant):
    acme = await platform.change_settings(acme, rows_per_second=1000)
    async with platform.session(acme) as s:
        await s.execute("SELECT FROM generate_series(1, 1300)")
    started = time.monotonic()
    async with platform.session(acme) as s:
        await s.execute("SELECT 1")
    assert 0.1 < time.monotonic() - started < 2
    async with platform.session(acme) as s:
        await s.execute("SELECT FROM generate_series(1, 100000)")
    with pytest.raises(TimedOut, match="rows a second"):
        async with platform.session(acme) as s:
            await s.execute("SELECT 1")


async def test_the_commands(platform: Platform, acme: Tenant, tmp_path: Path):
    write_config(platform.config, tmp_path)

    def run(*arguments: object, code: int = 0):
        done = cloudlab(tmp_path, "tenant", *arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout or done.stderr)

    assert run("settings", "acme", "sessions_max=4", "currency=EUR")["sessions_max"] == 4
    assert run("settings", "acme", "sessions_max=")["sessions_max"] is None
    assert "Did you mean currency" in run("settings", "acme", "curency=EUR", code=2)["error"]["hint"]
    assert run("drop", "acme", "--dry-run") == {"cloudlab.tenant_local": 1}
    assert "--export" in run("drop", "acme", code=2)["error"]["hint"]
    (dropped,) = run("drop", "acme", "--export", tmp_path / "out", "--grace-days", 3)
    assert dropped["drop_after"]
    assert (tmp_path / "out" / "manifest.json").exists()
    (back,) = run("resume", "acme")
    assert back["is_active"]
    (renamed,) = run("rename", "acme", "other")
    assert renamed["tenant_name"] == "other"
    assert run("suspend", "nobody", code=2)["error"]["code"] == "CL200"
