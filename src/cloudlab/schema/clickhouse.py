"""One ClickHouse database as a place for migrations.

ClickHouse has no transactions. So every statement of its tree is repeatable (`files.parse` insists on it), a file that
stopped half-way is simply run again, and the history is a ReplacingMergeTree whose newest row of a version counts.

Standard: §6.1 Migration Tracking
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from cloudlab.errors import ConfigError, MigrationError, Unavailable
from cloudlab.schema.files import Migration, Section
from cloudlab.schema.history import Entry
from cloudlab.schema.runner import Direction

_TRACKING = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version String COMMENT 'Migration version identifier',
    applied_at DateTime64(3, 'UTC') COMMENT 'When the migration was applied',
    checksum String COMMENT 'SHA256 checksum of migration file',
    description String COMMENT 'Title of the migration',
    direction String COMMENT 'Which section ran last or is running: up or down',
    running_statement UInt32 COMMENT 'Statement reached, counted from 1; 0 when the section ended',
    revision UInt64 COMMENT 'Nanoseconds of the clock: the newest row of a version counts'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY version
COMMENT 'Tracks applied database migrations'
"""


class _Result(Protocol):
    @property
    def result_rows(self) -> Sequence[Sequence[Any]]: ...


class Client(Protocol):
    """What is used of clickhouse-connect, whose own signatures are not typed in full."""

    def command(self, cmd: str, *, settings: Mapping[str, str] = ...) -> object:
        """Run a statement."""
        ...

    def query(self, query: str, *, parameters: Mapping[str, str] = ..., settings: Mapping[str, str] = ...) -> _Result:
        """Run a query."""
        ...

    def insert(
        self, table: str, data: Sequence[Sequence[object]], *, column_names: Sequence[str], database: str
    ) -> object:
        """Insert rows."""
        ...

    def close(self) -> None:
        """Close the HTTP connections."""
        ...


@asynccontextmanager
async def connect(url: str, lock: AbstractAsyncContextManager[None] | None = None) -> AsyncGenerator["ClickHouseStore"]:
    """Yield the store of the database that an `http(s)://user:password@host:port/database` URL names.

    Args:
        url: Where ClickHouse answers HTTP.
        lock: What keeps other runners out while this one works; ClickHouse itself has no locks to offer.

    Raises:
        ConfigError: The URL names no database.
        Unavailable: The server cannot be reached.
    """
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if not database.isidentifier():
        raise ConfigError(f"the analytics URL must end in /database, a plain name, not {parts.path!r}")

    def open_client() -> Client:
        return cast(Any, clickhouse_connect).get_client(
            host=parts.hostname,
            port=parts.port,
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            secure=parts.scheme == "https",
            autogenerate_session_id=False,
        )

    try:
        client = await asyncio.to_thread(open_client)
        try:
            yield ClickHouseStore(client, database, lock or nullcontext())
        finally:
            await asyncio.to_thread(client.close)
    except OperationalError as error:
        raise Unavailable(f"ClickHouse at {parts.hostname}:{parts.port} cannot be reached: {error}") from error
    except ClickHouseError as error:
        raise MigrationError(f"ClickHouse at {parts.hostname}:{parts.port}: {error}") from error


class ClickHouseStore:
    """Migrations of one ClickHouse database."""

    resumes = True

    def __init__(self, client: Client, database: str, lock: AbstractAsyncContextManager[None]) -> None:
        self._client = client
        self._database = database
        self._lock = lock

    @property
    def where(self) -> str:
        """The database."""
        return f"clickhouse.{self._database}"

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock this store was given; it serves once."""
        return self._lock

    async def prepare(self) -> None:
        """Create the database and its tracking table when they are missing."""
        create = f"CREATE DATABASE IF NOT EXISTS {self._database} ENGINE = Atomic"
        await asyncio.to_thread(self._client.command, create)
        await self._command(_TRACKING)

    async def entries(self) -> list[Entry]:
        """Return what was applied here; a version taken back has no entry."""
        if not await self._tracked():
            return []
        query = """
            SELECT version, applied_at, checksum, description, direction, running_statement
            FROM schema_migrations FINAL
            WHERE direction = 'up' OR running_statement > 0
        """
        result = await asyncio.to_thread(self._client.query, query, settings={"database": self._database})
        return [
            Entry(version, applied_at.replace(tzinfo=UTC), *rest, running_statement=running or None)
            for version, applied_at, *rest, running in result.result_rows
        ]

    async def _tracked(self) -> bool:
        query = "SELECT count() FROM system.tables WHERE database = {name:String} AND name = 'schema_migrations'"
        result = await asyncio.to_thread(self._client.query, query, parameters={"name": self._database})
        return bool(result.result_rows[0][0])

    async def apply(self, migration: Migration, section: Section, direction: Direction) -> None:
        """Run one section statement by statement, recording first which one is reached."""
        for number, statement in enumerate(section.statements, 1):
            await self._record(migration, direction, number)
            try:
                await self._command(statement.text)
            except OperationalError:
                raise
            except ClickHouseError as error:
                message = f"{self.where}: {migration.path}:{statement.line}: {error}"
                raise MigrationError(message, hint="Mend the file and run this again.") from error
        await self._record(migration, direction, 0)

    async def _record(self, migration: Migration, direction: Direction, running: int) -> None:
        row = {
            "version": migration.version,
            "applied_at": datetime.now(UTC),
            "checksum": migration.checksum,
            "description": migration.title,
            "direction": direction.value,
            "running_statement": running,
            "revision": time.time_ns(),
        }
        await asyncio.to_thread(
            self._client.insert,
            "schema_migrations",
            [list(row.values())],
            column_names=list(row),
            database=self._database,
        )

    async def _command(self, sql: str) -> None:
        await asyncio.to_thread(self._client.command, sql, settings={"database": self._database})
