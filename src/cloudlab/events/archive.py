"""The archive of events: closed months leave `events`, and stay readable.

A month is archived in four steps: its count and hash are put on record, its partition is detached without stopping
anybody, the detached table joins `events_archive`, count and hash are compared. Between the steps the month is read
from its own table, so no reader misses an event. Each step can be repeated: whatever was killed, the same command goes
on where it stopped.

Standard: §7.1 Time-Based Partitioning
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from cloudlab.config import DatabaseUrls
from cloudlab.errors import Conflict, InvalidInput, InvariantBroken, NotFound, TimedOut, from_postgres
from cloudlab.postgres.pool import secure
from cloudlab.schema.locks import Connection, one_runner, patiently

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_POLL_SECONDS = 0.05
_DETACH_LOCK_MS = 5000
_LOCK_TIMEOUT = "SELECT /* archive.lock_timeout */ set_config('lock_timeout', %s, %s)"


class Place(StrEnum):
    """Where a month of events is."""

    LIVE = "live"
    MOVING = "moving"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of events of a shard, with its size on disk, indexes included."""

    month: date
    partition_name: str
    place: Place
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a month holds: as long as it is the same, no event was lost, added or changed."""

    event_count: int
    event_hash: Decimal
    last_position: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A month that was archived or restored, or would be."""

    month: date
    place: Place
    event_count: int
    steps: list[str]


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far an archiving has come: its state on record, which parent the table has, whether a detach is pending."""

    state: str | None
    parent: str | None
    pending: bool


def parse_month(text: str) -> date:
    """Return the first day of a month written as 2026-01.

    Raises:
        InvalidInput: It is not written so.
    """
    if not _MONTH.fullmatch(text):
        raise InvalidInput(f"{text!r} is not a month", hint="Write it as 2026-01.")
    return date(int(text[:4]), int(text[5:]), 1)


async def partitions(urls: DatabaseUrls) -> list[Partition]:
    """List the months of one shard, oldest first. Cost: one round trip."""
    async with _connect(urls.owner_url) as conn, conn.cursor(row_factory=class_row(Partition)) as cursor:
        await cursor.execute(
            """
            SELECT /* archive.partitions */ to_date(substr(c.relname, 8), 'YYYY_MM') AS month,
                   c.relname AS partition_name,
                   CASE WHEN a.state = 'moving' THEN 'moving' WHEN a.state = 'archived' THEN 'archive'
                        ELSE 'live' END AS place,
                   pg_total_relation_size(c.oid) AS size_bytes
            FROM pg_class AS c LEFT JOIN cloudlab.event_archives AS a ON a.partition_name = c.relname
            WHERE c.relnamespace = 'cloudlab'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^events_\\d{4}_\\d{2}$'
            ORDER BY c.relname
            """
        )
        return [Partition(p.month, p.partition_name, Place(p.place), p.size_bytes) for p in await cursor.fetchall()]


async def ensure_partitions(urls: DatabaseUrls, *, months_ahead: int = 3) -> int:
    """Make the partitions that are missing from this month to so many ahead; return how many. Cost: one round trip."""
    async with _connect(urls.worker_url) as conn:
        found = await conn.execute(
            "SELECT /* archive.ensure_partitions */ cloudlab.ensure_event_partitions(%s)", [months_ahead]
        )
        return (await found.fetchall())[0][0]


async def archive_month(urls: DatabaseUrls, month: date, *, wait_seconds: float = 60.0, dry_run: bool = False) -> Moved:
    """Move one closed month of a shard from `events` to `events_archive`; appends and readers go on meanwhile.

    Args:
        urls: The shard's logins: the owner's changes tables, the worker's reads the events of all tenants.
        month: Its first day.
        wait_seconds: How long each step may wait for transactions that are in its way.
        dry_run: Check whether it may be moved, and say what would be done.

    Raises:
        NotFound: The shard has no partition of this month.
        Conflict: The month is not over, or a projection has not read all of it.
        TimedOut: A transaction was in the way all the time; run it again, it goes on where it stopped.
        InvariantBroken: The archive does not hold what the month held before.

    Cost: reads the month twice; locks are held for moments.
    Standard: §7.1 Time-Based Partitioning
    """
    async with _one_archivist(urls, wait_seconds) as (owner, worker):
        standing = await _standing(owner, month)
        done = _remaining(standing)
        found = None if standing.state else await _closed(owner, worker, month, wait_seconds)
        if dry_run:
            count = (found or await _recorded(owner, month)).event_count
            return Moved(month, _place(standing), count, done)
        if found:
            await _begin(owner, month, found, wait_seconds)
            standing = await _standing(owner, month)
        if standing.state == "moving":
            if standing.parent:
                await _detach(owner, month, wait_seconds)
            await _join(owner, month, wait_seconds)
        recorded = await _verify(owner, worker, month)
        return Moved(month, Place.ARCHIVE, recorded.event_count, done)


async def restore_month(urls: DatabaseUrls, month: date, *, wait_seconds: float = 60.0, dry_run: bool = False) -> Moved:
    """Move one month back from the archive to `events`, in one transaction.

    Raises:
        NotFound: The month is not in the archive.
        Conflict: Its archiving has not ended; archive it again first.
        TimedOut: A transaction was in the way all the time; nothing was changed.

    Cost: as `archive_month`, but the month is read once.
    """
    async with _one_archivist(urls, wait_seconds) as (owner, worker):
        standing = await _standing(owner, month)
        if standing.state is None:
            raise NotFound(f"{month:%Y-%m} is not in the archive")
        if standing.state == "moving":
            raise Conflict(f"the archiving of {month:%Y-%m} has not ended", hint="Archive it again, then restore it.")
        recorded = await _recorded(owner, month)
        if not dry_run:
            await _rejoin(owner, month, wait_seconds)
            _compare(month, recorded, await fingerprint(worker, month))
        return Moved(month, Place.ARCHIVE if dry_run else Place.LIVE, recorded.event_count, ["attach to events"])


async def fingerprint(worker: Connection, month: date) -> Fingerprint:
    """Count and hash the events of a month, wherever it is; only the worker's login sees all of them.

    Cost: one round trip that reads the month.
    """
    async with worker.cursor(row_factory=class_row(Fingerprint)) as cursor:
        await cursor.execute(
            """
            SELECT /* archive.fingerprint */ f.event_count, f.event_hash, f.last_position
            FROM cloudlab.month_fingerprint(%s) AS f
            """,
            [month],
        )
        return (await cursor.fetchall())[0]


@asynccontextmanager
async def _connect(url: str) -> AsyncGenerator[Connection]:
    """Yield an autocommit connection whose errors come out as CloudLab's."""
    try:
        async with await AsyncConnection.connect(secure(url), autocommit=True) as conn:
            yield conn
    except psycopg.Error as error:
        raise from_postgres(error) from error


