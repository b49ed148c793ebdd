"""One schema of a PostgreSQL database as a place for migrations: its history, and how one file runs.

Standard: §6.1 Migration Tracking
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from cloudlab.errors import CloudLabError, MigrationError, from_postgres
from cloudlab.postgres.pool import secure
from cloudlab.schema import online_engine, online_operations
from cloudlab.schema.files import ONLINE, Migration, Section
from cloudlab.schema.history import Entry, resumes
from cloudlab.schema.locks import Connection, Waits, one_runner, patiently
from cloudlab.schema.online_locks import Courtesy
from cloudlab.schema.online_running import Manners
from cloudlab.schema.online_steps import Phase
from cloudlab.schema.runner import Direction
from cloudlab.schema.statements import Statement

PLATFORM_SCHEMA = "cloudlab"

_TRACKING = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {table} (
    version varchar(255) NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    checksum varchar(64) NOT NULL,
    description text,
    direction varchar(4) DEFAULT 'up' NOT NULL,
    running_statement integer,
    unsafe_reason text,
    CONSTRAINT pk_schema_migrations PRIMARY KEY (version),
    CONSTRAINT chk_schema_migrations_direction CHECK (direction IN ('up', 'down')),
    CONSTRAINT chk_schema_migrations_running_statement_positive CHECK (running_statement > 0)
);
COMMENT ON TABLE {table} IS 'Tracks applied database migrations';
COMMENT ON COLUMN {table}.version IS 'Migration version identifier';
COMMENT ON COLUMN {table}.applied_at IS 'When the migration was applied';
COMMENT ON COLUMN {table}.checksum IS 'SHA256 checksum of migration file';
COMMENT ON COLUMN {table}.description IS 'Title of the migration';
COMMENT ON COLUMN {table}.direction IS 'Which section ran last or is running: up or down';
COMMENT ON COLUMN {table}.running_statement IS
    'Statement a section without transaction has reached, counted from 1; NULL when the migration is whole';
COMMENT ON COLUMN {table}.unsafe_reason IS 'Why it was run although the check found it dangerous; NULL for safe ones'
"""
_ROW: LiteralString = """
INSERT INTO {table} AS m (version, checksum, description, direction, running_statement)
VALUES ({version}, {checksum}, {description}, {direction}, {running})"""
_BEGUN: LiteralString = (
    _ROW
    + """
ON CONFLICT (version) DO UPDATE
SET checksum = excluded.checksum, description = excluded.description, direction = excluded.direction,
    running_statement = excluded.running_statement, applied_at = excluded.applied_at
"""
)
_REASON = "UPDATE {table} SET unsafe_reason = {reason} WHERE version = {version}"
Reasons = Mapping[Path, str]
"""For files that are dangerous and run nevertheless: why."""


@asynccontextmanager
async def connect(database: str | Connection) -> AsyncGenerator[Connection]:
    """Yield an autocommit connection to a URL of the owner login, or pass an open one through.

    The URL must lead to the server itself: behind a transaction pooler a session lock protects nothing. An
    open connection is the runner's for the while; its session settings may be reset.

    Raises:
        MigrationError: The open connection is not in autocommit mode.
        CloudLabError: What PostgreSQL refused inside, translated; Unavailable when it cannot be reached.
    """
    try:
        if isinstance(database, str):
            conn = await AsyncConnection.connect(_runner_url(secure(database)), autocommit=True, prepare_threshold=None)
            async with conn:
                yield conn
        elif database.autocommit:
            yield database
        else:
            raise MigrationError("the runner owns the transaction: hand it a connection in autocommit mode")
    except psycopg.Error as error:
        raise from_postgres(error) from error


def _runner_url(url: str) -> str:
    """Let the server look every second whether this process still lives: one killed must not keep the lock."""
    options = f"{conninfo_to_dict(url).get('options', '')} -c client_connection_check_interval=1s"
    return make_conninfo(url, options=options, application_name="cloudlab migrate", connect_timeout=10)


