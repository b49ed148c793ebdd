"""The two ends of a move: what is made there before, flipped in the middle, and removed behind it.

Each step finds what it has done already, so it can be repeated after whatever was killed.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import sql

from cloudlab.errors import Conflict, TimedOut, Unavailable
from cloudlab.postgres.wire import Connection
from cloudlab.schema import migrate
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.tenancy.move_tables import Shifts, Table
from cloudlab.tenancy.moves import Move

SLOT_PATIENCE_MS = 60_000
_BATCH_ROWS = 2000
_GONE = ("lost", "unreserved")


@dataclass(frozen=True, slots=True)
class Home:
    """A tenant as its shard knows it."""

    state: str
    epoch: int
    schema_name: str


async def home(conn: Connection, move: Move) -> Home | None:
    """Return what a shard knows of the tenant, None when nothing."""
    found = await conn.execute(
        """
        SELECT /* move_places.home */ t.state, t.epoch, t.schema_name FROM cloudlab.tenant_local AS t
        WHERE t.tenant_id = %s
        """,
        [move.tenant_id],
    )
    row = await found.fetchone()
    return Home(*row) if row else None


def slot_name(move: Move) -> str:
    """Return the name of the move's replication slot and publications."""
    return f"cloudlab_move_{move.move_id.hex}"


async def can_move(source: Connection, target: Connection) -> None:
    """Refuse what the servers' settings or the login's rights would break later.

    Raises:
        Conflict: `wal_level` is not logical, or the owner's login lacks a right; the hint says how to grant it.
    """
    found = await source.execute(
        """
        SELECT /* move_places.can_move */ current_setting('wal_level'), current_user::text,
               (SELECT r.rolreplication OR r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user)
        """
    )
    level, user, may_replicate = await found.fetchone() or ("", "", False)
    if level != "logical":
        raise Conflict(
            f"wal_level of the source is {level}, a move needs logical",
            hint="ALTER SYSTEM SET wal_level = 'logical', and restart the server.",
        )
    if not may_replicate:
        raise Conflict(f"{user} may not follow the log of the source", hint=f"ALTER ROLE {user} REPLICATION")
    found = await target.execute(
        """
        SELECT /* move_places.can_move */ has_parameter_privilege('session_replication_role', 'SET'), current_user::text
        """
    )
    may_set, user = await found.fetchone() or (False, "")
    if not may_set:
        raise Conflict(
            f"{user} may not write copies past the triggers of the target",
            hint=f"GRANT SET ON PARAMETER session_replication_role TO {user}",
        )


