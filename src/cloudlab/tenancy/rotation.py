"""A new key for a tenant's sealed fields, and everything sealed anew with it, while the tenant works.

The new key is entered at a moment when no transaction of the tenant is open, so every later one seals with it; then the
rows follow in batches, each in a session of its own. Readable throughout: a value names its key. A rotation that was
interrupted is finished by the next call.

Standard: §9.1 Encryption at Rest
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import LiteralString, TypeVar
from uuid import UUID

from cloudlab.errors import TimedOut
from cloudlab.session import Session
from cloudlab.tenancy import fields
from cloudlab.tenancy.fields import Field, FieldKeys

T = TypeVar("T")

OpenSession = Callable[[], AbstractAsyncContextManager[Session]]
Progress = Callable[[str, int, int], None]

_FIRST = UUID(int=0)
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table with sealed fields, and the statements by which they are rotated.

    `count` gives the number of rows with a value whose key is not `newest`. `read` locks and returns the next `limit`
    of them behind `after`: the id of the row, then its fields in their order. `write` stores `ids` and, for each field,
    an array named after its column and one named after its index, unless that is unique and stays as it is. `newest` is
    the key's number in 4 bytes. `reindex`, of a table with a unique index, stores `ids` and an array named after it.
    """

    fields: tuple[Field, ...]
    count: LiteralString
    read: LiteralString
    write: LiteralString
    reindex: LiteralString = ""

    @property
    def name(self) -> str:
        """The table."""
        return self.fields[0].table


async def rotate(
    open_session: OpenSession,
    tables: Sequence[SealedTable],
    *,
    batch_size: int = 500,
    wait_seconds: float = 60.0,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Make a new key and seal everything with it, or finish what was begun; return its number and the rows sealed anew.

    Args:
        open_session: Opens a session of the tenant that may write.
        tables: Every table of the tenant that has sealed fields.
        batch_size: Rows in a transaction.
        wait_seconds: How long to wait for a moment without a transaction of the tenant; others are held up for at most
            50 ms at a time.
        progress: Told the table, the rows of each batch, and how many there were to do.

    Raises:
        TimedOut: A transaction of the tenant was open all the while; nothing was changed.
        Forbidden: The tenant's keys were erased.
    """
    number = await _unsettled(open_session) or await _enter_key(open_session, wait_seconds)
    moved = 0
    for table in tables:
        async with open_session() as s:
            ((total,),) = await s.fetch_tuples(table.count, newest=_encoded(number))
        after = _FIRST
        while done := await _move_batch(open_session, table, after, batch_size, number):
            after, rows = done
            moved += rows
            if progress:
                progress(table.name, rows, total)
    async with open_session() as s:
        await s.execute(
            """
            UPDATE /* rotation.rotate */ tenant_keys SET settled_at = now()
            WHERE tenant_id = %(tenant_id)s::uuid AND key_number = %(number)s::integer AND settled_at IS NULL
            """,
            tenant_id=s.tenant_id,
            number=number,
        )
    return number, moved


async def _unsettled(open_session: OpenSession) -> int:
    async with open_session() as s:
        found = await s.fetch_tuples(
            """
            SELECT /* rotation.rotate */ k.key_number FROM tenant_keys AS k
            WHERE k.tenant_id = %(tenant_id)s::uuid AND k.settled_at IS NULL AND k.erased_at IS NULL
            """,
            tenant_id=s.tenant_id,
        )
    return max((number for (number,) in found), default=0)


async def replace_index_key(
    open_session: OpenSession, tables: Sequence[SealedTable], *, batch_size: int = 500, wait_seconds: float = 60.0
) -> int:
    """Make a new index key and every unique index anew with it, in one transaction; return the rows it took.

    Only for a key that may have leaked: an index must be unique at every moment, so the tenant's other sessions wait
    until it has ended, about 25 µs a row, or give up at their lock timeout. Arguments and errors are those of `rotate`.
    """

    async def work(s: Session) -> int:
        (await fields.keys(s)).check_alive()
        await fields.replace_index_key(s)
        keys = await fields.keys(s)
        return sum([await _reindex(s, keys, table, batch_size) for table in tables if table.reindex])

    return await _alone(open_session, wait_seconds, work)


async def _reindex(s: Session, keys: FieldKeys, table: SealedTable, limit: int) -> int:
    done, after = 0, _FIRST
    unique = [(place, field) for place, field in enumerate(table.fields, 1) if field.is_unique]
    while rows := await s.fetch_tuples(table.read, newest=b"", after=after, limit=limit):
        columns: dict[str, list[bytes | None]] = {}
        for place, field in unique:
            texts = [keys.open(field, row[0], row[place]) for row in rows]
            columns[field.index] = [None if text is None else keys.index(field, text) for text in texts]
        await s.execute(table.reindex, ids=[row[0] for row in rows], **columns)
        done, after = done + len(rows), rows[-1][0]
    return done


async def _enter_key(open_session: OpenSession, wait_seconds: float) -> int:
    async def work(s: Session) -> int:
        known = await fields.keys(s, to_seal=False)
        known.check_alive()
        number = known.newest + 1
        first = (fields.INDEX_KEY,) if number == 1 else ()
        await fields.add_keys(s, *first, number, is_settled=number == 1)
        return number

    return await _alone(open_session, wait_seconds, work)


async def _alone(open_session: OpenSession, wait_seconds: float, work: Callable[[Session], Awaitable[T]]) -> T:
    """Work while no other transaction of the tenant is open: every session holds this lock shared."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            async with open_session() as s:
                s.queue("SELECT /* rotation.alone */ set_config('lock_timeout', '50ms', true)")
                await s.execute(
                    "SELECT /* rotation.alone */ pg_advisory_xact_lock(20541, hashtext(%(tenant_id)s))",
                    tenant_id=str(s.tenant_id),
                )
                return await work(s)
        except TimedOut:
            if time.monotonic() > deadline:
                raise TimedOut(f"a transaction of the tenant was open for {wait_seconds:g} s") from None
            await asyncio.sleep(random.uniform(_PAUSE_SECONDS, 4 * _PAUSE_SECONDS))  # noqa: S311  jitter, not a secret


async def _move_batch(
    open_session: OpenSession, table: SealedTable, after: UUID, limit: int, number: int
) -> tuple[UUID, int] | None:
    async with open_session() as s:
        keys = await fields.keys(s)
        rows = await s.fetch_tuples(table.read, newest=_encoded(number), after=after, limit=limit)
        if not rows:
            return None
        columns: dict[str, list[bytes | None]] = {}
        for place, field in enumerate(table.fields, 1):
            values = [_resealed(keys, field, row[0], row[place]) for row in rows]
            columns[field.column] = [sealed for sealed, _ in values]
            if field.index and not field.is_unique:
                columns[field.index] = [index for _, index in values]
        await s.execute(table.write, ids=[row[0] for row in rows], **columns)
        return rows[-1][0], len(rows)


def _resealed(keys: FieldKeys, field: Field, row_id: UUID, sealed: bytes | None) -> tuple[bytes | None, bytes | None]:
    text = keys.open(field, row_id, sealed)
    if text is None:
        return None, None
    index = keys.index(field, text) if field.index and not field.is_unique else None
    return keys.seal(field, row_id, text), index


def _encoded(number: int) -> bytes:
    return number.to_bytes(4, "big")
