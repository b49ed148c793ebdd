"""Through a real PgBouncer in transaction mode: no tenant ever sees another, and its configuration lets nobody else in.

CLOUDLAB_TEST_INTERLEAVED sets the number of interleaved statements: 5,000 by default, 100,000 in the full run.

Standard: §4.1 Row-Level Security (RLS), §5.3 PgBouncer Configuration
"""

import asyncio
import json
import os
import random
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloudlab.config import Config, Limits
from cloudlab.errors import ConfigError
from cloudlab.platform import Platform
from cloudlab.postgres import pgbouncer
from cloudlab.postgres.pgbouncer import Capacity, Line, Options
from cloudlab.shop import catalog
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from fixtures.commands import cloudlab, write_config
from fixtures.pgbouncer import pooled
from fixtures.postgres import Cluster

INTERLEAVED = int(os.environ.get("CLOUDLAB_TEST_INTERLEAVED", "5000"))
TENANTS = 50


@pytest.fixture
def through(config: Config, postgres: Cluster) -> Iterator[Config]:
    if not pgbouncer.installed_version():
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    with pooled(postgres, replace(config, limits=Limits(pool_max_size=24, pool_timeout_seconds=60))) as led:
        yield led


async def test_interleaved_statements_of_many_tenants_never_meet(through: Config):
    async with Platform.open(through) as platform:
        tenants = [await platform.create_tenant(f"t{number}", region="eu-west-1") for number in range(TENANTS)]
        for tenant in tenants:
            async with platform.session(tenant) as s:
                await catalog.add(s, sku=tenant.tenant_name, name="x", price=Money("1", "EUR"), stock=1)
        done = wrong = 0
        chance = random.Random(7)

        async def look(tenant: Tenant) -> None:
            nonlocal done, wrong
            async with platform.session(tenant, readonly=chance.random() < 0.5) as s:
                for _ in range(chance.randint(1, 4)):
                    rows = await s.fetch_tuples("SELECT sku, tenant_id, current_tenant() FROM products")
                    wrong += rows != [(tenant.tenant_name, tenant.tenant_id, tenant.tenant_id)]
                    done += 1

        async def keep_looking() -> None:
            while done < INTERLEAVED:
                await look(chance.choice(tenants))

        await asyncio.gather(*(keep_looking() for _ in range(32)))
    assert done >= INTERLEAVED
    assert wrong == 0


async def test_a_broken_transaction_leaves_no_tenant_behind(through: Config):
    async with Platform.open(through) as platform:
        acme, rival = [await platform.create_tenant(name, region="eu-west-1") for name in ("acme", "rival")]
        for number in range(20):
            with pytest.raises(ZeroDivisionError):
                async with platform.session(acme) as s:
                    await s.execute("SELECT 1")
                    raise ZeroDivisionError
            async with platform.session(rival) as s:
                assert await s.fetch_tuples("SELECT current_tenant()") == [(rival.tenant_id,)], number
    url = next(shard for shard in through.shards if shard.region == "eu-west-1").urls.app_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as conn:
        for _ in range(10):
            rows = await conn.execute("SELECT cloudlab.current_tenant(), count(*) FROM cloudlab.tenant_local")
            assert await rows.fetchall() == [(None, 0)]