async def open_transfers(source: Connection, target: Connection, move: Move) -> None:
    """Note at both ends that the tenant is on its way: from now on no rebuild and no archiving begins there."""
    for conn, direction in ((source, "out"),) if move.changes_shard else ((source, "out"), (target, "in")):
        await conn.execute(
            """
            INSERT /* move_places.open_transfers */ INTO cloudlab.tenant_transfers (tenant_id, move_id, direction)
            VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [move.tenant_id, move.move_id, direction],
        )
    if move.changes_shard:
        found = await source.execute(
            """
            SELECT /* move_places.open_transfers */ coalesce(pg_sequence_last_value('cloudlab.event_position'), 0),
                   coalesce(min(e.event_position), 0), coalesce(max(e.event_position), 0)
            FROM (SELECT event_position FROM cloudlab.events WHERE event_position < 0
                  UNION ALL
                  SELECT event_position FROM cloudlab.events_archive WHERE event_position < 0) AS e
            """
        )
        await target.execute(
            "SELECT /* move_places.open_transfers */ cloudlab.begin_import(%s, %s, %s, %s, %s)",
            [move.tenant_id, move.move_id, *(await found.fetchone() or (0, 0, 0))],
        )


async def shifts(target: Connection, move: Move) -> Shifts:
    """Return what is added to the positions of the tenant's events on their way."""
    found = await target.execute(
        """
        SELECT /* move_places.shifts */ coalesce(t.native_shift, 0), coalesce(t.imported_shift, 0)
        FROM cloudlab.tenant_transfers AS t
        WHERE t.tenant_id = %s AND t.move_id = %s AND t.direction = 'in'
        """,
        [move.tenant_id, move.move_id],
    )
    return Shifts(*(await found.fetchone() or (0, 0)))


async def close_transfers(conn: Connection, move: Move) -> None:
    """Note that a shard has nothing to do with the move any more; the block of positions stays taken."""
    await conn.execute(
        """
        UPDATE /* move_places.close_transfers */ cloudlab.tenant_transfers SET state = 'closed'
        WHERE tenant_id = %s AND move_id = %s
        """,
        [move.tenant_id, move.move_id],
    )


async def make_room(target: Connection, url: str, move: Move) -> None:
    """Let the target expect the tenant: its row, its schema, in which it may not be entered yet."""
    if move.changes_shard:
        await target.execute(
            """
            INSERT /* move_places.make_room */ INTO cloudlab.tenant_local AS t
                (tenant_id, tenant_name, schema_name, state, epoch)
            VALUES (%(tenant)s, %(name)s, %(schema)s, 'importing', %(epoch)s)
            ON CONFLICT (tenant_id) DO UPDATE
            SET state = 'importing', epoch = excluded.epoch, schema_name = excluded.schema_name, moved_to = NULL,
                leaving_for = NULL
            WHERE t.state IN ('importing', 'moved')
            """,
            {
                "tenant": move.tenant_id,
                "name": move.tenant_name,
                "schema": move.target_schema,
                "epoch": move.epoch,
            },
        )
    if move.target_schema != SHOP_SCHEMA:
        await migrate.up(url, load_tree(Tree.TENANT), move.target_schema)


async def make_months(source: Connection, target: Connection) -> None:
    """Make the partitions that the tenant's events need at the target.

    Raises:
        Conflict: A month is archived there, or is on its way to the archive of the source.
    """
    found = await source.execute(
        "SELECT /* move_places.make_months */ m.month FROM cloudlab.event_archives AS m WHERE m.state = 'moving'"
    )
    if row := await found.fetchone():
        raise Conflict(
            f"{row[0]:%Y-%m} is on its way to the archive of the source",
            hint=f"Let that end first: cloudlab partition archive {row[0]:%Y-%m}",
        )
    found = await source.execute(
        """
        SELECT /* move_places.make_months */ DISTINCT date_trunc('month', e.created_at AT TIME ZONE 'UTC')::date
        FROM (SELECT created_at FROM cloudlab.events UNION ALL SELECT created_at FROM cloudlab.events_archive) AS e
        """
    )
    months: list[date] = [row[0] for row in await found.fetchall()]
    found = await target.execute(
        """
        SELECT /* move_places.make_months */ a.month FROM cloudlab.event_archives AS a WHERE a.month = ANY (%s) LIMIT 1
        """,
        [months],
    )
    if row := await found.fetchone():
        raise Conflict(
            f"the tenant has events of {row[0]:%Y-%m}, and that month is archived at the target",
            hint=f"cloudlab partition restore {row[0]:%Y-%m} --shard TARGET; archive it again after the move.",
        )
    for month in months:
        await target.execute(
            """
            SELECT /* move_places.make_months */ cloudlab.ensure_event_partitions(0, %s::timestamp AT TIME ZONE 'UTC')
            """,
            [month],
        )


async def publish_changes(source: Connection, move: Move, tables: Sequence[Table]) -> None:
    """Let the log of the source be followed: publications of the tenant's keys, and a slot that keeps the log.

    Cost: the slot waits for the writing transactions that are open on the server.

    Raises:
        TimedOut: One of them stayed open for a minute; the message names its process. Nothing is left behind.
    """
    found = await source.execute("SELECT /* move_places.publish */ p.pubname::text FROM pg_publication AS p")
    known = {row[0] for row in await found.fetchall()}
    for name, chosen, publish in (
        (slot_name(move), [t for t in tables if t.key_is_identity], "insert, update, delete"),
        (f"{slot_name(move)}_events", [t for t in tables if not t.key_is_identity], "insert"),
    ):
        if name not in known:
            await _publication(source, move, name, chosen, publish)
    found = await source.execute(
        "SELECT /* move_places.publish */ s.wal_status FROM pg_replication_slots AS s WHERE s.slot_name = %s",
        [slot_name(move)],
    )
    if not await found.fetchone():
        await _keep_log(source, move)


async def _keep_log(source: Connection, move: Move) -> None:
    writing = await source.execute(
        """
        SELECT /* move_places.writing */ array_agg(DISTINCT l.pid::text) FROM pg_locks AS l
        WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
        """
    )
    (pids,) = await writing.fetchone() or (None,)
    try:
        async with source.transaction():
            await source.execute(
                "SELECT /* move_places.publish */ set_config('statement_timeout', %s, true)", [str(SLOT_PATIENCE_MS)]
            )
            await source.execute(
                "SELECT /* move_places.publish */ pg_create_logical_replication_slot(%s, 'pgoutput')", [slot_name(move)]
            )
    except psycopg.errors.QueryCanceled:
        raise TimedOut(
            f"a transaction of the source has been writing for {SLOT_PATIENCE_MS / 1000:g} s; one of the processes "
            f"{', '.join(pids or ['gone since'])}",
            hint="End it, or wait for its end; then give the same command again.",
        ) from None


async def _publication(source: Connection, move: Move, name: str, tables: Sequence[Table], publish: str) -> None:
    entries = [
        sql.SQL("{} ({}) WHERE (tenant_id = {})").format(
            sql.Identifier(table.schema, table.name),
            sql.SQL(", ").join([sql.Identifier("tenant_id"), *(sql.Identifier(c.name) for c in table.key)]),
            sql.Literal(str(move.tenant_id)),
        )
        for table in tables
    ]
    what = sql.SQL("FOR TABLE {}").format(sql.SQL(", ").join(entries)) if entries else sql.SQL("")
    await source.execute(
        sql.SQL("CREATE PUBLICATION {} {} WITH (publish = {}, publish_via_partition_root = true)").format(
            sql.Identifier(name), what, sql.Literal(publish)
        )
    )


async def has_slot(source: Connection, move: Move) -> bool:
    """Say whether the slot is there and has lost nothing."""
    found = await source.execute(
        "SELECT /* move_places.has_slot */ s.wal_status FROM pg_replication_slots AS s WHERE s.slot_name = %s",
        [slot_name(move)],
    )
    row = await found.fetchone()
    return row is not None and row[0] not in _GONE


async def lag_bytes(source: Connection, move: Move) -> int:
    """Return how much of the source's log is not confirmed yet."""
    found = await source.execute(
        """
        SELECT /* move_places.lag */ pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint
        FROM pg_replication_slots AS s WHERE s.slot_name = %s
        """,
        [slot_name(move)],
    )
    row = await found.fetchone()
    return int(row[0] or 0) if row else 0


async def drop_replication(source: Connection, move: Move) -> None:
    """Drop the slot and the publications, whoever still follows them.

    Raises:
        Unavailable: Somebody goes on following the slot.
    """
    for _ in range(100):
        found = await source.execute(
            """
            SELECT /* move_places.drop */ pg_terminate_backend(s.active_pid) FROM pg_replication_slots AS s
            WHERE s.slot_name = %s AND s.active_pid IS NOT NULL
            """,
            [slot_name(move)],
        )
        if await found.fetchone() is None:
            break
        await asyncio.sleep(0.05)
    try:
        await source.execute(
            """
            SELECT /* move_places.drop */ pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots AS s
            WHERE s.slot_name = %s
            """,
            [slot_name(move)],
        )
    except psycopg.errors.ObjectInUse as error:
        raise Unavailable(f"the slot {slot_name(move)} is still in use") from error
    for name in (slot_name(move), f"{slot_name(move)}_events"):
        await source.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))


