"""A closed month leaves the hot table and stays readable, whatever is killed on the way.

Standard: §7.1 Time-Based Partitioning
"""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cloudlab.config import Config, DatabaseUrls
from cloudlab.errors import Conflict, InvalidInput, InvariantBroken, NotFound, ProjectionFailed, VersionConflict
from cloudlab.events import archive, history, store
from cloudlab.events.archive import Place
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Event, NewEvent, Stream
from fixtures.commands import cloudlab, start, write_config
from fixtures.counting import model

OLD = date(2024, 2, 1)
HAPPENED = NewEvent("Happened", {"n": 1})


def urls(platform: Platform, acme: Tenant) -> DatabaseUrls:
    return shard_config(platform.config, acme.shard).urls


@pytest.fixture
async def past(platform: Platform, acme: Tenant) -> list[Stream]:
    """Twenty streams of five events each in February 2024, and one event in each since."""
    streams = [Stream("Thing", uuid4()) for _ in range(20)]
    with psycopg.connect(urls(platform, acme).owner_url, autocommit=True) as owner:
        owner.execute("SELECT cloudlab.ensure_event_partitions(1, '2024-02-10Z')")
    with psycopg.connect(urls(platform, acme).app_url) as app:
        app.execute("SELECT set_config('app.current_tenant_id', %s, true)", [str(acme.tenant_id)])
        for stream in streams:
            write_past(app, acme, stream, 5)
    for stream in streams[:10]:
        async with platform.session(acme) as s:
            await store.append(s, stream, [HAPPENED], expected_version=5)
    return streams


def write_past(app: psycopg.Connection, acme: Tenant, stream: Stream, count: int) -> None:
    """Write what an appender would have written in February 2024."""
    app.execute(
        "INSERT INTO cloudlab.event_streams (tenant_id, aggregate_id, aggregate_type, event_version)"
        " VALUES (%s, %s, %s, %s)",
        [acme.tenant_id, stream.aggregate_id, stream.aggregate_type, count],
    )
    for version in range(1, count + 1):
        app.execute(
            "INSERT INTO cloudlab.events (tenant_id, event_position, aggregate_id, aggregate_type, event_type,"
            " event_version, event_data, created_at)"
            " VALUES (%s, nextval('cloudlab.event_position'), %s, %s, 'Happened', %s, %s, '2024-02-10 12:00Z')",
            [acme.tenant_id, stream.aggregate_id, stream.aggregate_type, version, Jsonb({"n": version})],
        )


def version(event_version: int) -> int:
    return event_version


async def versions_of(platform: Platform, acme: Tenant, stream: Stream) -> list[int]:
    async with platform.session(acme, readonly=True) as s:
        return [event.event_version for event in await history.read_stream_history(s, stream)]


async def feed(config: Config, worker_url: str) -> list[Event]:
    """Read the whole feed, archived events too, a few at a time."""
    found: list[Event] = []
    async with Pools(config.limits) as pools:
        while True:
            async with pools.transaction(worker_url) as transaction:
                after = found[-1].event_position if found else 0
                page = await history.read_feed_history(transaction, after=after, limit=33)
            if not page:
                return found
            found += page


async def place_of(shard: DatabaseUrls, month: date) -> Place:
    return next(item.place for item in await archive.partitions(shard) if item.month == month)


async def test_an_archived_month_leaves_the_hot_table_and_stays_readable(
    platform: Platform, acme: Tenant, past: list[Stream]
):
    shard = urls(platform, acme)
    before = await feed(platform.config, shard.worker_url)
    moved = await archive.archive_month(shard, OLD)
    assert (moved.place, moved.event_count) == (Place.ARCHIVE, 100)
    assert await place_of(shard, OLD) is Place.ARCHIVE
    async with platform.session(acme) as s:
        assert [e.event_version for e in await store.read_stream(s, past[0], after_version=5)] == [6]
        assert await s.fetch(version, "SELECT event_version FROM events WHERE created_at < '2024-06-01Z'") == []
    assert await versions_of(platform, acme, past[0]) == [1, 2, 3, 4, 5, 6]
    assert await versions_of(platform, acme, past[15]) == [1, 2, 3, 4, 5]
    async with platform.session(acme) as s:
        last = await history.read_stream_history(s, past[0], backward=True, limit=3)
        assert [e.event_version for e in last] == [6, 5, 4]
        assert await history.read_stream_history(s, past[0], after_version=6) == []
    assert await feed(platform.config, shard.worker_url) == before
    assert [e.event_position for e in before] == sorted({e.event_position for e in before})
    assert len(before) == 110


async def test_versions_stay_unique_for_ever(platform: Platform, acme: Tenant, past: list[Stream]):
    await archive.archive_month(urls(platform, acme), OLD)
    for expected in (store.NEW, 3, 6):
        with pytest.raises(VersionConflict, match="is at version 5"):
            async with platform.session(acme) as s:
                await store.append(s, past[15], [HAPPENED], expected_version=expected)
    async with platform.session(acme) as s:
        assert await store.append(s, past[15], [HAPPENED], expected_version=None) == 6
    assert await versions_of(platform, acme, past[15]) == [1, 2, 3, 4, 5, 6]


