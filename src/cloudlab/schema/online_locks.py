"""Locks on tables that clients use: taken when nobody is in the way, given back at once when somebody is.

Who holds a conflicting lock is watched first; as long as one transaction is older than 100 ms, nothing is asked for,
so nobody queues behind the asking. Then LOCK … NOWAIT, and on a table that is never free, a lock_timeout of 20 ms that
grows to 200 ms.

Standard: §6.2 Zero-Downtime Migrations
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg import sql

from cloudlab.errors import TimedOut
from cloudlab.schema.locks import Connection
from cloudlab.schema.online_steps import Lock, raw

_OLD_SECONDS = 0.1
_AT_ONCE = 20
_FIRST_MS, _LAST_MS, _GROWTH = 20.0, 200.0, 1.3
_PAUSE_SECONDS = 0.005
_TELL_SECONDS = 1.0
_VACUUM_MS = 3000
_WRITERS = ("RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock")
_STRONG = ("ExclusiveLock", "AccessExclusiveLock")
_CONFLICTS = {
    "ACCESS EXCLUSIVE": ("AccessShareLock", "RowShareLock", *_WRITERS, *_STRONG),
    "SHARE ROW EXCLUSIVE": (*_WRITERS, *_STRONG),
    "SHARE": ("RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareRowExclusiveLock", *_STRONG),
}


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction that holds what is wanted. Age and query are empty where the login may not see them."""

    pid: int
    transaction: str
    age_seconds: float | None
    state: str
    query: str
    table: str
    vacuum: bool

    def __str__(self) -> str:
        age = "of unknown age" if self.age_seconds is None else f"for {self.age_seconds:.1f} s"
        return f"process {self.pid} ({self.state or 'state hidden'}, {age}) on {self.table}: {self.query or 'hidden'}"


@dataclass(frozen=True, slots=True)
class Courtesy:
    """How locks are waited for: at most so long; transactions in the way are ended only when asked to.

    Attributes:
        table_seconds: Then the operation fails, and may be run again.
        end_after_seconds: Age at which a transaction in the way is terminated; None: never.
    """

    table_seconds: float = 300.0
    end_after_seconds: float | None = None


class Locking:
    """One attempt after the other to do something under locks, until one succeeds."""

    def __init__(self, conn: Connection, courtesy: Courtesy, told: Callable[[str], None]) -> None:
        self._conn, self._courtesy, self._told = conn, courtesy, told
        self._seen: dict[str, float] = {}

    async def run(self, what: str, locks: Sequence[Lock], work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` in a transaction that holds the locks.

        Raises:
            TimedOut: Somebody was in the way all the time; the message names process, age and query.
        """
        started = told_at = time.monotonic()
        tries = 0
        while True:
            blockers = await self._blockers(locks)
            old = [one for one in blockers if self._is_old(one) and not one.vacuum]
            if not old:
                try:
                    return await self._attempt(locks, tries, any(one.vacuum for one in blockers), work)
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    tries += 1
            now = time.monotonic()
            if now > started + self._courtesy.table_seconds:
                raise _gave_up(what, now - started, blockers)
            if old and now > told_at + _TELL_SECONDS:
                told_at = now
                self._told(f"{what} waits for {'; '.join(map(str, old))}")
            await self._end(old)
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.5, 2) * min(1 + tries / 10, 10))  # noqa: S311

    def _is_old(self, blocker: Blocker) -> bool:
        """Tell by what the server says, or, where it says nothing, by how long we have seen the transaction."""
        seen = time.monotonic() - self._seen.setdefault(blocker.transaction, time.monotonic())
        return max(blocker.age_seconds or 0.0, seen) > _OLD_SECONDS

    async def _attempt(
        self, locks: Sequence[Lock], tries: int, vacuum: bool, work: Callable[[], Awaitable[None]]
    ) -> None:
        milliseconds = round(min(_FIRST_MS * _GROWTH ** max(0, tries - _AT_ONCE), _LAST_MS))
        async with self._conn.transaction():
            for lock in locks if vacuum else ():
                # Vacuum yields to who waits for a second; in this mode no client waits behind us.
                await self._timeout(_VACUUM_MS)
                await self._conn.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(raw(lock.table))
                )
            await self._timeout(milliseconds)
            nowait = sql.SQL("NOWAIT" if tries < _AT_ONCE else "")
            # Those of one mode in one statement: the first is not held for the way to and fro until the last.
            for mode, same in groupby(locks, lambda lock: lock.mode):
                tables = sql.SQL(", ").join(raw(lock.table) for lock in same)
                await self._conn.execute(sql.SQL("LOCK TABLE {} IN {} MODE {}").format(tables, raw(mode), nowait))
            await work()

    async def _timeout(self, milliseconds: int) -> None:
        # COMMIT would hold the locks until the disk has answered. What a crash of the server could take is the step
        # together with its note in the journal; who wrote after it and was told so has flushed it before, in the order
        # of the WAL, and the operation is reported as done only after a synchronous commit.
        await self._conn.execute(
            "SELECT /* online_locks.timeout */ set_config('lock_timeout', %s, true),"
            " set_config('synchronous_commit', 'off', true)",
            [str(milliseconds)],
        )

    async def _blockers(self, locks: Sequence[Lock]) -> list[Blocker]:
        """Return who holds a lock that conflicts, on the tables or their partitions."""
        found: dict[str, Blocker] = {}
        for lock in locks:
            rows = await self._conn.execute(
                """
                SELECT /* online_locks.blockers */ l.pid, l.virtualtransaction,
                    extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(a.state, ''),
                    left(coalesce(a.query, ''), 200), l.relation::regclass::text,
                    coalesce(a.backend_type = 'autovacuum worker' AND a.query !~ 'wraparound', false)
                FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
                WHERE l.granted AND l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND l.mode = ANY (%(modes)s)
                    AND (l.relation = %(table)s::regclass OR NOT %(only)s AND l.relation IN (
                        SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass))
                """,
                {
                    "modes": list(_CONFLICTS[lock.mode]),
                    "table": re.sub(r"^ONLY ", "", lock.table),
                    "only": lock.table.startswith("ONLY "),
                },
            )
            for row in await rows.fetchall():
                found[str(row[1])] = Blocker(row[0] or 0, *row[1:])
        return list(found.values())

    async def _end(self, old: Sequence[Blocker]) -> None:
        after = self._courtesy.end_after_seconds
        for one in old:
            if after is not None and (one.age_seconds or 0) > after and one.pid:
                self._told(f"ending {one}, as asked")
                await self._conn.execute("SELECT /* online_locks.end */ pg_terminate_backend(%s)", [one.pid])


def _gave_up(what: str, seconds: float, blockers: Sequence[Blocker]) -> TimedOut:
    who = "; ".join(map(str, blockers)) or "nobody for longer than a moment; the tables are never free"
    return TimedOut(
        f"{what} did not get its locks within {seconds:.0f} s; in the way: {who}",
        hint="Nothing waits behind it. End these transactions, or run it again when they have ended.",
    )