class PostgresStore:
    """Migrations of one schema; unqualified names are made and found there."""

    resumes = False

    def __init__(
        self,
        conn: Connection,
        schema: str,
        waits: Waits | None = None,
        *,
        exclusive: bool = True,
        reasons: Reasons | None = None,
    ) -> None:
        """Take where; not `exclusive` for who holds the migration lock of the database by another connection."""
        self._reasons = reasons or {}
        self._conn = conn
        self._exclusive = exclusive
        self._schema = schema
        self._waits = waits or Waits()
        self._table = sql.Identifier(schema, "schema_migrations")
        path = dict.fromkeys((schema, PLATFORM_SCHEMA, "pg_temp"))
        self._search_path = ", ".join(sql.Identifier(name).as_string() for name in path)

    @property
    def connection(self) -> Connection:
        """The connection that everything is done by."""
        return self._conn

    @property
    def schema(self) -> str:
        """The schema."""
        return self._schema

    @property
    def where(self) -> str:
        """Database and schema."""
        return f"{self._conn.info.dbname}.{self._schema}"

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Hold the migration lock of the whole database."""
        return one_runner(self._conn, self._waits.runner_seconds) if self._exclusive else nullcontext()

    async def prepare(self) -> None:
        """Create the schema and its tracking table when they are missing."""
        if not await self._tracked():
            async with self._conn.transaction():
                await self._conn.execute(self._tracking())

    def _tracking(self) -> sql.Composed:
        return sql.SQL(_TRACKING).format(schema=sql.Identifier(self._schema), table=self._table)

    async def entries(self) -> list[Entry]:
        """Return what was applied here, in no particular order."""
        if not await self._tracked():
            return []
        query = "SELECT version, applied_at, checksum, description, direction, running_statement FROM {}"
        async with self._conn.cursor(row_factory=class_row(Entry)) as cursor:
            await cursor.execute(sql.SQL(query).format(self._table))
            return await cursor.fetchall()

    def script(self, plan: Sequence[Migration], *, tracked: bool, lock_timeout_ms: int) -> bytes:
        """Return all of a plan as one string: each migration in a transaction of its own, with its record.

        The name of the schema stands in it only as a quoted identifier, so one script serves many schemas. What was
        begun before makes it fail.
        """
        parts: list[bytes] = []
        if not tracked:
            parts.append(self._tracking().as_bytes(self._conn))
        # Without a plan and without rows to return, SET takes a fraction of the time of set_config().
        head = f"BEGIN; SET LOCAL search_path = {self._search_path}; SET LOCAL lock_timeout = {lock_timeout_ms}"
        for migration in plan:
            parts += [head.encode(), b"SET LOCAL statement_timeout = 0"]
            parts += [statement.text.encode() for statement in migration.up.statements]
            parts += [self._recorded(migration, Direction.UP, anew=True).as_bytes(self._conn), b"COMMIT"]
        return b";\n".join(parts)

    async def record(self, migration: Migration) -> None:
        """Note a migration as applied without running it."""
        await self._record(migration, Direction.UP)

    async def _tracked(self) -> bool:
        rows = await self._conn.execute(
            """
            SELECT /* postgres.tracked */ EXISTS (
                SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'running_statement')
            FROM pg_class AS c WHERE c.oid = to_regclass(%s)
            """,
            [self._table.as_string()],
        )
        row = await rows.fetchone()
        if row and not row[0]:
            raise MigrationError(
                f"{self.where}.schema_migrations is another tool's",
                hint="Take the database over first: `cloudlab migrate baseline`.",
            )
        return row is not None

    async def apply(self, migration: Migration, section: Section, direction: Direction) -> None:
        """Run one section and record it, in one transaction unless the file asks for none."""
        if direction is Direction.DOWN:
            await self._log_reason(migration)
        if section.transaction:
            await self._in_transaction(migration, section, direction)
        else:
            await self._without_transaction(migration, section, direction)

    async def _log_reason(self, migration: Migration) -> None:
        """Leave the reason for something dangerous in the server's log: the row of the migration will be gone."""
        if reason := self._reasons.get(migration.path):
            text = f"{self.where}: cloudlab migrate down {migration.path.name}: {reason}"
            body = sql.SQL("BEGIN RAISE LOG '%', {}; END").format(sql.Literal(text)).as_string(self._conn)
            await self._conn.execute(sql.SQL("DO /* postgres.log_reason */ {}").format(sql.Literal(body)))

    async def _in_transaction(self, migration: Migration, section: Section, direction: Direction) -> None:
        async def attempt(lock_timeout_ms: int) -> None:
            async with self._conn.transaction():
                await self._settings(lock_timeout_ms, local=True)
                for statement in section.statements:
                    await self._execute(migration, statement)
                await self._record(migration, direction)

        await self._patiently(migration, attempt)

    async def _without_transaction(self, migration: Migration, section: Section, direction: Direction) -> None:
        """Run statement by statement; the row says which one was reached, should this end half-way."""
        begin = await self._reached(migration, direction)
        try:
            for number, statement in enumerate(section.statements[begin - 1 :], begin):
                await self._record(migration, direction, running=number)
                await self._alone(migration, statement)
            await self._record(migration, direction)
        finally:
            if not self._conn.closed:
                await self._conn.execute("RESET ALL")

    async def _reached(self, migration: Migration, direction: Direction) -> int:
        """Return the statement to begin with: the first, unless this was killed in an online operation."""
        for entry in await self.entries():
            if entry.version == migration.version and entry.direction == direction and resumes(migration, entry):
                return entry.running_statement or 1
        return 1

    async def _online(self, statement: Statement) -> None:
        operation, phase = online_operations.read(statement.text)
        if phase is Phase.ROLLBACK and not await online_engine.begun(self._conn, operation, self._schema):
            return
        waits = Courtesy(table_seconds=self._waits.table_seconds)
        await online_engine.run(self._conn, operation, self._schema, phase, Manners(courtesy=waits), self._waits)

    async def _alone(self, migration: Migration, statement: Statement) -> None:
        if statement.words == (ONLINE,):
            await self._online(statement)
            return

        async def attempt(lock_timeout_ms: int) -> None:
            await self._settings(lock_timeout_ms, local=False)
            await self._execute(migration, statement)

        # Nobody queues behind CONCURRENTLY, and a procedure that commits as it goes must not start again.
        if "CONCURRENTLY" in statement.words or statement.words[0] in {"CALL", "DO"}:
            await attempt(round(self._waits.concurrently_seconds * 1000))
        else:
            await self._patiently(migration, attempt)

    async def _patiently(self, migration: Migration, attempt: Callable[[int], Awaitable[None]]) -> None:
        await patiently(self._conn, f"{self.where}: {migration.path.name}", self._waits.table_seconds, attempt)

    async def _settings(self, lock_timeout_ms: int, *, local: bool) -> None:
        await self._conn.execute(self._setting(lock_timeout_ms, local=local))

    def _setting(self, lock_timeout_ms: int, *, local: bool) -> sql.Composed:
        # One statement instead of three: over a thousand schemas, each answer counts.
        query = (
            "SELECT /* postgres.setting */ set_config('search_path', {path}, {local}),"
            " set_config('lock_timeout', {ms}, {local}), set_config('statement_timeout', '0', {local})"
        )
        return sql.SQL(query).format(
            path=sql.Literal(self._search_path), ms=sql.Literal(str(lock_timeout_ms)), local=sql.Literal(local)
        )

    async def _execute(self, migration: Migration, statement: Statement) -> None:
        try:
            await self._conn.execute(statement.text.encode())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise
        except psycopg.Error as error:
            if self._conn.closed:
                raise
            raise _failed(self.where, migration, statement, error) from error

    async def _record(self, migration: Migration, direction: Direction, running: int | None = None) -> None:
        """Write the row of this migration: applied, or half-way at statement `running`, or no more."""
        if direction is Direction.DOWN and running is None:
            query = sql.SQL("DELETE FROM {} WHERE version = %s").format(self._table)
            await self._conn.execute(query, [migration.version])
            return
        await self._conn.execute(self._recorded(migration, direction, running))

    def _recorded(
        self, migration: Migration, direction: Direction, running: int | None = None, *, anew: bool = False
    ) -> sql.Composed:
        reason = self._reasons.get(migration.path) if direction is Direction.UP else None
        noted = sql.SQL(_REASON).format(
            table=self._table, reason=sql.Literal(reason), version=sql.Literal(migration.version)
        )
        recorded = sql.SQL(_ROW if anew else _BEGUN).format(
            table=self._table,
            version=sql.Literal(migration.version),
            checksum=sql.Literal(migration.checksum),
            description=sql.Literal(migration.title),
            direction=sql.Literal(str(direction)),
            running=sql.Literal(running),
        )
        return sql.SQL(";\n").join([recorded, noted]) if reason else recorded


def _failed(where: str, migration: Migration, statement: Statement, error: psycopg.Error) -> CloudLabError:
    """Say where in the file it failed, and what PostgreSQL said; its positions count characters from 1."""
    diag = error.diag
    position = int(diag.statement_position or 1)
    line = statement.line + statement.text.count("\n", 0, position - 1)
    hint = diag.message_hint or "Mend the file and run this again."
    if error.sqlstate == "25001":
        hint = "Mark the section: `-- migrate:up transaction:false`."
    detail = f" ({diag.message_detail})" if diag.message_detail else ""
    message = f"{where}: {migration.path}:{line}: {diag.message_primary or error}{detail}"
    return MigrationError(message, hint=hint, details=statement.text)
