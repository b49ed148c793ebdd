"""Reading sessions go to a replica, and never see less than their own process has written.

Standard: §5.3 Connection Pooling
"""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cloudlab.config import Config
from cloudlab.embedded import postgres as embedded
from cloudlab.embedded.postgres import PostgresServer
from cloudlab.errors import InvalidInput
from cloudlab.platform import Platform
from cloudlab.shop import catalog
from cloudlab.tenancy.replicas import position
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from fixtures.folders import server_folder
from fixtures.postgres import Cluster


@dataclass
class Replica:
    """A standby of the server of this run, and the installation that reads from it."""

    server: PostgresServer
    config: Config

    def superuser(self, statement: str) -> None:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as conn:
            conn.execute(statement.encode())

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.superuser("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.superuser("SELECT pg_wal_replay_resume()")


@pytest.fixture
def replica(postgres: Cluster, config: Config) -> Iterator[Replica]:
    password = str(conninfo_to_dict(config.control.owner_url)["password"])
    with server_folder("rp") as (folder, account):
        data = folder / "data"
        subprocess.run(
            [postgres.binaries.program("pg_basebackup"), "-D", data, "-R", "-c", "fast",
             "-d", postgres.url("postgres", "postgres")],
            env=postgres.binaries.environment(), check=True, capture_output=True,
        )  # fmt: skip
        _hand_over(data, account)
        server = embedded.start(
            postgres.binaries, data, socket_dir=folder, log=folder / "log", account=account, password=password,
            volatile=True, settings={"listen_addresses": "", "max_connections": "200", "hot_standby_feedback": "on"},
        )  # fmt: skip
        try:
            shards = tuple(
                replace(one, replica_url=server.url(_database(one.urls.readonly_url), "cloudlab_readonly", password))
                for one in config.shards
            )
            yield Replica(server, replace(config, shards=shards))
        finally:
            embedded.stop(data, server.mark)


def _database(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def _hand_over(data: Path, account) -> None:
    if account:
        shutil.chown(data, account.uid, account.gid)
        for folder, folders, files in os.walk(data):
            for name in (*folders, *files):
                os.chown(Path(folder) / name, account.uid, account.gid)


async def add(platform: Platform, tenant: Tenant, number: int) -> None:
    async with platform.session(tenant) as s:
        await catalog.add(s, sku=f"S{number}", name="x", price=Money("1", "EUR"), stock=1)


async def look(platform: Platform, tenant: Tenant, after: str | None = None) -> tuple[int, bool]:
    """Count the products, and say whether a replica was asked."""
    async with platform.session(tenant, readonly=True, after=after) as s:
        ((count, on_replica),) = await s.fetch_tuples("SELECT count(*), pg_is_in_recovery() FROM products")
        return count, on_replica


async def test_what_was_written_is_seen_wherever_it_is_read(replica: Replica):
    async with Platform.open(replica.config) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        seen = {True: 0, False: 0}
        for number in range(50):
            await add(platform, acme, number)
            count, on_replica = await look(platform, acme)
            assert count == number + 1
            seen[on_replica] += 1
        deadline = time.monotonic() + 10
        while not (await look(platform, acme))[1]:
            assert time.monotonic() < deadline, "the replica has never caught up"


async def test_a_replica_that_lags_is_passed_over_until_it_has_caught_up(replica: Replica):
    async with Platform.open(replica.config) as platform:
        acme, rival = [await platform.create_tenant(name, region="eu-west-1") for name in ("acme", "rival")]
        await add(platform, acme, 0)
        await add(platform, rival, 0)
        deadline = time.monotonic() + 10
        while not ((await look(platform, acme))[1] and (await look(platform, rival))[1]):
            assert time.monotonic() < deadline
        with replica.paused():
            await add(platform, acme, 1)
            assert await look(platform, acme) == (2, False)
            # Who has written nothing since is served by the replica all the while.
            assert await look(platform, rival) == (1, True)
            async with Platform.open(replica.config) as other:
                handed_on = platform.last_write(acme)
                assert await look(other, acme, handed_on) == (2, False)
                assert await look(other, acme) == (1, True)
        while not (await look(platform, acme))[1]:
            assert time.monotonic() < deadline
        assert await look(platform, acme) == (2, True)


async def test_a_replica_that_is_gone_fails_no_session(replica: Replica):
    async with Platform.open(replica.config) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        await add(platform, acme, 0)
        deadline = time.monotonic() + 10
        while not (await look(platform, acme))[1]:
            assert time.monotonic() < deadline
        embedded.stop(replica.server.data_dir, replica.server.mark)
        await asyncio.sleep(1.1)
        started = time.monotonic()
        for _ in range(3):
            assert await look(platform, acme) == (1, False)
        assert time.monotonic() - started < 3


async def test_a_tenant_is_alone_on_a_replica_too(replica: Replica):
    async with Platform.open(replica.config) as platform:
        acme, rival = [await platform.create_tenant(name, region="eu-west-1") for name in ("acme", "rival")]
        await add(platform, rival, 0)
        deadline = time.monotonic() + 10
        while not (await look(platform, acme, platform.last_write(rival)))[1]:
            assert time.monotonic() < deadline
        assert await look(platform, acme, platform.last_write(rival)) == (0, True)
        with pytest.raises(Exception, match=r"read-only|permission denied"):
            async with platform.session(acme, readonly=True) as s:
                await catalog.add(s, sku="X", name="X", price=Money("1", "EUR"))


def test_a_position_is_read_as_postgres_writes_it():
    assert position("16/B374D848") == (0x16 << 32) + 0xB374D848
    assert position("1/0") > position("0/FFFFFFFF")
    for wrong in ("", "12", "x/y"):
        with pytest.raises(InvalidInput, match="not a position"):
            position(wrong)
