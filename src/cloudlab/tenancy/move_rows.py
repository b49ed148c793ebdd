"""The rows of a tenant on their way: copied in chunks, brought up to date by key, compared on both sides.

A chunk and the note of how far the copying has come are one transaction of the target, so nothing is copied twice,
whatever is killed. Rows that have changed are read where they are now and put in the place of what was there; the text
that arrives is compared with the text that was sent.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cloudlab.errors import InvariantBroken
from cloudlab.postgres.pool import secure
from cloudlab.postgres.wire import Command, Connection, exchange
from cloudlab.tenancy.move_log import MARK, Key
from cloudlab.tenancy.move_tables import Shifts, Table

_KEYS_AT_ONCE = 1000
_XIDS = 2**32 - 1
_SNAPSHOT = b"SELECT /* move_rows.apply */ pg_current_snapshot()::text"
_SETTINGS = (
    "-c synchronous_commit=on -c TimeZone=UTC -c datestyle=ISO -c client_connection_check_interval=1s"
    " -c statement_timeout=0"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a move works: tables copied side by side, rows a chunk, and the rest after it as a share of its time."""

    workers: int
    chunk_rows: int
    rest: float


FULL_SPEED = Pace(workers=2, chunk_rows=20_000, rest=0.0)
GENTLE = Pace(workers=1, chunk_rows=5_000, rest=1.0)  # half of the time the shards belong to their clients alone


async def connect(url: str, tenant_id: UUID, *, writes_copies: bool = False) -> Connection:
    """Open a connection of the owner that sees the rows of one tenant; with `writes_copies` no trigger fires in it.

    Raises:
        psycopg.OperationalError: The server cannot be reached.
        psycopg.errors.InsufficientPrivilege: The login may not set session_replication_role.
    """
    options = f"{_SETTINGS} -c app.moving_tenant_id={tenant_id}"
    connection = await Connection.connect(secure(url), autocommit=True, prepare_threshold=None, options=options)
    if writes_copies:
        await connection.execute("SET session_replication_role = 'replica'")
    return connection


async def write_mark(source: Connection, mark: str) -> None:
    """Write a mark into the log of the source: whoever follows it has seen all commits before. Cost: one commit."""
    await source.execute("SELECT /* move_rows.write_mark */ pg_logical_emit_message(true, %s, %s)", [MARK, mark])


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where the rows of one tenant go, and under which positions its events arrive."""

    tenant_id: UUID
    move_id: UUID
    target_schema: str
    shifts: Shifts

    def range_of(self, table: Table, above: Key | None, upto: Key | None) -> sql.Composed:
        """Return the condition for the tenant's rows of a table whose keys are in a range."""
        parts: list[sql.Composable] = [sql.SQL("t.tenant_id = {}::uuid").format(sql.Literal(str(self.tenant_id)))]
        for key, sign in ((above, ">"), (upto, "<=")):
            if key is not None:
                parts.append(
                    sql.SQL("({}) {} ({})").format(table.key_names, sql.SQL(cast(Any, sign)), _literal(table, key))
                )
        return sql.SQL(" AND ").join(parts)


def _literal(table: Table, key: Key) -> sql.Composed:
    values = (
        sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(cast(Any, column.type_name)))
        for text, column in zip(key, table.key, strict=True)
    )
    return sql.SQL(", ").join(values)


async def next_key(source: Connection, route: Route, table: Table, above: Key | None, rows: int) -> Key | None:
    """Return the last key of a chunk of so many rows, None when fewer are left. Cost: reads the index of a chunk."""
    if not table.key:
        return None
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.key)
    found = await source.execute(
        sql.SQL("SELECT /* move_rows.next_key */ {} FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1").format(
            texts, table.source(), route.range_of(table, above, None), table.key_names, sql.Literal(rows - 1)
        )
    )
    row = await found.fetchone()
    return tuple(row) if row else None


async def copy_chunk(
    source: Connection, target: Connection, route: Route, table: Table, above: Key | None, upto: Key | None
) -> int:
    """Copy the rows of a range, binary, from one server to the other; return how many. Runs in the caller's block."""
    out = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT binary)").format(
        table.read(route.shifts, written_only=True), table.source(), route.range_of(table, above, upto)
    )
    there = table.target(route.target_schema)
    # COPY does not write to tables with row-level security; INSERT does, under its policies.
    await target.execute(
        sql.SQL("CREATE TEMPORARY TABLE staged ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            table.written, there
        )
    )
    into = sql.SQL("COPY pg_temp.staged ({}) FROM STDIN (FORMAT binary)").format(table.written)
    async with source.cursor().copy(out) as rows, target.cursor().copy(into) as written:
        async for data in rows:
            await written.write(data)
    inserted = await target.execute(
        sql.SQL(
            "INSERT /* move_rows.copy_chunk */ INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM pg_temp.staged"
        ).format(there, table.written)
    )
    return inserted.rowcount


