"""Several statements in one round trip.

libpq's pipeline mode lets BEGIN, the context of the tenant and the first statement travel together. psycopg's own
`pipeline()` does the same at nine times the client CPU (138 µs against 15 µs), so the few calls it takes are made here.

Statements are prepared once per connection and schema and found again by their text: a plan made under one tenant's
search path names that tenant's types, and would be made anew at every change of tenant. All parameters go as text and
untyped: the SQL says what they are (`%(order_id)s::uuid`), so one text is one plan, whatever is passed.

Standard: §5.2 Query Patterns
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any, LiteralString, TypeVar, cast
from uuid import UUID

from psycopg import AsyncConnection, errors, pq
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait

from cloudlab.config import PREPARED_STATEMENTS_MAX

T = TypeVar("T")

# Types whose text needs no quotes in an array.
_PLAIN = frozenset((UUID, int, Decimal, type(None)))
_TEXTS = frozenset((str, type(None)))
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(%))")


class Connection(AsyncConnection[TupleRow]):
    """A psycopg connection that remembers which statements the server has prepared for it, up to `statements_max`."""

    prepared: dict["Command", bytes]
    statements_max: int

    def __init__(self, pgconn: PGconn, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  psycopg's own signature
        super().__init__(pgconn, *args, **kwargs)
        self.prepared = {}
        self.statements_max = PREPARED_STATEMENTS_MAX


@dataclass(frozen=True, slots=True)
class Command:
    """One statement, ready to be sent: its text in PostgreSQL's own notation, and its parameters as text.

    Two commands are equal when one prepared statement serves both: same text, same schema.
    """

    sql: bytes
    values: tuple[Any, ...] = field(default=(), compare=False)
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one statement gave back; rows are made only when they are asked for."""

    raw: PGresult
    connection: AsyncConnection[TupleRow]

    @property
    def row_count(self) -> int:
        """How many rows were returned, inserted, updated or deleted."""
        return self.raw.command_tuples or 0

    def rows(self, make: Callable[..., T]) -> list[T]:
        """Call `make` once for each row, with the columns as keyword arguments."""
        names = [(self.raw.fname(i) or b"").decode() for i in range(self.raw.nfields)]

        def build(values: Sequence[Any]) -> T:
            return make(**dict(zip(names, values, strict=True)))

        return self._load(build)

    def tuples(self) -> list[tuple[Any, ...]]:
        """Return the rows as they are, for a caller that builds many objects at once; half the time of `rows`."""
        return self._load(tuple)

    def _load(self, make: Callable[[Sequence[Any]], T]) -> list[T]:
        loader = Transformer(self.connection)
        loader.set_pgresult(self.raw)
        return loader.load_rows(0, self.raw.ntuples, make)


@lru_cache(maxsize=1024)
def _translate(query: LiteralString) -> tuple[bytes, tuple[str, ...]]:
    """Turn `%(name)s` into `$1`, once for each literal."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[2]:
            return "%"
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return _PLACEHOLDER.sub(number, query).encode(), tuple(names)


def command(
    connection: AsyncConnection[TupleRow], query: LiteralString, params: Mapping[str, object], schema: str = ""
) -> Command:
    """Bind the parameters of a statement; a missing or superfluous one is a TypeError that names it."""
    sql, names = _translate(query)
    if len(names) != len(params) or any(name not in params for name in names):
        raise TypeError(f"the statement takes {sorted(names)}, not {sorted(params)}")
    if not names:
        return Command(sql, schema=schema)
    values = [_plain_array(params[name]) for name in names]
    dumped = Transformer(connection).dump_sequence(values, [PyFormat.TEXT] * len(names))
    return Command(sql, tuple(dumped), schema)


def _plain_array(value: object) -> object:
    """Write an array of UUIDs, numbers, texts and NULLs: psycopg escapes them one by one, each with its own dumper."""
    if not isinstance(value, list) or not value:
        return cast(object, value)
    items = cast(list[object], value)
    kinds = set(map(type, items))
    if _PLAIN.issuperset(kinds):
        return "{" + ",".join(["NULL" if item is None else str(item) for item in items]) + "}"
    if _TEXTS.issuperset(kinds):
        texts = cast(list[str | None], value)
        return "{" + ",".join(["NULL" if text is None else _quoted(text) for text in texts]) + "}"
    return items


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def exchange(connection: Connection, commands: Sequence[Command]) -> list[Result]:
    """Send all commands in one round trip and return their results in order.

    The first that fails is raised as psycopg's error; the ones behind it were not executed. A cancelled task cancels
    the statement on the server and leaves the connection usable.
    """
    async with connection.lock:
        results = await connection.wait(_converse(connection, commands))
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding="utf-8")
    return [Result(result, connection) for result in results]


def _converse(connection: Connection, commands: Sequence[Command]) -> PQGen[list[PGresult]]:
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    try:
        new = _send(connection, commands)
        while pgconn.flush():
            ready = yield Wait.RW
            if ready & Ready.R:
                pgconn.consume_input()
        results: list[PGresult] = []
        for _ in range(len(commands) + len(new)):
            results.append((yield from _next_result(pgconn)))
        yield from _next_result(pgconn)
    finally:
        if pgconn.status == pq.ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    return _forget_prepares(connection, results, new)


def _send(connection: Connection, commands: Sequence[Command]) -> dict[int, tuple[Command, bytes]]:
    """Hand the batch to libpq; return which of its results belong to PREPARE, of what under which name."""
    pgconn, prepared = connection.pgconn, dict(connection.prepared)
    new: dict[int, tuple[Command, bytes]] = {}
    for number, item in enumerate(commands):
        name = prepared.get(item)
        if name is None and len(prepared) < connection.statements_max:
            name = prepared[item] = b"cl_%d" % len(prepared)
            new[number + len(new)] = (item, name)
            pgconn.send_prepare(name, item.sql)
        if name is None:
            pgconn.send_query_params(item.sql, item.values)
        else:
            pgconn.send_query_prepared(name, item.values)
    pgconn.pipeline_sync()
    return new


def _next_result(pgconn: PGconn) -> PQGen[PGresult]:
    """Wait for the one result of the next command; a sync point is its own result."""
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        if (result := pgconn.get_result()) is None:
            continue
        if result.status != pq.ExecStatus.PIPELINE_SYNC:
            while pgconn.is_busy():
                yield Wait.R
                pgconn.consume_input()
            pgconn.get_result()
        return result


def _forget_prepares(
    connection: Connection, results: list[PGresult], new: dict[int, tuple[Command, bytes]]
) -> list[PGresult]:
    """Remember what was prepared, and leave the results of the commands themselves, or the error of a PREPARE."""
    kept: list[PGresult] = []
    for number, result in enumerate(results):
        if number not in new:
            kept.append(result)
        elif result.status == pq.ExecStatus.COMMAND_OK:
            item, name = new[number]
            connection.prepared[replace(item, values=())] = name
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            kept.append(result)
    return kept
