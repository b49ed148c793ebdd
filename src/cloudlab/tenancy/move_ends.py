"""The connections of a move, the chase of a copy after its original, and the flip.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import LiteralString, Self
from uuid import uuid4

import psycopg
from psycopg import sql

from cloudlab.errors import Conflict, InvariantBroken, TimedOut
from cloudlab.postgres.wire import Command, Connection, command, exchange
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.tenancy import fence, move_places
from cloudlab.tenancy.move_log import ChangeLog, Key
from cloudlab.tenancy.move_rows import Applier, Route, compare_keys, connect, sees_all, write_mark
from cloudlab.tenancy.move_tables import Table, discover
from cloudlab.tenancy.moves import Move

log = logging.getLogger(__name__)

Suspects = Mapping[Table, set[Key]]
_STATES = ("open", "suspended")
_HAND_OVER_SECONDS = 10.0
_PAUSE_SECONDS = 0.002
_OPEN: LiteralString = """
    SELECT /* move_ends.open */ cloudlab.open_tenant(
        %(tenant_id)s::uuid, %(epoch)s::integer, %(state)s::text, %(last)s::bigint)
    """


class Ends:
    """Connections of the owner to both ends of a move, each of which sees the rows of its tenant only."""

    source: Connection
    target: Connection

    def __init__(self, source_url: str, target_url: str, move: Move) -> None:
        self._source_url = source_url
        self._target_url = target_url
        self.move = move

    async def __aenter__(self) -> Self:
        self.source = await self.another_source()
        try:
            self.target = await self.another_target()
        except BaseException:
            await self.source.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.close()
        await self.target.close()

    async def another_source(self) -> Connection:
        """Open one more connection to the source."""
        return await connect(self._source_url, self.move.tenant_id)

    async def another_target(self) -> Connection:
        """Open one more connection to the target, in which no trigger fires."""
        return await connect(self._target_url, self.move.tenant_id, writes_copies=True)

    async def tables(self) -> list[Table]:
        """Return the tables that move."""
        return await discover(self.source, self.move.source_schema, platform=self.move.changes_shard)

    async def target_tables(self) -> list[Table]:
        """Return the tables of the target that they go to."""
        return await discover(self.target, self.move.target_schema, platform=self.move.changes_shard)

    async def route(self) -> Route:
        """Return from where to where the rows go."""
        shifts = await move_places.shifts(self.target, self.move)
        return Route(self.move.tenant_id, self.move.move_id, self.move.target_schema, shifts)

    async def clear_target(self) -> None:
        """Delete what the target has of the tenant: an earlier stay, or a copy that is not wanted any more.

        Raises:
            Conflict: The tenant is served there.
        """
        local, move = await move_places.home(self.target, self.move), self.move
        if local and local.state in _STATES and (move.changes_shard or local.schema_name == move.target_schema):
            raise Conflict(f"tenant {move.tenant_name} is served by {move.target} already")
        await self._clear(self.target, move.target_schema)
        if move.changes_shard:
            await self.target.execute(
                """
                DELETE /* move_ends.clear_target */ FROM cloudlab.tenant_local
                WHERE tenant_id = %s AND state = 'importing'
                """,
                [move.tenant_id],
            )

    async def _clear(self, conn: Connection, schema: str) -> int:
        await move_places.refuse_foreign_schema(conn, self.move, schema)
        tables = await discover(conn, schema, platform=self.move.changes_shard)
        if self.move.changes_shard:
            await move_places.purge_archive(conn)
        return await move_places.purge(conn, schema, tables, drop_schema=schema != SHOP_SCHEMA)


async def clear_source(url: str, move: Move) -> int:
    """Delete at the source what was moved away, unless the tenant is back there; return how many rows."""
    ends = Ends(url, url, move)
    async with await ends.another_target() as conn:
        local = await move_places.home(conn, move)
        is_back = local is not None and (
            local.state != "moved" if move.changes_shard else local.schema_name == move.source_schema
        )
        return 0 if is_back else await ends._clear(conn, move.source_schema)  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True, slots=True)
class Chase:
    """A copy that runs after its original."""

    ends: Ends
    route: Route
    tables: Sequence[Table]
    log: ChangeLog
    applier: Applier

    async def to_mark(self, seconds: float) -> None:
        """Wait until the log has told every commit before now. TimeoutError when it has not in so many seconds."""
        mark = uuid4().hex
        passed = self.log.expect(mark)
        await write_mark(self.ends.source, mark)
        await self.log.passed(passed, seconds)

    async def apply(self) -> int:
        """Bring the copy up to date with what the log has told so far; return how many keys that were."""
        taken = self.log.take()
        if not taken.changed and not taken.xids:
            self.log.confirm(taken.place)
            return 0
        try:
            snapshot = await self.applier.apply(self.ends.source, self.ends.target, taken.changed)
        except psycopg.errors.UniqueViolation:
            # A row was read that took over what another had; that it gave it up will be told.
            self.log.give_back(taken)
            await self.to_mark(10.0)
            return await self.apply()
        except BaseException:
            self.log.give_back(taken)
            raise
        if sees_all(snapshot, taken.xids):
            self.log.confirm(taken.place)
        else:
            self.log.give_back(taken)
        return sum(map(len, taken.changed.values()))

    async def apply_up_to(self, passed: asyncio.Event, seconds: float) -> None:
        """Apply everything that the log tells before a mark. TimeoutError when it takes longer than so many seconds."""
        await self.log.passed(passed, seconds)
        async with asyncio.timeout(seconds):
            await self.apply()
            while not self.log.is_empty:
                await self.apply()

    async def complete(self, passed: asyncio.Event, seconds: float, suspects: Suspects) -> None:
        """Bring over the very last changes, those before a mark.

        Raises:
            InvariantBroken: A row that was changing while it was compared differs still.
            TimeoutError: It takes longer than so many seconds.
        """
        await self.apply_up_to(passed, seconds)
        if differing := await self.still_differ(suspects):
            where = ", ".join(sorted(table.name for table in differing))
            name = self.ends.move.tenant_name
            raise InvariantBroken(f"source and target of {name} differ in {where}; nothing was flipped")

    @asynccontextmanager
    async def keeping_up(self) -> AsyncGenerator[None]:
        """Apply what changes all the while the block runs, so that little is left at its end."""
        ended = asyncio.Event()

        async def keep() -> None:
            while not ended.is_set():
                await self.apply()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_SECONDS):
                        await ended.wait()

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            ended.set()
            await asyncio.wait([keeping])
        keeping.result()

    async def still_differ(self, suspects: Suspects) -> dict[Table, set[Key]]:
        """Return those of the suspects that differ now."""
        found = {
            table: await compare_keys(self.ends.source, self.ends.target, self.route, table, keys)
            for table, keys in suspects.items()
        }
        return {table: keys for table, keys in found.items() if keys}


async def measure(ends: Ends, tables: Sequence[Table]) -> tuple[int, int]:
    """Count the tenant's rows and their bytes. Cost: reads all of them."""
    rows = size = 0
    for table in tables:
        found = await ends.source.execute(
            sql.SQL(
                "SELECT /* move_ends.measure */ count(*), coalesce(sum(pg_column_size(t)), 0)::bigint FROM {}"
                " WHERE t.tenant_id = {}"
            ).format(table.source(), sql.Literal(str(ends.move.tenant_id)))
        )
        counted, bytes_ = await found.fetchone() or (0, 0)
        rows, size = rows + counted, size + bytes_
    return rows, size


