"""What online operations have done, in a table of the schema they work on.

A step and the row that says so commit together. So after a crash at any moment the row tells where to go on.

Standard: §6.1 Migration Tracking
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloudlab.errors import NotFound
from cloudlab.schema.locks import Connection
from cloudlab.schema.online_steps import Kind, Lock, Operation, Phase, Step

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    operation_id bigint GENERATED ALWAYS AS IDENTITY,
    operation text NOT NULL,
    arguments jsonb NOT NULL,
    plan jsonb NOT NULL,
    phase text DEFAULT 'expand' NOT NULL,
    state text DEFAULT 'running' NOT NULL,
    wanted text DEFAULT 'run' NOT NULL,
    steps_done integer DEFAULT 0 NOT NULL,
    step_name text DEFAULT '' NOT NULL,
    next_block bigint DEFAULT 0 NOT NULL,
    rows_done bigint DEFAULT 0 NOT NULL,
    rows_total bigint DEFAULT 0 NOT NULL,
    rows_per_second double precision DEFAULT 0 NOT NULL,
    lag_seconds double precision DEFAULT 0 NOT NULL,
    error text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT pk_online_operations PRIMARY KEY (operation_id),
    CONSTRAINT chk_online_operations_phase CHECK (phase IN ('expand', 'contract', 'rollback')),
    CONSTRAINT chk_online_operations_state CHECK (
        state IN ('running', 'paused', 'failed', 'expanded', 'done', 'rolled back')),
    CONSTRAINT chk_online_operations_wanted CHECK (wanted IN ('run', 'pause')),
    CONSTRAINT chk_online_operations_steps_done_not_negative CHECK (steps_done >= 0)
);
COMMENT ON TABLE {table} IS 'Changes made to tables of this schema while the database serves';
COMMENT ON COLUMN {table}.operation_id IS 'Number of the operation';
COMMENT ON COLUMN {table}.operation IS 'What is done, such as add_index';
COMMENT ON COLUMN {table}.arguments IS 'What it was asked with';
COMMENT ON COLUMN {table}.plan IS 'Its steps, as they were planned when it began';
COMMENT ON COLUMN {table}.phase IS 'expand, contract or rollback';
COMMENT ON COLUMN {table}.state IS 'running, paused, failed, expanded (waits for contract), done or rolled back';
COMMENT ON COLUMN {table}.wanted IS 'pause stops it after the batch it is in';
COMMENT ON COLUMN {table}.steps_done IS 'How many steps of the plan are done';
COMMENT ON COLUMN {table}.step_name IS 'The step that was reached';
COMMENT ON COLUMN {table}.next_block IS 'The block of the table that the next batch begins with';
COMMENT ON COLUMN {table}.rows_done IS 'Rows written by batches so far';
COMMENT ON COLUMN {table}.rows_total IS 'Rows in the table, as the server estimates';
COMMENT ON COLUMN {table}.rows_per_second IS 'Rate of the batches';
COMMENT ON COLUMN {table}.lag_seconds IS 'How far the slowest replica was behind at the last batch';
COMMENT ON COLUMN {table}.error IS 'What stopped it';
COMMENT ON COLUMN {table}.started_at IS 'When it began';
COMMENT ON COLUMN {table}.updated_at IS 'When it last got further';
COMMENT ON COLUMN {table}.finished_at IS 'When it was done or taken back'
"""
_COLUMNS: LiteralString = (
    "operation_id, operation, arguments, plan, phase, state, wanted, steps_done, step_name, next_block, rows_done,"
    " rows_total, rows_per_second, lag_seconds, error, started_at, updated_at, finished_at"
)