@dataclass(frozen=True, slots=True)
class Difference:
    """What a comparison found: how many rows were compared, and the keys of those that differ."""

    rows: int
    keys: set[Key]


async def compare_range(
    source: Connection, target: Connection, route: Route, table: Table, above: Key | None, upto: Key | None
) -> Difference:
    """Compare the rows of a range on both sides by their hashes, one by one only where the sums differ."""
    ours, theirs = await asyncio.gather(
        source.execute(_sum(table.read(route.shifts), table.source(), route.range_of(table, above, upto))),
        target.execute(
            _sum(
                table.read(Shifts(0, 0)),
                sql.SQL("{} AS t").format(table.target(route.target_schema)),
                route.range_of(table, above, upto),
            )
        ),
    )
    sums = [await ours.fetchone(), await theirs.fetchone()]
    rows = int(sums[0][0]) if sums[0] else 0
    if sums[0] == sums[1] or not table.key:
        return Difference(rows, set() if sums[0] == sums[1] else {()})
    each = [
        await _hashes(source, table, table.read(route.shifts), table.source(), route.range_of(table, above, upto)),
        await _hashes(
            target,
            table,
            table.read(Shifts(0, 0)),
            sql.SQL("{} AS t").format(table.target(route.target_schema)),
            route.range_of(table, above, upto),
        ),
    ]
    return Difference(rows, {key for key in each[0].keys() | each[1].keys() if each[0].get(key) != each[1].get(key)})


async def compare_keys(source: Connection, target: Connection, route: Route, table: Table, keys: set[Key]) -> set[Key]:
    """Return those of some keys whose rows differ."""
    differ: set[Key] = set()
    for part in _parts(sorted(keys), _KEYS_AT_ONCE):
        if not table.key:
            return (await compare_range(source, target, route, table, None, None)).keys
        chosen = sql.SQL("t.tenant_id = {}::uuid AND ({}) IN ({})").format(
            sql.Literal(str(route.tenant_id)),
            table.key_names,
            sql.SQL(", ").join(sql.SQL("({})").format(_literal(table, key)) for key in part),
        )
        there = sql.SQL("{} AS t").format(table.target(route.target_schema))
        ours = await _hashes(source, table, table.read(route.shifts), table.source(), chosen)
        theirs = await _hashes(target, table, table.read(Shifts(0, 0)), there, chosen)
        differ |= {key for key in part if ours.get(key) != theirs.get(key)}
    return differ


def _sum(columns: sql.Composable, where: sql.Composable, condition: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "SELECT /* move_rows.compare */ count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)"
        " FROM {} WHERE {}"
    ).format(columns, where, condition)


async def _hashes(
    conn: Connection, table: Table, columns: sql.Composable, where: sql.Composable, condition: sql.Composable
) -> dict[Key, int]:
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.key)
    found = await conn.execute(
        sql.SQL("SELECT /* move_rows.compare */ hashtextextended(ROW({})::text, 0), {} FROM {} WHERE {}").format(
            columns, texts, where, condition
        )
    )
    return {tuple(row[1:]): row[0] for row in await found.fetchall()}


class Applier:
    """Brings rows of the target up to date, by keys; knows the statements of every table."""

    def __init__(self, route: Route, tables: Sequence[Table]) -> None:
        self._tenant = str(route.tenant_id).encode()
        self._statements = {table: _statements(route, table) for table in tables}

    async def warm(self, source: Connection, target: Connection) -> None:
        """Prepare every statement on both sides, so that the fence need not wait for that."""
        for table in self._statements:
            read, delete, insert = self._statements[table]
            nothing = (self._tenant, *[b"{}"] * len(table.key))
            await exchange(source, [Command(read, nothing)])
            await exchange(target, [Command(delete, nothing), Command(insert, (b"{}",))])

    async def apply(self, source: Connection, target: Connection, changed: dict[Table, set[Key]]) -> str:
        """Put the present rows of these keys in the place of what the target has; return the snapshot of the reading.

        Raises:
            psycopg.errors.UniqueViolation: A row is in the way that has changed too and is not among these.
            InvariantBroken: The target shows another text than the one that was sent.

        Cost: one round trip to each side, for a thousand keys a table.
        """
        parts = [(table, part) for table, keys in changed.items() for part in _parts(sorted(keys), _KEYS_AT_ONCE)]
        keys = [(self._tenant, *_arrays(part, len(table.key))) for table, part in parts]
        seen, *found = await exchange(
            source,
            [
                Command(_SNAPSHOT),
                *(Command(self._statements[t][0], key) for (t, _), key in zip(parts, keys, strict=True)),
            ],
        )
        ((snapshot,),) = seen.tuples()
        if not parts:
            return snapshot
        sent = [[row[0] for row in result.tuples()] for result in found]
        # All deletions first: a row may have taken over what was unique to another.
        deletes = [Command(self._statements[t][1], key) for (t, _), key in zip(parts, keys, strict=True)]
        inserts = [
            Command(self._statements[t][2], (_array(rows).encode(),)) for (t, _), rows in zip(parts, sent, strict=True)
        ]
        try:
            results = await exchange(target, [Command(b"BEGIN"), *deletes, *inserts, Command(b"COMMIT")])
        except psycopg.Error:
            if not target.closed:
                await exchange(target, [Command(b"ROLLBACK")])
            raise
        for (table, _), rows, result in zip(parts, sent, results[1 + len(deletes) : -1], strict=True):
            if sorted(row[0] for row in result.tuples()) != sorted(rows):
                raise InvariantBroken(f"rows of {table.name} have arrived other than they were sent")
        return snapshot


