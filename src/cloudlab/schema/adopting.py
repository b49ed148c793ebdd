"""Taking over a database that another tool has migrated: Alembic, Flyway, dbmate, Rails, golang-migrate.

What the schema holds already is noted as applied; nothing is run. A `schema_migrations` of another tool gets out of the
way of ours by a new name, with all it says.

Standard: §6.1 Migration Tracking
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema import history
from cloudlab.schema.files import Migration
from cloudlab.schema.locks import Connection
from cloudlab.schema.postgres import PostgresStore

RENAMED = "schema_migrations_before_cloudlab"

# Tool, its table, a column that only this tool's table has, and where its last version stands.
_TOOLS = (
    ("Alembic", "alembic_version", "version_num", "version_num"),
    ("Flyway", "flyway_schema_history", "installed_rank", "version"),
    ("golang-migrate", "schema_migrations", "dirty", "version"),
    ("dbmate or Rails", "schema_migrations", "version", "version"),
)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was noted as applied, and which tool had migrated the schema before, up to which of its versions."""

    versions: list[str]
    tool: str = ""
    tool_version: str = ""


async def adopt(store: PostgresStore, files: Sequence[Migration], *, to: int, dry_run: bool = False) -> Adopted:
    """Note every migration up to and including version `to` as applied, in one transaction, and run none.

    Raises:
        MigrationError: There is a history of ours already, or no version `to`.
        TimedOut: Another runner works on this database.
    """
    plan = history.plan_up(files, history.compare(files, []), to)
    async with store.exclusive():
        conn, schema = store.connection, store.schema
        tool, version, table = await _earlier(conn, schema)
        if not tool and await store.entries():
            raise MigrationError(f"{store.where} has a history already", hint="See `cloudlab migrate status`.")
        if not dry_run:
            async with conn.transaction():
                if table == "schema_migrations":
                    rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
                    await conn.execute(rename.format(sql.Identifier(schema, table), sql.Identifier(RENAMED)))
                await store.prepare()
                for migration in plan:
                    await store.record(migration)
    return Adopted([migration.version for migration in plan], tool, version)


async def _earlier(conn: Connection, schema: str) -> tuple[str, str, str]:
    """Return the tool that migrated a schema before, its last version and its table; empty when there is none."""
    for tool, table, column, version in _TOOLS:
        rows = await conn.execute(
            """
            SELECT /* adopting.earlier */ c.oid FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %s
            WHERE c.oid = to_regclass(%s)
              AND NOT EXISTS (SELECT FROM pg_attribute AS b WHERE b.attrelid = c.oid AND b.attname = 'checksum'
                              AND c.relname = 'schema_migrations')
            """,
            [column, sql.Identifier(schema, table).as_string(conn)],
        )
        if await rows.fetchone():
            query = sql.SQL("SELECT max({})::text FROM {}").format(
                sql.Identifier(version), sql.Identifier(schema, table)
            )
            row = await (await conn.execute(query)).fetchone()
            return tool, str(row[0]) if row and row[0] is not None else "none", table
    return "", "", ""