@asynccontextmanager
async def _one_archivist(urls: DatabaseUrls, seconds: float) -> AsyncGenerator[tuple[Connection, Connection]]:
    """Yield the owner's connection and the worker's; nobody else archives or migrates this shard meanwhile."""
    async with _connect(urls.owner_url) as owner, _connect(urls.worker_url) as worker, one_runner(owner, seconds):
        yield owner, worker


async def _standing(owner: Connection, month: date) -> _Standing:
    async with owner.cursor(row_factory=class_row(_Standing)) as cursor:
        await cursor.execute(
            """
            SELECT /* archive.standing */ a.state, p.relname AS parent, coalesce(i.inhdetachpending, false) AS pending
            FROM pg_class AS c
            LEFT JOIN cloudlab.event_archives AS a ON a.partition_name = c.relname
            LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
            LEFT JOIN pg_class AS p ON p.oid = i.inhparent
            WHERE c.oid = to_regclass(%s)
            """,
            [f"cloudlab.{_table(month)}"],
        )
        rows = await cursor.fetchall()
    if not rows:
        raise NotFound(f"there is no partition of events for {month:%Y-%m}", hint="See `cloudlab partition list`.")
    return rows[0]


def _place(standing: _Standing) -> Place:
    return {None: Place.LIVE, "moving": Place.MOVING}.get(standing.state, Place.ARCHIVE)


def _remaining(standing: _Standing) -> list[str]:
    """Name the steps that are left, as they would be told before or after they are done."""
    if standing.state == "archived":
        return ["compare count and hash"]
    steps = ["record count and hash"] if standing.state is None else []
    if standing.parent:
        steps.append("finish the detaching" if standing.pending else "detach from events, concurrently")
    return [*steps, "attach to events_archive", "compare count and hash"]