def sees_all(snapshot: str, xids: Iterable[int]) -> bool:
    """Say whether a snapshot sees all of some transactions that have committed.

    The log tells a commit when it is flushed, and that is a moment before others see it.
    """
    _, xmax, in_progress = snapshot.split(":")
    running = {int(each) & _XIDS for each in in_progress.split(",") if each}
    return all(xid not in running and (xid - int(xmax)) & _XIDS > _XIDS >> 1 for xid in xids)


def _statements(route: Route, table: Table) -> tuple[bytes, bytes, bytes]:
    arrays = sql.SQL(", ").join(
        sql.SQL("${}::{}[]").format(sql.SQL(cast(Any, str(n))), sql.SQL(cast(Any, column.type_name)))
        for n, column in enumerate(table.key, 2)
    )
    those = sql.SQL("t.tenant_id = $1::uuid")
    if table.key:
        names = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column.name)) for column in table.key)
        those = sql.SQL("{} AND ({}) IN (SELECT * FROM unnest({}))").format(those, names, arrays)
    target = table.target(route.target_schema)
    names = sql.SQL(", ").join(
        sql.SQL("r.{}").format(sql.Identifier(column.name)) for column in table.columns if not column.is_generated
    )
    read = sql.SQL("SELECT /* move_rows.apply */ ROW({})::text FROM {} WHERE {}").format(
        table.read(route.shifts), table.source(), those
    )
    delete = sql.SQL("DELETE /* move_rows.apply */ FROM {} AS t WHERE {}").format(target, those)
    insert = sql.SQL(
        "INSERT /* move_rows.apply */ INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {2}"
        " FROM unnest($1::text[]::{0}[]) AS r RETURNING ROW({3})::text"
    ).format(target, table.written, names, table.read(Shifts(0, 0)))
    return read.as_bytes(None), delete.as_bytes(None), insert.as_bytes(None)


def _parts(keys: Sequence[Key], size: int) -> Iterable[Sequence[Key]]:
    return (keys[at : at + size] for at in range(0, len(keys), size))


def _arrays(keys: Sequence[Key], width: int) -> list[bytes]:
    return [_array([key[place] for key in keys]).encode() for place in range(width)]


def _array(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


async def copy_all(
    open_source: Callable[[], Any],
    open_target: Callable[[], Any],
    route: Route,
    tables: Sequence[Table],
    told: Callable[[int], None],
    pace: Pace,
) -> None:
    """Copy every table that is not copied yet; `told` hears of each chunk's rows."""
    queue = list(tables)

    async def work() -> None:
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(await open_source())
            target = await stack.enter_async_context(await open_target())
            while queue:
                await _copy_table(source, target, route, queue.pop(0), told, pace)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(pace.workers):
                tasks.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _copy_table(
    source: Connection, target: Connection, route: Route, table: Table, told: Callable[[int], None], pace: Pace
) -> None:
    name = f"{'cloudlab' if table.is_platform else 'tenant'}.{table.name}"
    found = await target.execute(
        """
        SELECT /* move_rows.copy */ t.progress -> %s FROM cloudlab.tenant_transfers AS t
        WHERE t.tenant_id = %s AND t.move_id = %s AND t.direction = 'in'
        """,
        [name, route.tenant_id, route.move_id],
    )
    (noted,) = await found.fetchone() or (None,)
    progress: dict[str, Any] = noted or {"rows": 0, "key": None, "done": False}
    while not progress["done"]:
        began = time.monotonic()
        above = tuple(progress["key"]) if progress["key"] else None
        upto = await next_key(source, route, table, above, pace.chunk_rows)
        async with target.transaction():
            rows = await copy_chunk(source, target, route, table, above, upto)
            progress = {"rows": progress["rows"] + rows, "key": upto, "done": upto is None}
            await target.execute(
                """
                UPDATE /* move_rows.copy */ cloudlab.tenant_transfers
                SET progress = progress || jsonb_build_object(%s::text, %s::jsonb)
                WHERE tenant_id = %s AND move_id = %s AND direction = 'in'
                """,
                [name, Jsonb(progress), route.tenant_id, route.move_id],
            )
        told(rows)
        await asyncio.sleep((time.monotonic() - began) * pace.rest)
