"""Following the log of a shard: which rows of one tenant change while it is being copied.

The log says only which, by their keys (a publication with a row filter and a column list); what they are now is read
where they are. So a change that is told twice, or told again after a crash, does no harm, and the copy needs no
snapshot that dies with its connection. The log is read through a replication connection that stays open: asking anew
(`pg_logical_slot_peek_changes`) would read it from the last restart point each time.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg import pq
from psycopg.abc import PQGen
from psycopg.waiting import Wait

from cloudlab.errors import Conflict, Unavailable
from cloudlab.postgres.pool import secure
from cloudlab.postgres.wire import Connection
from cloudlab.tenancy.move_tables import Table

Key = tuple[str, ...]
MARK = "cloudlab"
_REPORT_SECONDS = 1.0
_EPOCH_2000_SECONDS = 946_684_800
_Tuple = list[str | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """Keys that have changed, the transactions that changed them, and the place of the log behind them."""

    changed: dict[Table, set[Key]]
    xids: set[int]
    place: int


class ChangeLog:
    """The keys that have changed since they were last taken, and how far the log has been read."""

    def __init__(self, connection: Connection, tables: Mapping[tuple[str, str], Table]) -> None:
        self._connection = connection
        self._tables = tables
        self._columns: dict[int, tuple[Table, list[int]] | None] = {}
        self._changed: dict[Table, set[Key]] = {}
        self._xids: set[int] = set()
        self._marks: dict[str, asyncio.Event] = {}
        self._read_to = 0
        self._in_transaction = False
        self._applied_to = 0
        self._error: BaseException | None = None

    @property
    def waiting(self) -> int:
        """How many keys wait to be taken."""
        return sum(map(len, self._changed.values()))

    @property
    def is_empty(self) -> bool:
        """Whether everything that was told has been taken, and nothing of it was given back."""
        return not self._changed and not self._xids

    def take(self) -> Taken:
        """Take what has changed, with the place of the log to confirm once that is applied.

        Raises:
            Unavailable: The log cannot be read any more.
        """
        if self._error:
            raise Unavailable(f"the log of the source broke off: {self._error}") from self._error
        taken = Taken(self._changed, self._xids, self._read_to)
        self._changed, self._xids = {}, set()
        return taken

    def give_back(self, taken: Taken) -> None:
        """Put back what could not be applied."""
        self._xids |= taken.xids
        for table, keys in taken.changed.items():
            self._changed.setdefault(table, set()).update(keys)

    def confirm(self, place: int) -> None:
        """Say that everything up to a place is applied for good: the source need not keep it any more."""
        self._applied_to = max(self._applied_to, place)

    def expect(self, mark: str) -> asyncio.Event:
        """Return what is set once the log has come to a mark (see `move_rows.write_mark`)."""
        return self._marks.setdefault(mark, asyncio.Event())

    async def passed(self, mark: asyncio.Event, seconds: float) -> None:
        """Wait until the log has come to a mark.

        Raises:
            TimeoutError: It has not within so many seconds.
            Unavailable: The log cannot be read any more.
        """
        async with asyncio.timeout(seconds):
            await mark.wait()
        if self._error:
            raise Unavailable(f"the log of the source broke off: {self._error}") from self._error

    async def run(self) -> None:
        """Read until cancelled or broken; `take` raises what broke it."""
        try:
            await self._read()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whoever waits for the log is told
            self._error = error
            for mark in self._marks.values():
                mark.set()

    async def _read(self) -> None:
        pgconn, readable = self._connection.pgconn, asyncio.Event()
        loop, reported = asyncio.get_running_loop(), 0.0
        loop.add_reader(pgconn.socket, readable.set)
        try:
            while True:
                readable.clear()
                size = 0
                pgconn.consume_input()
                for _ in range(1000):
                    size, data = pgconn.get_copy_data(1)
                    if size <= 0:
                        break
                    self._hear(bytes(data))
                if size < 0:
                    result = pgconn.get_result()
                    said = result.error_message.decode() if result else ""
                    raise Unavailable(said.strip() or "the source has ended the stream")
                if time.monotonic() - reported > _REPORT_SECONDS:
                    self._report()
                    reported = time.monotonic()
                if size > 0:
                    await asyncio.sleep(0)
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REPORT_SECONDS):
                        await readable.wait()
        finally:
            loop.remove_reader(pgconn.socket)

    def _report(self) -> None:
        now = int((time.time() - _EPOCH_2000_SECONDS) * 1_000_000)
        at = self._applied_to
        self._connection.pgconn.put_copy_data(struct.pack("!cQQQqB", b"r", at, at, at, now, 0))
        self._connection.pgconn.flush()

    def _hear(self, data: bytes) -> None:
        kind = data[:1]
        if kind == b"k":
            (place, _, wanted) = struct.unpack_from("!QQB", data, 1)
            if not self._in_transaction and not self.waiting and self._applied_to >= self._read_to:
                self._read_to = self._applied_to = max(self._read_to, place)
            if wanted:
                self._report()
        elif kind == b"w":
            self._hear_change(data[25:])

    def _hear_change(self, data: bytes) -> None:
        kind = data[:1]
        if kind == b"B":
            (xid,) = struct.unpack_from("!I", data, 17)
            self._xids.add(xid)
            self._in_transaction = True
        elif kind == b"C":
            (_, end) = struct.unpack_from("!QQ", data, 2)
            self._read_to, self._in_transaction = end, False
        elif kind == b"R":
            self._learn(data)
        elif kind == b"M":
            (size,) = struct.unpack_from("!i", data, (start := data.index(b"\0", 10)) + 1)
            mark = self._marks.pop(data[start + 5 : start + 5 + size].decode(), None)
            if mark:
                mark.set()
        elif kind in {b"I", b"U", b"D"}:
            self._note(data)
        elif kind == b"T":
            raise Conflict(
                "a table of the tenant was truncated while it was moving", hint="Abort the move; begin anew."
            )

    def _learn(self, data: bytes) -> None:
        (relation,) = struct.unpack_from("!I", data, 1)
        schema_end = data.index(b"\0", 5)
        name_end = data.index(b"\0", schema_end + 1)
        table = self._tables.get((data[5:schema_end].decode(), data[schema_end + 1 : name_end].decode()))
        (count,) = struct.unpack_from("!h", data, name_end + 2)
        at, names = name_end + 4, list[str]()
        for _ in range(count):
            end = data.index(b"\0", at + 1)
            names.append(data[at + 1 : end].decode())
            at = end + 9
        self._columns[relation] = (table, [names.index(column.name) for column in table.key]) if table else None

    def _note(self, data: bytes) -> None:
        (relation,) = struct.unpack_from("!I", data, 1)
        if (known := self._columns.get(relation)) is None:
            return
        table, places = known
        at = 5
        while at < len(data):
            values, at = _read_tuple(data, at + 1)
            key = [values[place] for place in places]
            if None not in key:
                self._changed.setdefault(table, set()).add(tuple(str(value) for value in key))


def _read_tuple(data: bytes, at: int) -> tuple[_Tuple, int]:
    (count,) = struct.unpack_from("!h", data, at)
    at += 2
    values: _Tuple = []
    for _ in range(count):
        kind = data[at : at + 1]
        at += 1
        if kind == b"t":
            (size,) = struct.unpack_from("!i", data, at)
            values.append(data[at + 4 : at + 4 + size].decode())
            at += 4 + size
        else:
            values.append(None)
    return values, at


@asynccontextmanager
async def following(
    url: str, slot: str, publications: str, tables: Mapping[tuple[str, str], Table]
) -> AsyncGenerator[ChangeLog]:
    """Follow a slot of the source while the block runs; what is not confirmed then is told again the next time.

    Raises:
        Unavailable: The slot is gone, in use, or the server cannot be reached.
    """
    connection = await Connection.connect(secure(url), autocommit=True, replication="database")
    async with connection:
        start = (
            f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0 '
            f"(proto_version '1', publication_names '{publications}', messages 'true')"
        )
        await connection.wait(_start(connection.pgconn, start.encode()))
        log = ChangeLog(connection, tables)
        reading = asyncio.create_task(log.run())
        try:
            yield log
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await connection.close()


def _start(pgconn: pq.abc.PGconn, query: bytes) -> PQGen[None]:
    pgconn.send_query(query)
    while pgconn.flush():
        yield Wait.RW
        pgconn.consume_input()
    while pgconn.is_busy():
        yield Wait.R
        pgconn.consume_input()
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.COPY_BOTH:
        said = result.error_message.decode().strip() if result else ""
        raise Unavailable(f"the log of the source cannot be followed: {said}")
