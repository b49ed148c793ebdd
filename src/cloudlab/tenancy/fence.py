"""The fence: for a moment nobody works in one tenant, and all others go on.

Every session takes a shared advisory lock on its tenant (`cloudlab.enter_tenant`); the mover takes it exclusively. A
queued exclusive lock stops whoever comes after it, so it is asked for in moments and given up again. The sessions stand
still first; then the projections apply what is left, for they hold a lock of their own (`enter_read_model`), and stop.

The fence is a lock of a connection: when the mover dies it is gone, and everybody goes on where they were.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg

from cloudlab.errors import Conflict, TimedOut
from cloudlab.postgres.wire import Connection, command, exchange
from cloudlab.tenancy.move_log import MARK

SESSIONS, READERS = 20541, 20544
_END = 2**63 - 1
_FIRST_SECONDS, _LONGEST_SECONDS, _GROWTH = 0.02, 0.15, 1.5
_QUEUE_SECONDS = 0.05
_LONG_SECONDS = 0.1
_POLL_SECONDS = 0.001
_REMEDIES = {
    "paused": "`cloudlab projection resume` lets it go on.",
    "parked": "`cloudlab projection park` shows its parked events and tries them again.",
    "rebuilding": "Wait for its rebuild to end.",
    "behind": "Is a worker running? `cloudlab projection status` shows how far it is.",
}


@dataclass(frozen=True, slots=True)
class Holding:
    """A fence that stands; `since` is the moment from which writers have waited, as time.monotonic counts."""

    connection: Connection
    since: float


async def refuse_unready(source: Connection, tenant_id: UUID) -> None:
    """Refuse while a reader of the source cannot come to the end of a tenant's events, whatever is waited for.

    Raises:
        Conflict: A projection is paused or rebuilding, or has parked events of the tenant.
    """
    for name, reason in await readers_in_the_way(source, tenant_id):
        if reason != "behind":
            raise Conflict(f"projection {name} holds up the move: it is {reason}", hint=_REMEDIES[reason])


async def readers_in_the_way(
    source: Connection, tenant_id: UUID, upto: int = _END, *, external: bool = False
) -> list[tuple[str, str]]:
    """Return the projections that have not applied a tenant's events up to a position, and why. One round trip.

    Those that write elsewhere (`external`) may come later: the source goes on telling them what happened there.
    """
    found = await source.execute(
        """
        SELECT /* fence.readers */ r.projection_name, r.reason FROM cloudlab.readers_in_the_way(%s, %s) AS r
        WHERE r.reason <> 'behind' OR NOT r.is_external OR %s
        """,
        [tenant_id, upto, external],
    )
    return [(str(name), str(reason)) for name, reason in await found.fetchall()]


def patience(attempt: int) -> float:
    """Return for how many seconds an attempt may keep writers waiting for readers: the first ones for moments only."""
    return min(_FIRST_SECONDS * _GROWTH**attempt, _LONGEST_SECONDS)


async def _last(source: Connection) -> int:
    found = await source.execute(
        "SELECT /* fence.last */ coalesce(pg_sequence_last_value('cloudlab.event_position'), 0)"
    )
    (last,) = await found.fetchone() or (0,)
    return last


async def readers_are_near(source: Connection, tenant_id: UUID, deadline: float, within: float) -> None:
    """Wait until the projections of the source apply what happens now within moments. Errors as `wait_for_readers`."""
    while True:
        last, since = await _last(source), time.monotonic()
        await wait_for_readers(source, tenant_id, max(_LONGEST_SECONDS, deadline - since), upto=last, external=True)
        since = time.monotonic()
        await wait_for_readers(source, tenant_id, max(_LONGEST_SECONDS, deadline - since), upto=await _last(source))
        if time.monotonic() - since < within or since > deadline:
            return
        await asyncio.sleep(random.uniform(0, within))  # noqa: S311  jitter, not a secret
        within *= _GROWTH


async def wait_for_readers(
    source: Connection, tenant_id: UUID, seconds: float, *, upto: int = _END, external: bool = False
) -> None:
    """Wait until every projection has applied the events of a tenant, up to a position.

    Raises:
        Conflict: As `refuse_unready`.
        TimedOut: One is still behind; the message names it.
    """
    deadline, rung = time.monotonic() + seconds, False
    while left := await readers_in_the_way(source, tenant_id, upto, external=external):
        name, reason = left[0]
        if reason != "behind":
            raise Conflict(f"projection {name} holds up the move: it is {reason}", hint=_REMEDIES[reason])
        if time.monotonic() > deadline:
            raise TimedOut(f"projection {name} has not applied all events of the tenant", hint=_REMEDIES["behind"])
        if not rung:
            await source.execute("SELECT /* fence.wait_for_readers */ pg_notify('cloudlab_feed', '')")
            rung = True
        await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def fenced(
    source: Connection,
    watcher: Connection,
    tenant_id: UUID,
    deadline: float,
    meanwhile: Callable[[], AbstractAsyncContextManager[None]],
    *,
    catch_up: float | None,
    mark: str,
) -> AsyncGenerator[Holding]:
    """Hold a tenant still while the block runs.

    Args:
        source: The connection that holds the locks; it must be idle.
        watcher: Another one, which looks at the readers meanwhile.
        tenant_id: Whom to hold.
        deadline: When to give up, as time.monotonic counts.
        meanwhile: What to do beside the waiting.
        catch_up: For how many seconds to wait for the readers of this shard to have applied everything; None: not.
        mark: What to write into the log once nobody works in the tenant any more; it travels with the last lock.

    Raises:
        TimedOut: The lock was not to be had, or a reader did not come to the end in time; nobody waits any more.
    """
    try:
        async with meanwhile():
            since = await _stop_sessions(source, tenant_id, deadline)
            if catch_up is not None:
                await wait_for_readers(watcher, tenant_id, catch_up)
            if not await _stop_readers(source, tenant_id, mark):
                raise TimedOut("a projection is still at work in the tenant")
        yield Holding(source, since)
    finally:
        if not source.closed:
            await source.execute("SELECT /* fence.release */ pg_advisory_unlock_all()")


async def _stop_sessions(source: Connection, tenant_id: UUID, deadline: float) -> float:
    """Take the lock of the sessions; return since when others may have waited for us."""
    await source.execute(
        "SELECT /* fence.stop */ set_config('lock_timeout', %s, false)", [str(round(_QUEUE_SECONDS * 1000))]
    )
    while True:
        while holder := await _long_holder(source, tenant_id):
            _give_up(deadline, f"a session of the tenant is open since {holder:.1f} s")
            await asyncio.sleep(random.uniform(0.01, 0.05))  # noqa: S311  jitter, not a secret
        since = time.monotonic()
        if await _lock(source, SESSIONS, tenant_id):
            return since
        _give_up(deadline, "the sessions of the tenant leave no moment in which none is open")
        await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311  jitter, not a secret


def _give_up(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise TimedOut(f"the tenant could not be fenced: {why}")


async def _lock(source: Connection, lock: int, tenant_id: UUID) -> bool:
    try:
        await source.execute("SELECT /* fence.lock */ pg_advisory_lock(%s, hashtext(%s))", [lock, str(tenant_id)])
    except psycopg.errors.LockNotAvailable:
        return False
    return True


async def _stop_readers(source: Connection, tenant_id: UUID, mark: str) -> bool:
    """Take the lock of the readers, and tell whoever follows the log that this was the last of the tenant."""
    lock = "SELECT /* fence.lock */ pg_advisory_lock(%(lock)s::integer, hashtext(%(tenant_id)s::text))"
    last = "SELECT /* fence.mark */ pg_logical_emit_message(true, %(prefix)s::text, %(mark)s::text)"
    commands = [
        command(source, lock, {"lock": READERS, "tenant_id": tenant_id}),
        command(source, last, {"prefix": MARK, "mark": mark}),
    ]
    try:
        await exchange(source, commands)
    except psycopg.errors.LockNotAvailable:
        return False
    return True


async def _long_holder(source: Connection, tenant_id: UUID) -> float | None:
    """Return for how many seconds the oldest session of the tenant is open, when that is long."""
    found = await source.execute(
        """
        SELECT /* fence.long_holder */ extract(epoch FROM clock_timestamp() - min(a.xact_start))::float8
        FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = %s::integer::bigint::oid AND l.granted
          AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid AND l.pid <> pg_backend_pid()
          AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        """,
        [SESSIONS, str(tenant_id)],
    )
    (age,) = await found.fetchone() or (None,)
    return age if age is not None and age > _LONG_SECONDS else None