async def _closed(owner: Connection, worker: Connection, month: date, wait_seconds: float) -> Fingerprint:
    """Return what a month holds for good; refuse one that can still grow or that a projection still needs."""
    now = datetime.now(UTC)
    if month >= date(now.year, now.month, 1):
        raise Conflict(f"{month:%Y-%m} is not over", hint="Only a month before the current one can be archived.")
    await _await_open_appends(owner, wait_seconds)
    found = await fingerprint(worker, month)
    rows = await worker.execute(
        """
        SELECT /* archive.closed */ c.projection_name, c.event_position
        FROM cloudlab.projection_checkpoints AS c WHERE c.event_position < %s ORDER BY c.event_position
        """,
        [found.last_position],
    )
    behind = [f"{name} at {position}" for name, position in await rows.fetchall()]
    if behind:
        raise Conflict(
            f"not all projections have read {month:%Y-%m}, which ends at position {found.last_position}:"
            f" {', '.join(behind)}",
            hint="Let the worker catch up, then run this again.",
        )
    return found


async def _await_open_appends(owner: Connection, wait_seconds: float) -> None:
    """Wait until no transaction is open that may have stamped an event before now.

    The number drawn here stands above the mark of each of them; whoever marks a higher one takes its time later.
    """
    row = await (
        await owner.execute("SELECT /* archive.await_open_appends */ nextval('cloudlab.event_position')")
    ).fetchone()
    deadline = time.monotonic() + wait_seconds
    while True:
        horizon = await (
            await owner.execute("SELECT /* archive.await_open_appends */ cloudlab.feed_horizon()")
        ).fetchone()
        if row and horizon and horizon[0] >= row[0]:
            return
        if time.monotonic() > deadline:
            raise TimedOut(
                f"an append is still open after {wait_seconds:g} s",
                hint="End the transaction that holds it, then run this again; nothing was changed.",
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _begin(owner: Connection, month: date, found: Fingerprint, wait_seconds: float) -> None:
    step = "SELECT /* archive.begin */ cloudlab.begin_event_archive(%s, %s, %s, %s)"
    values = [month, found.event_count, found.event_hash, found.last_position]
    await _transact(owner, month, step, values, wait_seconds)


async def _join(owner: Connection, month: date, wait_seconds: float) -> None:
    step = "SELECT /* archive.join */ cloudlab.finish_event_archive(%s)"
    await _transact(owner, month, step, [month], wait_seconds)


async def _rejoin(owner: Connection, month: date, wait_seconds: float) -> None:
    step = "SELECT /* archive.rejoin */ cloudlab.restore_event_archive(%s)"
    await _transact(owner, month, step, [month], wait_seconds)


async def _transact(
    owner: Connection, month: date, step: LiteralString, values: Sequence[object], wait_seconds: float
) -> None:
    """Run one step in a transaction of its own that asks for its locks in moments, until it gets them."""

    async def attempt(timeout_ms: int) -> None:
        async with owner.transaction():
            await owner.execute(_LOCK_TIMEOUT, [str(timeout_ms), True])
            await owner.execute(step, values)

    await patiently(owner, f"moving {month:%Y-%m}", wait_seconds, attempt)


async def _detach(owner: Connection, month: date, wait_seconds: float) -> None:
    """Detach the partition, or finish a detaching that was interrupted; waits for transactions, blocks none of them.

    It may wait long for those that read events before it; a lock_timeout leaves it pending, to be finished.
    """
    table = sql.Identifier("cloudlab", _table(month))
    detach = sql.SQL("ALTER TABLE cloudlab.events DETACH PARTITION {} CONCURRENTLY").format(table)
    finish = sql.SQL("ALTER TABLE cloudlab.events DETACH PARTITION {} FINALIZE").format(table)

    async def attempt(_: int) -> None:
        now = await _standing(owner, month)
        if now.parent:
            await owner.execute(_LOCK_TIMEOUT, [str(_DETACH_LOCK_MS), False])
            await owner.execute(finish if now.pending else detach)

    await patiently(owner, f"detaching {month:%Y-%m}", wait_seconds, attempt)


async def _recorded(owner: Connection, month: date) -> Fingerprint:
    async with owner.cursor(row_factory=class_row(Fingerprint)) as cursor:
        await cursor.execute(
            """
            SELECT /* archive.recorded */ a.event_count, a.event_hash, a.last_position
            FROM cloudlab.event_archives AS a WHERE a.month = %s
            """,
            [month],
        )
        return (await cursor.fetchall())[0]


async def _verify(owner: Connection, worker: Connection, month: date) -> Fingerprint:
    recorded = await _recorded(owner, month)
    _compare(month, recorded, await fingerprint(worker, month))
    return recorded


def _compare(month: date, recorded: Fingerprint, found: Fingerprint) -> None:
    if recorded != found:
        raise InvariantBroken(
            f"{month:%Y-%m} had {recorded.event_count} events with hash {recorded.event_hash}, and has now"
            f" {found.event_count} with hash {found.event_hash}"
        )


def _table(month: date) -> str:
    return f"events_{month:%Y_%m}"
