"""Many small transactions over the blocks of a table, each of as many rows as take about 10 ms.

Blocks are walked, not keys: that reads every page once, in the order of the disk, and is 1.7 times as fast as by a key
of random order. Rows that move behind the walk are caught by what the operation installed before (a trigger or a
default) or by the next walk; a query proves in the end that none is left.

The server goes from batch to batch by itself, for a slice of time: so a batch can be short without the way to and fro
between two of them. Who wants a row of a batch waits for that batch, not for the slice.

Standard: §6.2 Adding Columns
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.locks import Connection
from cloudlab.schema.online_journal import Journal
from cloudlab.schema.online_steps import Step

_FIRST_BLOCKS = 4
_MOST_BLOCKS = 4096
_WALKS = 20
_ROW_LOCK_MS = 20
_BLOCK_BYTES = 8192
_LOOK_SECONDS = 0.5
_FIRST_SLICE_SECONDS, _SLICE_SECONDS = 0.05, 0.25
# A batch and its position commit together, and not synchronously: what a crash of the server takes is the newest
# batches with their positions, as WAL is written in its order. They are done again. Nothing later can survive them: a
# step that follows is noted by a synchronous commit, which flushes all WAL before it.
_SLICE = """
DO /* online_batches.slice */ $online$
DECLARE
    here bigint := {first};
    ahead bigint;
    blocks double precision := {blocks};
    began timestamptz := clock_timestamp();
    batch_ms double precision;
    ends constant timestamptz := began + make_interval(secs => {seconds});
    written bigint;
    pause boolean := false;
BEGIN
    WHILE here < {last} AND began < ends AND NOT pause LOOP
        PERFORM set_config('lock_timeout', {lock_ms}, true), set_config('synchronous_commit', 'off', true);
        ahead := least({last}, here + round(blocks)::bigint);
        {statements}
        GET DIAGNOSTICS written = ROW_COUNT;
        UPDATE {journal} SET next_block = ahead, rows_done = rows_done + written, rows_per_second = {rate},
            lag_seconds = {lag}, updated_at = clock_timestamp()
        WHERE operation_id = {operation} RETURNING wanted = 'pause' INTO STRICT pause;
        COMMIT;
        here := ahead;
        batch_ms := greatest(0.01, 1000 * extract(epoch FROM clock_timestamp() - began));
        blocks := least(greatest(1, blocks * least(greatest({batch_ms} / batch_ms, 0.3), 1.5)), {most});
        began := clock_timestamp();
    END LOOP;