async def test_a_tenant_sees_its_own_archived_events_only_at_every_step(
    platform: Platform, acme: Tenant, past: list[Stream]
):
    other = await platform.create_tenant("other", region="eu-west-1")
    shard = urls(platform, acme)

    async def seen_by(tenant: Tenant) -> int:
        async with platform.session(tenant) as s:
            attached = await s.fetch(version, "SELECT event_version FROM events_archive")
            return len(attached) + len(await s.fetch(version, "SELECT event_version FROM events_2024_02"))

    await begin(shard)
    assert (await seen_by(acme), await seen_by(other)) == (100, 0)
    assert await versions_of(platform, other, past[0]) == []
    await archive.archive_month(shard, OLD)
    assert (await seen_by(acme), await seen_by(other)) == (200, 0)
    assert await versions_of(platform, other, past[0]) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(shard.app_url) as app:
        app.execute("DELETE FROM cloudlab.events_archive")


async def begin(shard: DatabaseUrls) -> None:
    """Do the first step only, as a command that was killed behind it has done."""
    async with (
        await psycopg.AsyncConnection.connect(shard.owner_url) as owner,
        await psycopg.AsyncConnection.connect(shard.worker_url, autocommit=True) as worker,
    ):
        found = await archive.fingerprint(worker, OLD)
        await owner.execute(
            "SELECT cloudlab.begin_event_archive(%s, %s, %s, %s)",
            [OLD, found.event_count, found.event_hash, found.last_position],
        )


async def test_what_is_not_closed_is_refused(platform: Platform, acme: Tenant, past: list[Stream]):
    shard = urls(platform, acme)
    now = datetime.now(UTC)
    with pytest.raises(Conflict, match="is not over"):
        await archive.archive_month(shard, date(now.year, now.month, 1))
    with pytest.raises(NotFound, match="2019-01"):
        await archive.archive_month(shard, date(2019, 1, 1))
    with pytest.raises(NotFound, match="not in the archive"):
        await archive.restore_month(shard, OLD)
    with pytest.raises(InvalidInput, match="2026-13"):
        archive.parse_month("2026-13")
    with psycopg.connect(shard.worker_url, autocommit=True) as worker:
        worker.execute("INSERT INTO cloudlab.projections (projection_name, lane_count) VALUES ('slow', 1)")
        worker.execute(
            "INSERT INTO cloudlab.projection_checkpoints (projection_name, lane, event_position) VALUES ('slow', 0, 99)"
        )
        with pytest.raises(Conflict, match="slow at 99"):
            await archive.archive_month(shard, OLD)
        worker.execute("UPDATE cloudlab.projection_checkpoints SET event_position = 100 WHERE projection_name = 'slow'")
    assert (await archive.archive_month(shard, OLD)).place is Place.ARCHIVE


async def test_a_dry_run_changes_nothing(platform: Platform, acme: Tenant, past: list[Stream]):
    shard = urls(platform, acme)
    planned = await archive.archive_month(shard, OLD, dry_run=True)
    assert (planned.place, planned.event_count, len(planned.steps)) == (Place.LIVE, 100, 4)
    assert await place_of(shard, OLD) is Place.LIVE


async def test_a_restored_month_is_as_it_was(platform: Platform, acme: Tenant, past: list[Stream]):
    shard = urls(platform, acme)
    before = await feed(platform.config, shard.worker_url)
    for _ in range(2):
        await archive.archive_month(shard, OLD)
        restored = await archive.restore_month(shard, OLD)
        assert (restored.place, restored.event_count) == (Place.LIVE, 100)
    assert await place_of(shard, OLD) is Place.LIVE
    async with platform.session(acme) as s:
        assert [e.event_version for e in await store.read_stream(s, past[0])] == [1, 2, 3, 4, 5, 6]
    assert await feed(platform.config, shard.worker_url) == before


async def test_a_changed_archive_is_noticed(
    platform: Platform, acme: Tenant, past: list[Stream], postgres_superuser: Callable[[str], psycopg.Connection]
):
    shard = urls(platform, acme)
    await archive.archive_month(shard, OLD)
    with postgres_superuser(shard.owner_url) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("UPDATE cloudlab.events_archive SET event_data = '{}' WHERE event_position = 7")
    with pytest.raises(InvariantBroken, match="2024-02 had 100 events"):
        await archive.archive_month(shard, OLD)