def test_only_serving_logins_with_their_password_come_in(through: Config, postgres: Cluster):
    url = through.shards[0].urls.app_url
    for change in ({"password": "wrong"}, {"user": "postgres"}, {"user": "cloudlab_owner"}, {"dbname": "nothing"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(make_conninfo("", **(conninfo_to_dict(url) | change)))
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("cloudlab_app",)
    # The look-up gives nothing away: to nobody but PgBouncer, and of nobody but the serving logins.
    direct = str(conninfo_to_dict(through.shards[0].urls.owner_url)["dbname"])
    with (
        psycopg.connect(postgres.url(direct, "cloudlab_app")) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute("SELECT pgbouncer.look_up('cloudlab_app')")
    with psycopg.connect(postgres.url(direct, "postgres")) as conn:
        conn.execute("SET SESSION AUTHORIZATION cloudlab_pgbouncer")
        for login, found in (("cloudlab_app", 1), ("cloudlab_owner", 0), ("postgres", 0), ("cloudlab_pgbouncer", 0)):
            assert len(conn.execute("SELECT * FROM pgbouncer.look_up(%s)", [login]).fetchall()) == found
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT rolpassword FROM pg_authid")


def line(name: str, host: str = "127.0.0.1") -> Line:
    return Line(name, host, "5432", name, "cloudlab_readonly" if name.endswith("_readonly") else "cloudlab_app")


def test_pools_of_all_instances_together_leave_room_on_the_server():
    found = [
        line("cloudlab_control"),
        line("cloudlab_control_readonly"),
        line("a"),
        line("a_readonly"),
        line("b", "10.0.0.1"),
    ]
    servers = {("127.0.0.1", "5432"): Capacity(100, 3, 20), ("10.0.0.1", "5432"): Capacity(500, 3, 100)}
    for instances in (1, 3):
        sized = pgbouncer.sized(found, servers, instances)
        assert [one.name for one in sized] == [one.name for one in found]
        assert all(one.pool_size > 0 for one in sized)
        local = [one.pool_size for one in sized if one.host == "127.0.0.1"]
        assert sum(local) * instances <= 77
        assert sum(local) * instances >= 77 - 10 * instances
    with pytest.raises(ConfigError, match="has 77 connections to give"):
        pgbouncer.sized(found, servers, 60)


@pytest.mark.parametrize(
    ("host", "listen"), [("10.0.0.1", "127.0.0.1"), ("127.0.0.1", "10.0.0.2"), ("/run/pg", "10.0.0.2")]
)
def test_nothing_crosses_a_network_unencrypted(host: str, listen: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="without TLS"):
        pgbouncer.write([line("a", host)], Limits(), Options(listen=listen))
    written = pgbouncer.write([line("a", host)], Limits(), Options(listen=listen, tls=tmp_path)).ini
    assert "client_tls_sslmode = require" in written
    assert ("server_tls_sslmode = verify-full" in written) is (host == "10.0.0.1")


def test_what_the_standards_example_gets_wrong_is_right():
    ini = pgbouncer.write([line("a"), line("a_readonly")], Limits(), Options(version=(1, 18))).ini
    settings = dict(re.findall(r"^(\w+) = (.*)$", ini.partition("[pgbouncer]")[2], re.M))
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["listen_addr"] == "127.0.0.1"
    assert settings["pool_mode"] == "transaction"
    assert " user=" not in ini.replace("there is no user=", "")
    assert "password" not in ini
    assert "max_prepared_statements" not in settings
    assert "max_prepared_statements = 1000" in pgbouncer.write([line("a")], Limits(), Options(version=(1, 21))).ini


def test_the_command_writes_private_files_and_says_how_many_connections(config: Config, tmp_path: Path):
    write_config(config, tmp_path)
    done = cloudlab(tmp_path, "pgbouncer", "config", "--shard", "eu_west_001", "--version", "1.18", "--json")
    assert done.returncode == 0, done.stderr
    pools = json.loads(done.stdout)["pools"]
    assert set(pools) == {"cloudlab_control", "cloudlab_control_readonly", "eu_west_001", "eu_west_001_readonly"}
    # The servers of the tests allow 200 connections; a fifth stays for owner and worker.
    assert 140 <= sum(pools.values()) <= 160
    for name in ("pgbouncer.ini", "userlist.txt", "auth.sql"):
        assert stat.S_IMODE((tmp_path / "pgbouncer" / name).stat().st_mode) == 0o600
    unknown = cloudlab(tmp_path, "pgbouncer", "config", "--shard", "mars")
    assert unknown.returncode == 2
