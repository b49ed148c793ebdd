"""Pools of connections, one for each login of each database, opened when first needed.

Standard: §9.1 Encryption in Transit
"""

import asyncio
import ipaddress
import select
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from cloudlab.cancelling import times_asked
from cloudlab.config import Limits
from cloudlab.errors import ConfigError, TimedOut, Unavailable, from_postgres
from cloudlab.postgres.transaction import Transaction
from cloudlab.postgres.wire import Command, Connection

_MOST_READS = 4  # its farewell, then the end of the stream


def secure(url: str) -> str:
    """Return the connection string with the server verified, unless it is on this machine or the string says how.

    Raises:
        ConfigError: It is no connection string.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without the reason libpq gives: it quotes the string, password and all.
        raise ConfigError(
            "a database URL is malformed", hint="Write postgresql://user:password@host:port/db."
        ) from None
    host = str(parts.get("hostaddr") or parts.get("host") or "")
    if "sslmode" not in parts and not is_local(host):
        parts |= {"sslmode": "verify-full", "sslrootcert": parts.get("sslrootcert", "system")}
    return make_conninfo("", application_name=parts.pop("application_name", "cloudlab"), **parts)


def _where(url: str) -> str:
    """Name a server without its password."""
    parts = conninfo_to_dict(secure(url))
    return f"{parts.get('user')}@{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}/{parts.get('dbname')}"


def is_local(host: str) -> bool:
    """Say whether a host of a connection string is this machine: a socket or a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Pools:
    """All pools of a process. Use it as an async context manager; leaving it closes every connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pools: dict[str, AsyncConnectionPool[Connection]] = {}
        self._told: Callable[[str, Diagnostic], None] | None = None

    def hear(self, told: Callable[[str, Diagnostic], None]) -> None:
        """Say who is told of the servers' notices, with the connection string they came by; it must not wait."""
        self._told = told

    async def __aenter__(self) -> "Pools":
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    async def _pool(self, url: str) -> AsyncConnectionPool[Connection]:
        if url not in self._pools:
            # Registered before the first await, so that two tasks never open the same pool twice.
            self._pools[url] = AsyncConnectionPool(
                secure(url),
                connection_class=Connection,
                kwargs={"autocommit": True, "prepare_threshold": None},
                configure=partial(self._configure, url),
                min_size=0,
                max_size=self._limits.pool_max_size,
                name=_where(url),
                timeout=self._limits.pool_timeout_seconds,
                open=False,
            )
        pool = self._pools[url]
        await pool.open()
        return pool

    async def _configure(self, url: str, connection: Connection) -> None:
        connection.statements_max = self._limits.prepared_statements_max
        if self._told:
            connection.add_notice_handler(partial(self._told, url))

    def size(self, url: str) -> int:
        """Return how many connections there are to a database, those being opened included."""
        return self._pools[url].get_stats().get("pool_size", 0) if url in self._pools else 0

    async def grow(self, url: str, size: int) -> None:
        """Open at once as many connections as are missing; does not wait for them. Idle ones are closed in time."""
        pool = await self._pool(url)
        missing = min(size, self._limits.pool_max_size) - self.size(url)
        if missing > 0:
            await pool.resize(missing, self._limits.pool_max_size)
            await pool.resize(0, self._limits.pool_max_size)

    @asynccontextmanager
    async def connection(self, url: str) -> AsyncGenerator[Connection]:
        """Borrow a connection in autocommit.

        Raises:
            TimedOut: All connections stayed busy for longer than `pool_timeout_seconds`.
            Unavailable: The server cannot be reached.
        """
        pool = await self._pool(url)
        connection = await self._living(pool)
        try:
            yield connection
        finally:
            await pool.putconn(connection)

    async def _living(self, pool: AsyncConnectionPool[Connection]) -> Connection:
        """Take a connection whose server has not hung up since: a restart breaks all idle ones at once."""
        while True:
            before = times_asked()
            try:
                connection = await pool.getconn()
            except PoolTimeout as error:
                raise self._no_connection(pool) from error
            except psycopg.OperationalError as error:
                raise Unavailable(str(error)) from error
            if times_asked() == before and not _has_hung_up(connection):
                return connection
            await pool.putconn(connection)
            if times_asked() != before:  # which the pool has lost: see `cancelling`
                raise asyncio.CancelledError

    def _no_connection(self, pool: AsyncConnectionPool[Connection]) -> Unavailable:
        waited = f"within {self._limits.pool_timeout_seconds:g} s"
        if pool.get_stats().get("connections_errors"):
            return Unavailable(f"{pool.name} did not accept a connection {waited}", hint="Run `cloudlab doctor`.")
        return TimedOut(f"no connection became free {waited}")

    @asynccontextmanager
    async def transaction(self, url: str) -> AsyncGenerator[Transaction]:
        """Open a transaction of the platform itself, bound to no tenant; errors come out as CloudLab's."""
        async with self.connection(url) as connection:
            transaction = Transaction(connection, [Command(b"BEGIN")])
            try:
                async with ended(transaction):
                    yield transaction
            except psycopg.Error as error:
                raise from_postgres(error) from error


def _has_hung_up(connection: Connection) -> bool:
    """Look at the socket, without a round trip: an idle server has nothing to say but that it leaves. About 2 µs."""
    pgconn = connection.pgconn
    for _ in range(_MOST_READS):
        readable, _, _ = select.select([pgconn.socket], [], [], 0)
        if not readable:
            break
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            return True
    return pgconn.status != pq.ConnStatus.OK


@asynccontextmanager
async def ended(transaction: Transaction, *, tell_position: bool = False) -> AsyncGenerator[None]:
    """Commit when the block is left, roll back when it raises."""
    try:
        yield
        await transaction.commit(tell_position=tell_position)
    except BaseException:
        await transaction.rollback()
        raise