@pytest.mark.parametrize("month", ["archive", "restore"])
async def test_appends_and_readers_notice_nothing(platform: Platform, acme: Tenant, past: list[Stream], month: str):
    """Versions are read whole, at every moment of a move and of the way back."""
    shard = urls(platform, acme)
    if month == "restore":
        await archive.archive_month(shard, OLD)
    slowest, appended, ended = 0.0, 0, False

    async def appender(number: int) -> None:
        nonlocal slowest, appended
        while not ended:
            began = time.monotonic()
            async with platform.session(acme) as s:
                await store.append(s, Stream("Other", UUID(int=number)), [HAPPENED], expected_version=None)
            slowest, appended = max(slowest, time.monotonic() - began), appended + 1
            await asyncio.sleep(0.002)

    async def reader() -> None:
        while not ended:
            assert await versions_of(platform, acme, past[3]) == [1, 2, 3, 4, 5, 6]
            found = [e for e in await feed(platform.config, shard.worker_url) if e.aggregate_type == "Thing"]
            assert len(found) == 110

    async def mover() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(0.3)
            await (archive.archive_month if month == "archive" else archive.restore_month)(shard, OLD)
            await asyncio.sleep(0.3)
        finally:
            ended = True

    await asyncio.gather(appender(1), appender(2), reader(), mover())
    assert appended > 20
    assert slowest < 2


async def test_a_projection_that_needs_an_archived_month_says_so(platform: Platform, acme: Tenant, past: list[Stream]):
    await archive.archive_month(urls(platform, acme), OLD)
    late = model()
    for _ in range(4):
        with pytest.raises(ProjectionFailed, match="are archived"):
            await platform.readers.run_once(acme.shard, late)
    lanes = [lane for lane in await platform.readers.progress(acme.shard) if lane.projection_name == late.name]
    assert "are archived" in (lanes[0].last_error or "")
    assert [lane.failed_attempts for lane in lanes] == [0] * len(lanes)
    assert await platform.readers.parked(acme.shard) == []


@asynccontextmanager
async def in_the_way(url: str, statement: str) -> AsyncGenerator[None]:
    """Hold the locks of a statement in a transaction that does not end."""
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute(statement.encode())
        yield
        await conn.rollback()


async def waiting_for_a_lock(url: str) -> None:
    """Return when the command stands in its ALTER TABLE or in its step, waiting."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = await conn.execute(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                " AND query ~ 'event_archive|DETACH'"
            )
            if found.rowcount:
                return
            await asyncio.sleep(0.005)
    raise AssertionError("the command never waited")


IN_THE_WAY = {
    "before the first step": ("SELECT FROM cloudlab.event_archives", Place.LIVE),
    "while it detaches": ("LOCK TABLE ONLY cloudlab.events IN ACCESS SHARE MODE", Place.MOVING),
    "between detaching and attaching": ("SELECT FROM cloudlab.event_archives", Place.MOVING),
}


@pytest.mark.parametrize("moment", IN_THE_WAY)
async def test_a_killed_archiving_loses_nothing_and_goes_on(
    platform: Platform, acme: Tenant, past: list[Stream], moment: str, tmp_path: Path
):
    """The command is stopped by a lock at each step, killed there, and run again."""
    shard = urls(platform, acme)
    before = await feed(platform.config, shard.worker_url)
    write_config(platform.config, tmp_path)
    holding, left = IN_THE_WAY[moment]
    if moment.startswith("between"):
        await begin(shard)
        with psycopg.connect(shard.owner_url, autocommit=True) as owner:
            owner.execute("ALTER TABLE cloudlab.events DETACH PARTITION cloudlab.events_2024_02 CONCURRENTLY")
    async with in_the_way(shard.worker_url, holding):
        with start(tmp_path, "partition", "archive", "2024-02", "--shard", acme.shard) as command:
            await waiting_for_a_lock(shard.owner_url)
            command.send_signal(signal.SIGKILL)
            command.wait()
        with psycopg.connect(shard.owner_url, autocommit=True) as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                " AND query ~ 'event_archive|DETACH' AND pid <> pg_backend_pid()"
            )
        assert await place_of(shard, OLD) is left
        assert await feed(platform.config, shard.worker_url) == before
        assert await versions_of(platform, acme, past[0]) == [1, 2, 3, 4, 5, 6]
    again = cloudlab(tmp_path, "partition", "archive", "2024-02", "--shard", acme.shard, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)[0]["event_count"] == 100
    assert await place_of(shard, OLD) is Place.ARCHIVE
    assert await feed(platform.config, shard.worker_url) == before


def test_the_commands_say_what_they_do(config: Config, tmp_path: Path):
    write_config(config, tmp_path)

    def say(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return cloudlab(tmp_path, "partition", *arguments)

    listed = json.loads(say("list", "--json").stdout)
    assert {item["place"] for item in listed} == {"live"}
    assert json.loads(say("ensure", "--months", "14", "--json").stdout)[0]["made"] >= 1
    assert "no partition" in say("ensure", "--months", "14").stdout
    this_month = f"{datetime.now(UTC):%Y-%m}"
    refused = say("archive", this_month)
    assert (refused.returncode, "is not over" in refused.stderr) == (1, True)
    assert say("archive", "January").returncode == 2
    assert say("restore", this_month).returncode == 2
    later = (datetime.now(UTC) + timedelta(days=31)).strftime("%Y-%m")
    assert say("archive", later, "--dry-run").returncode == 1