class OperationState(StrEnum):
    """How an operation stands; FAILED and PAUSED and RUNNING (its process died) go on when it is run again."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    EXPANDED = "expanded"
    DONE = "done"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """A row of `online_operations`."""

    operation_id: int
    operation: str
    arguments: dict[str, Any]
    plan: list[dict[str, Any]]
    phase: str
    state: str
    wanted: str
    steps_done: int
    step_name: str
    next_block: int
    rows_done: int
    rows_total: int
    rows_per_second: float
    lag_seconds: float
    error: str | None
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def steps(self) -> list[Step]:
        """The plan."""
        return [_read_step(one) for one in self.plan]


def _read_step(one: dict[str, Any]) -> Step:
    return Step(
        one["name"],
        tuple(one["sql"]),
        Kind(one["kind"]),
        tuple(Lock(**lock) for lock in one["locks"]),
        one["says"],
        Phase(one["phase"]),
        tuple(one["undo"]),
        tuple(Lock(**lock) for lock in one["undo_locks"]),
        one["index"],
        one["walks"],
        one["proof"],
    )


class Journal:
    """The table of one schema."""

    def __init__(self, conn: Connection, schema: str) -> None:
        self._conn = conn
        self.schema = schema
        self._table = sql.Identifier(schema, "online_operations")

    @property
    def table(self) -> sql.Identifier:
        """Its name."""
        return self._table

    async def exists(self) -> bool:
        """Whether there is a table yet."""
        rows = await self._conn.execute(
            "SELECT /* online_journal.exists */ to_regclass(%s) IS NOT NULL", [self._table.as_string()]
        )
        return await rows.fetchone() == (True,)

    async def prepare(self) -> None:
        """Create the table when it is missing."""
        if not await self.exists():
            async with self._conn.transaction():
                await self._conn.execute(sql.SQL(_TABLE).format(table=self._table))

    async def all(self) -> list[OperationStatus]:
        """Return every operation, the newest first; none without the table."""
        if not await self.exists():
            return []
        query = sql.SQL("SELECT /* online_journal.all */ {} FROM {} ORDER BY operation_id DESC")
        return await self._fetch(query.format(sql.SQL(_COLUMNS), self._table))

    async def get(self, operation_id: int) -> OperationStatus:
        """Return one operation. NotFound when there is none of this number."""
        found = [one for one in await self.all() if one.operation_id == operation_id]
        if not found:
            raise NotFound(f"there is no online operation {operation_id} in {self.schema}", hint="See `online status`.")
        return found[0]

    async def newest(self, operation: Operation) -> OperationStatus | None:
        """Return the last operation of this kind with these arguments."""
        if not await self.exists():
            return None
        query = sql.SQL(
            "SELECT /* online_journal.newest */ {} FROM {} WHERE operation = %(operation)s"
            " AND arguments = %(arguments)s ORDER BY operation_id DESC LIMIT 1"
        )
        found = await self._fetch(
            query.format(sql.SQL(_COLUMNS), self._table),
            operation=operation.NAME,
            arguments=Jsonb(arguments(operation)),
        )
        return found[0] if found else None

    async def begin(self, operation: Operation, plan: Sequence[Step]) -> OperationStatus:
        """Write down an operation and its plan before the first step."""
        query = sql.SQL(
            "INSERT /* online_journal.begin */ INTO {} (operation, arguments, plan)"
            " VALUES (%(operation)s, %(arguments)s, %(plan)s) RETURNING {}"
        )
        (found,) = await self._fetch(
            query.format(self._table, sql.SQL(_COLUMNS)),
            operation=operation.NAME,
            arguments=Jsonb(arguments(operation)),
            plan=Jsonb([asdict(step) for step in plan]),
        )
        return found

    async def write(self, operation_id: int, **values: object) -> bool:
        """Change columns of a row, in the caller's transaction; return whether a pause is wanted."""
        sets = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
        )
        query = sql.SQL(
            "UPDATE /* online_journal.write */ {} SET {}, updated_at = clock_timestamp()"
            " WHERE operation_id = %(operation_id)s RETURNING wanted = 'pause'"
        )
        rows = await self._conn.execute(query.format(self._table, sets), {**values, "operation_id": operation_id})
        row = await rows.fetchone()
        if not row:
            raise _gone(operation_id, self.schema)
        return bool(row[0])

    async def reached(self, operation_id: int) -> tuple[int, int, bool]:
        """Return the block that the next batch begins with, the rows done, and whether a pause is wanted."""
        query = sql.SQL(
            "SELECT /* online_journal.reached */ next_block, rows_done, wanted = 'pause' FROM {}"
            " WHERE operation_id = %s"
        )
        row = await (await self._conn.execute(query.format(self._table), [operation_id])).fetchone()
        if not row:
            raise _gone(operation_id, self.schema)
        return int(row[0]), int(row[1]), bool(row[2])

    async def _fetch(self, query: sql.Composed, **params: object) -> list[OperationStatus]:
        async with self._conn.cursor(row_factory=class_row(OperationStatus)) as cursor:
            try:
                await cursor.execute(query, params)
            except psycopg.errors.UndefinedTable:
                return []
            return await cursor.fetchall()


def _gone(operation_id: int, schema: str) -> NotFound:
    return NotFound(f"online operation {operation_id} is gone from {schema}", hint="")


def arguments(operation: Operation) -> dict[str, Any]:
    """Return what an operation was asked with, as JSON keeps it."""
    slots: tuple[str, ...] = tuple(getattr(operation, "__match_args__", ()))
    return {name: _plain(getattr(operation, name)) for name in slots}


def _plain(value: object) -> object:
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