END
$online$
"""
_STATEMENT = "EXECUTE {statement} USING format('(%s,0)', here)::tid, format('(%s,0)', ahead)::tid;"


@dataclass(frozen=True, slots=True)
class Throttle:
    """What slows batches down. Where a bound is passed, they wait until it is kept again.

    Attributes:
        batch_ms: How long a batch should take; a client that wants one of its rows waits as long at worst.
        replica_lag_seconds: How far the slowest replica may be behind (needs pg_monitor to be seen).
        wal_bytes_per_second: How much WAL the whole server may write; None: any.
        latency_ms: What `latency` may return; None: any.
        latency: The latency of the clients as you measure it, in ms; asked about twice a second.
    """

    batch_ms: float = 10.0
    replica_lag_seconds: float = 10.0
    wal_bytes_per_second: float | None = None
    latency_ms: float | None = None
    latency: Callable[[], Awaitable[float]] | None = None


class Paused(Exception):
    """Somebody asked for a pause; what was done is kept."""


class Walk:
    """The batches of one step of an operation."""

    def __init__(
        self, conn: Connection, journal: Journal, operation_id: int, throttle: Throttle, told: Callable[[str], None]
    ) -> None:
        self._conn, self._journal, self._id, self._throttle, self.told = conn, journal, operation_id, throttle, told
        self._blocks = float(_FIRST_BLOCKS)
        self._seconds = _FIRST_SLICE_SECONDS
        self._looked = self._started = time.monotonic()
        self._lag = 0.0
        self._wal: int | None = None
        self._rows = 0
        self.done = 0

    async def run(self, step: Step, position: int, done: int) -> None:
        """Walk from a block on until the proof finds nothing left; walk again where it does.

        Raises:
            Paused: Somebody asked for it.
            MigrationError: Rows are left after every walk, so something writes them that way.
        """
        self.done = done
        left = 0
        for _ in range(_WALKS):
            await self._once(step, position)
            if not step.proof or not (left := await self._number(step.proof)):
                return
            self.told(f"{step.name}: {left} rows are left, walking again")
            position = 0
        raise MigrationError(
            f"{step.name}: {left} rows are left after {_WALKS} walks",
            hint="Something goes on writing them as they were. Change that, then run this again.",
        )

    async def _once(self, step: Step, position: int) -> None:
        size = "SELECT /* online_batches.size */ pg_relation_size(%s::regclass)"
        end = -(-(await self._number(size, step.walks)) // _BLOCK_BYTES)
        await self._journal.write(self._id, next_block=position)
        while position < end:
            await self._yield()
            began, before = time.monotonic(), self.done
            try:
                await self._conn.execute(self._slice(step, position, end))
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                # A client holds a row and may want one of ours: ours were given back before the server must choose.
                await asyncio.sleep(_ROW_LOCK_MS / 1000)
            reached, self.done, pause = await self._journal.reached(self._id)
            self._adapt(reached - position, time.monotonic() - began)
            position = reached
            self._rows += self.done - before
            self.told(f"{step.name}: batch")
            if pause:
                raise Paused

    def _slice(self, step: Step, first: int, last: int) -> sql.Composed:
        """Return what walks from a block on for some time; the journal says how far it came, whatever ends it."""
        bounds = {"first": "$1", "last": "$2"}
        statements = [sql.SQL(_STATEMENT).format(statement=sql.Literal(one % bounds)) for one in step.sql]
        return sql.SQL(_SLICE).format(
            first=sql.Literal(first),
            last=sql.Literal(last),
            blocks=sql.Literal(self._blocks),
            most=sql.Literal(_MOST_BLOCKS),
            seconds=sql.Literal(self._seconds),
            batch_ms=sql.Literal(self._throttle.batch_ms),
            lock_ms=sql.Literal(str(_ROW_LOCK_MS)),
            statements=sql.SQL(" ").join(statements),
            journal=self._journal.table,
            operation=sql.Literal(self._id),
            rate=sql.Literal(self._rows / max(time.monotonic() - self._started, 0.001)),
            lag=sql.Literal(self._lag),
        )

    def _adapt(self, blocks: int, seconds: float) -> None:
        """Begin the next slice with batches of the size that this one has shown to take as long as they should."""
        fitting = blocks * self._throttle.batch_ms / 1000 / max(seconds, 0.0001)
        self._blocks = min(max(1.0, fitting), 2 * self._blocks, _MOST_BLOCKS)
        self._seconds = min(2 * self._seconds, _SLICE_SECONDS)

    async def _yield(self) -> None:
        """Wait while a bound is passed, looking about twice a second."""
        while time.monotonic() > self._looked + _LOOK_SECONDS or self._wal is None:
            reason = await self._passed()
            if not reason:
                return
            self.told(f"waiting: {reason}")
            await asyncio.sleep(_LOOK_SECONDS)
            if await self._journal.write(self._id, lag_seconds=self._lag):
                raise Paused

    async def _passed(self) -> str:
        """Say which bound is passed; empty when none is."""
        rows = await self._conn.execute(
            """
            SELECT /* online_batches.passed */
                pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
                coalesce((SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication), 0)::float8
            """
        )
        wal, self._lag = (await rows.fetchone()) or (0, 0.0)
        now, before = time.monotonic(), self._looked
        rate = (wal - self._wal) / max(now - before, 0.001) if self._wal is not None else 0.0
        self._wal, self._looked = wal, now
        throttle = self._throttle
        if self._lag > throttle.replica_lag_seconds:
            return f"a replica is {self._lag:.1f} s behind"
        if throttle.wal_bytes_per_second is not None and rate > throttle.wal_bytes_per_second:
            return f"{rate / 1e6:.1f} MB of WAL a second"
        if throttle.latency and throttle.latency_ms is not None:
            latency = await throttle.latency()
            if latency > throttle.latency_ms:
                return f"clients wait {latency:.0f} ms"
        return ""

    async def _number(self, query: str, *arguments: object) -> int:
        row = await (await self._conn.execute(query.encode(), list(arguments) or None)).fetchone()
        return int(row[0]) if row else 0