async def flip(holder: Connection, move: Move) -> tuple[str, int]:
    """Let the source say that the tenant lives elsewhere: the point of no return. One round trip, one commit.

    Returns:
        The state that the tenant has, and the last position of the source's events.

    Raises:
        TimedOut: A worker of the shard had a saga of the tenant locked for too long; nothing was changed.
        psycopg.Error: CL500, the source does not serve the tenant at the epoch before.
    """
    try:
        *_, found, _ = await exchange(holder, [Command(b"BEGIN"), *_flipping(holder, move), Command(b"COMMIT")])
    except psycopg.Error as error:
        if not holder.closed:
            await exchange(holder, [Command(b"ROLLBACK")])
        if isinstance(error, psycopg.errors.LockNotAvailable):
            raise TimedOut("a worker holds a saga of the tenant") from error
        raise
    ((state, last),) = found.tuples()
    return state, last


def _flipping(holder: Connection, move: Move) -> list[Command]:
    flipping = """
        SELECT /* move_ends.flip */ f.state, f.last_position FROM cloudlab.flip_tenant(
            %(tenant_id)s::uuid, %(move_id)s::uuid, %(epoch)s::integer, %(target)s::text, %(schema)s::text,
            %(leaves)s::boolean) AS f
        """
    params = {
        "tenant_id": move.tenant_id,
        "move_id": move.move_id,
        "epoch": move.epoch,
        "target": move.target,
        "schema": move.target_schema,
        "leaves": move.changes_shard,
    }
    retiring = "SELECT /* move_ends.flip */ cloudlab.retire_sagas(%(tenant_id)s::uuid)"
    retired = [command(holder, retiring, {"tenant_id": move.tenant_id})] if move.changes_shard else []
    return [*retired, command(holder, flipping, params)]