async def purge(conn: Connection, schema: str, tables: Sequence[Table], *, drop_schema: bool) -> int:
    """Delete the tenant's rows of these tables in bounded batches, or drop its schema; return how many were deleted.

    The connection sees that tenant only, and fires no trigger.
    """
    deleted = 0
    for table in tables:
        if not (drop_schema and not table.is_platform):
            deleted += await _delete(conn, table, table.target(schema))
    if drop_schema and schema != SHOP_SCHEMA:
        await conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    return deleted


async def refuse_foreign_schema(conn: Connection, move: Move, schema: str) -> None:
    """Refuse to touch a schema of its own that another tenant has."""
    found = await conn.execute(
        """
        SELECT /* move_places.refuse_foreign_schema */ t.tenant_name FROM cloudlab.tenant_local AS t
        WHERE t.schema_name = %s AND t.schema_name <> %s AND t.tenant_id <> %s
        """,
        [schema, SHOP_SCHEMA, move.tenant_id],
    )
    if row := await found.fetchone():
        raise Conflict(f"schema {schema} belongs to tenant {row[0]}", hint="Rename one of the two tenants first.")


async def _delete(conn: Connection, table: Table, name: sql.Identifier) -> int:
    mine = sql.SQL("tenant_id = (SELECT cloudlab.moving_tenant())")
    keys = sql.SQL(", ").join([sql.Identifier("tenant_id"), *(sql.Identifier(column.name) for column in table.key)])
    batch = sql.SQL(
        "DELETE /* move_places.purge */ FROM {0} WHERE ({1}) IN (SELECT {1} FROM {0} WHERE {2} LIMIT {3}) AND {2}"
    ).format(name, keys, mine, sql.Literal(_BATCH_ROWS))
    deleted = 0
    while count := (await conn.execute(batch)).rowcount:
        deleted += count
    return deleted


async def purge_archive(conn: Connection) -> None:
    """Delete the tenant's events from the archive, and what they were in the months' fingerprints."""
    found = await conn.execute(
        "SELECT /* move_places.purge_archive */ a.month FROM cloudlab.event_archives AS a ORDER BY a.month"
    )
    for (month,) in await found.fetchall():
        async with conn.transaction():
            # The owner sees this tenant's events only, so this is its share.
            await conn.execute(
                """
                UPDATE /* move_places.purge_archive */ cloudlab.event_archives AS a
                SET event_count = a.event_count - f.event_count, event_hash = a.event_hash - f.event_hash
                FROM cloudlab.month_fingerprint(%(month)s) AS f WHERE a.month = %(month)s
                """,
                {"month": month},
            )
            await conn.execute(
                """
                DELETE /* move_places.purge_archive */ FROM cloudlab.events_archive
                WHERE tenant_id = (SELECT cloudlab.moving_tenant())
                  AND created_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
                  AND created_at < (%(month)s::date + interval '1 month') AT TIME ZONE 'UTC'
                """,
                {"month": month},
            )
