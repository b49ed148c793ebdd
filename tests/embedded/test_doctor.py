"""The doctor: unsafe durability is CRITICAL on any server, what will hurt later a WARNING, no data UNKNOWN."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest
from valkey import Valkey

from cloudlab.config import Config, DatabaseUrls, ShardConfig
from cloudlab.embedded import Diagnosis, doctor, homes, runtime, stack
from embedded.stacks import answers
from fixtures.postgres import SYSTEM_15


@asynccontextmanager
async def altered(folder: Path, database: str, change: LiteralString, back: LiteralString) -> AsyncIterator[None]:
    """Change something as superuser, and change it back."""
    home = homes.resolve(folder)
    url = runtime.superuser_url(home, runtime.load_saved(home), database)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(change)
        await connection.execute("SELECT pg_reload_conf(), pg_sleep(0.1)")
        try:
            yield
        finally:
            await connection.execute(back)
            await connection.execute("SELECT pg_reload_conf(), pg_sleep(0.1)")


def not_well(found: Sequence[Diagnosis]) -> dict[str, str]:
    """Return what is not OK; each has a remedy."""
    bad = [one for one in found if one.level != "OK"]
    assert all(one.remedy for one in bad), [one for one in bad if not one.remedy]
    return {one.check: one.level for one in bad}


async def test_a_new_stack_is_well(running: Path) -> None:
    found = await doctor(running)
    assert not_well(found) == {}
    assert {"postgres fsync", "postgres data_checksums", "cache bounds", "analytics version", "disk"} <= {
        one.check for one in found
    }


@pytest.mark.parametrize(
    ("change", "back", "check", "level"),
    [
        ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync", "postgres fsync", "CRITICAL"),
        (
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM RESET full_page_writes",
            "postgres full_page_writes",
            "CRITICAL",
        ),
        (
            "ALTER ROLE cloudlab_worker SET synchronous_commit = off",
            "ALTER ROLE cloudlab_worker RESET synchronous_commit",
            "postgres synchronous_commit",
            "CRITICAL",
        ),
        (
            "ALTER ROLE cloudlab_app BYPASSRLS",
            "ALTER ROLE cloudlab_app NOBYPASSRLS",
            "postgres us_east_001 app login",
            "CRITICAL",
        ),
        (
            "ALTER ROLE cloudlab_readonly NOLOGIN",
            "ALTER ROLE cloudlab_readonly LOGIN",
            "postgres control readonly login",
            "CRITICAL",
        ),
        ("ALTER SYSTEM SET autovacuum = off", "ALTER SYSTEM RESET autovacuum", "postgres autovacuum", "WARNING"),
        (
            "DROP EXTENSION pg_stat_statements",
            "CREATE EXTENSION pg_stat_statements",
            "postgres pg_stat_statements",
            "WARNING",
        ),
    ],
)
async def test_what_is_wrong_with_postgres_is_found(
    running: Path, change: LiteralString, back: LiteralString, check: str, level: str
) -> None:
    async with altered(running, "cloudlab_control", change, back):
        assert not_well(await doctor(running)).get(check) == level
    assert not_well(await doctor(running)) == {}


async def test_what_is_wrong_with_the_cache_is_found(running: Path) -> None:
    config = (await stack.up(running)).config
    with Valkey.from_url(config.cache_url) as cache:
        cache.config_set("maxmemory", "0")
        cache.config_set("appendonly", "no")
        try:
            bad = not_well(await doctor(running))
        finally:
            cache.config_set("maxmemory", "64mb")
            cache.config_set("appendonly", "yes")
    assert bad == {"cache bounds": "WARNING", "cache persistence": "WARNING"}


async def test_servers_named_by_a_configuration(running: Path) -> None:
    """The same checks for servers that are not ours; each that does not answer is CRITICAL, and soon."""
    own = (await stack.up(running)).config
    assert not_well(await doctor(own)) == {}
    nowhere = DatabaseUrls(*(f"postgresql://{login}@127.0.0.1:1/x" for login in "aowr"))
    shards = (ShardConfig("there", "eu-west-1", own.shards[0].urls), ShardConfig("gone", "eu-west-1", nowhere))
    config = Config(own.control, shards, "redis://127.0.0.1:1", own.analytics_url + "_other")
    started = time.monotonic()
    bad = not_well(await doctor(config))
    assert time.monotonic() - started < 6
    gone = {f"postgres gone {duty} login" for duty in ("app", "owner", "worker", "readonly")}
    assert bad == dict.fromkeys(gone | {"cache", "analytics database"}, "CRITICAL")
    elsewhere = Config(own.control, own.shards, own.cache_url, "http://127.0.0.1:1/x")
    assert not_well(await doctor(elsewhere)) == {"analytics": "CRITICAL"}


async def test_without_a_stack(tmp_path: Path) -> None:
    bad = not_well(await doctor(tmp_path / "nothing"))
    assert bad == {f"server {name}": "WARNING" for name in homes.SERVERS}
    assert not (tmp_path / "nothing").exists()


async def test_missing_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLAB_PG_BIN", "/nowhere")
    monkeypatch.setenv("CLOUDLAB_VALKEY_BIN", "/nowhere")
    bad = not_well(await doctor(tmp_path / "nothing"))
    assert {check for check, level in bad.items() if level == "CRITICAL"} == {"program postgres", "program valkey"}


@pytest.fixture
def crashed(running: Path) -> Path:
    """The shared stack, its cache killed."""
    home = homes.resolve(running)
    psutil.Process(runtime.recorded(home)["valkey"].mark.pid).kill()
    time.sleep(0.1)
    return running


async def test_a_crashed_server(crashed: Path) -> None:
    assert not_well(await doctor(crashed)) == {"server valkey": "CRITICAL", "cache": "CRITICAL"}
    await stack.up(crashed)
    assert not_well(await doctor(crashed)) == {}


async def test_the_oldest_postgres(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack on PostgreSQL 15 as Debian packages it is as safe."""
    if not SYSTEM_15.exists():
        pytest.skip(f"PostgreSQL 15 is not installed: {SYSTEM_15} does not exist")
    monkeypatch.setenv("CLOUDLAB_PG_BIN", str(SYSTEM_15))
    started = await stack.up(state_dir)
    assert await answers(started)
    assert started.servers[0].version.startswith("15.")
    assert not_well(await doctor(state_dir)) == {}