async def announce(source: Connection, move: Move, *, leaving: bool) -> None:
    """Let the source tell the tenant's clients that it is about to move, so that they get ready; or no more."""
    await source.execute(
        "UPDATE /* move_ends.announce */ cloudlab.tenant_local SET leaving_for = %s WHERE tenant_id = %s",
        [f"{move.target} {move.target_schema}" if leaving else None, move.tenant_id],
    )


async def rehearse(holder: Connection, target: Connection, move: Move) -> None:
    """Flip and open and take it back, so that in the fence nobody waits for functions to be read and planned.

    Sagas are at work meanwhile: a lock that is not to be had within moments ends the rehearsal, not the move.
    """
    brief = Command(b"SELECT /* move_ends.rehearse */ set_config('lock_timeout', '50ms', true)")
    try:
        await exchange(holder, [Command(b"BEGIN"), brief, *_flipping(holder, move), Command(b"ROLLBACK")])
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("flip not rehearsed", extra={"tenant": move.tenant_name, "error": repr(error)})
        await exchange(holder, [Command(b"ROLLBACK")])
    if move.changes_shard:
        opening = command(target, _OPEN, _opened(move, "open", 0))
        free = Command(b"SELECT /* move_ends.rehearse */ pg_advisory_unlock_all()")
        await exchange(target, [Command(b"BEGIN"), opening, Command(b"ROLLBACK"), free])


async def last_words(source: Connection, move: Move) -> tuple[str, int]:
    """Return what the source said when it flipped: the tenant's state, and the last position of its events."""
    found = await source.execute(
        """
        SELECT /* move_ends.last_words */ t.progress ->> 'state', (t.progress ->> 'last_position')::bigint
        FROM cloudlab.tenant_transfers AS t WHERE t.tenant_id = %s AND t.move_id = %s AND t.direction = 'out'
        """,
        [move.tenant_id, move.move_id],
    )
    state, last = await found.fetchone() or (None, None)
    return state or "open", last or 0


async def open_target(target: Connection, move: Move, state: str, last_position: int) -> None:
    """Let the target serve the tenant, its events going on above those of the source. May be repeated.

    The target's readers do not see its new events yet: `hand_over` lets them, or the end of the connection.
    """
    if not move.changes_shard:
        return
    await exchange(target, [command(target, _OPEN, _opened(move, state, last_position))])


def _opened(move: Move, state: str, last_position: int) -> dict[str, object]:
    return {"tenant_id": move.tenant_id, "epoch": move.epoch, "state": state, "last": last_position}


async def hand_over(ends: Ends, move: Move) -> None:
    """Let the readers of the target go on, once those of the source that write elsewhere have come to the end.

    So they too hear of every event of a stream in order. A reader that does not come to the end is not waited for for
    long: it keeps what is newest by version, and everybody else must go on.
    """
    if not move.changes_shard:
        return
    try:
        await fence.wait_for_readers(ends.source, move.tenant_id, _HAND_OVER_SECONDS, external=True)
    except (Conflict, TimedOut) as error:
        log.warning("readers of the source come later", extra={"tenant": move.tenant_name, "error": repr(error)})
    await ends.target.execute("SELECT /* move_ends.hand_over */ pg_advisory_unlock_all()")
    await ends.target.execute(
        "SELECT /* move_ends.hand_over */ pg_notify('cloudlab_feed', ''), pg_notify('cloudlab_sagas', '')"
    )
