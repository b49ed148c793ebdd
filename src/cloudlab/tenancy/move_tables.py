"""What a tenant consists of: every table that has a `tenant_id`, read from the catalog.

A table that a migration adds tomorrow moves with the tenant unasked; one whose rows cannot be told apart by tenant and
key is refused before anything is begun.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from cloudlab.errors import Conflict
from cloudlab.postgres.wire import Connection
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA

EVENTS = "events"
# What a shard knows for itself; of parked events there must be none; the archive is read with the events.
_STAYS = frozenset(("tenant_local", "tenant_transfers", "parked_events", "events_archive"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalog has it; a generated one is computed again where it arrives."""

    name: str
    type_name: str
    is_generated: bool


@dataclass(frozen=True, slots=True)
class Shifts:
    """What is added to positions of events on their way: to the source's own, and to those it had imported."""

    native: int
    imported: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the tenant: its columns in their order, and the key that tells the tenant's rows apart."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    key_is_identity: bool

    @property
    def is_events(self) -> bool:
        """Whether its rows get other positions where they arrive."""
        return (self.schema, self.name) == (PLATFORM_SCHEMA, EVENTS)

    @property
    def is_platform(self) -> bool:
        """Whether it is one of the platform's own, of which each shard has one for all placements."""
        return self.schema == PLATFORM_SCHEMA

    @property
    def written(self) -> sql.Composed:
        """The columns that are written, as a list of names."""
        return sql.SQL(", ").join(sql.Identifier(c.name) for c in self.columns if not c.is_generated)

    @property
    def key_names(self) -> sql.Composed:
        """The columns of the key, as a list of names."""
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.key)

    def read(self, shifts: Shifts, *, written_only: bool = False) -> sql.Composed:
        """Return the columns as they are to arrive, as a list of expressions."""
        chosen = [column for column in self.columns if not (written_only and column.is_generated)]
        return sql.SQL(", ").join(self._expression(column, shifts) for column in chosen)

    def _expression(self, column: Column, shifts: Shifts) -> sql.Composable:
        name = sql.Identifier(column.name)
        if not (self.is_events and column.name == "event_position"):
            return name
        return sql.SQL("{0} + CASE WHEN {0} > 0 THEN {1}::bigint ELSE {2}::bigint END").format(
            name, sql.Literal(shifts.native), sql.Literal(shifts.imported)
        )

    def source(self) -> sql.Composed:
        """Return where its rows are read: those of the events in the archive too."""
        table = sql.Identifier(self.schema, self.name)
        if not self.is_events:
            return sql.SQL("{} AS t").format(table)
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)
        return sql.SQL("(SELECT {0} FROM {1} UNION ALL SELECT {0} FROM {2}) AS t").format(
            columns, table, sql.Identifier(self.schema, "events_archive")
        )

    def target(self, schema: str) -> sql.Identifier:
        """Return its name at the target, where the tenant's own tables are in another schema."""
        return sql.Identifier(self.schema if self.is_platform else schema, self.name)


async def discover(conn: Connection, schema: str, *, platform: bool) -> list[Table]:
    """Return the tables of a tenant that lives in a schema, and the platform's own with rows of tenants.

    Raises:
        Conflict: The rows of a table cannot be told apart by tenant and key, or a schema nobody knows holds tenants.
    """
    schemas = [schema, PLATFORM_SCHEMA] if platform else [schema]
    found = await conn.execute(
        """
        SELECT /* move_tables.discover */ n.nspname, c.relname,
               (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT array_agg(a.attgenerated <> '' ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               k.names, coalesce(k.is_identity, false)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
        LEFT JOIN LATERAL (
            SELECT array_agg(a.attname::text ORDER BY u.place) AS names,
                   bool_or(i.indisprimary AND c.relreplident = 'd' OR i.indisreplident) AS is_identity
            FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (attnum, place)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
            GROUP BY i.indexrelid, i.indisprimary
            HAVING bool_and(a.attnotnull) AND bool_or(a.attname = 'tenant_id')
            ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) AS k ON true
        WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        ORDER BY n.nspname, c.relname
        """,
        [schemas],
    )
    tables = [_table(*row) for row in await found.fetchall() if row[0] != PLATFORM_SCHEMA or row[1] not in _STAYS]
    await _refuse_unknown(conn)
    return tables


def _table(
    schema: str,
    name: str,
    names: Sequence[str],
    types: Sequence[str],
    generated: Sequence[bool],
    key: Sequence[str] | None,
    is_identity: bool,
) -> Table:
    columns = {each[0]: Column(*each) for each in zip(names, types, generated, strict=True)}
    insert_only = (schema, name) == (PLATFORM_SCHEMA, EVENTS)
    if key is None or not (is_identity or insert_only):
        raise Conflict(
            f"{schema}.{name} has a tenant_id that is not in its primary key: its rows cannot be moved",
            hint="Put tenant_id first in its primary key, as every table of a tenant has it.",
        )
    keys = tuple(columns[each] for each in key if each != "tenant_id")
    return Table(schema, name, tuple(columns.values()), keys, is_identity)


async def _refuse_unknown(conn: Connection) -> None:
    """Refuse while a schema that belongs to nobody has a table with rows of tenants."""
    found = await conn.execute(
        """
        SELECT /* move_tables.refuse_unknown */ format('%%I.%%I', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND n.nspname <> ALL (%s) AND n.nspname !~ '^(pg_|tenant[0-9]{0,9}_)' AND n.nspname !~ '__[0-9a-f]{8}(_old)?$'
          AND NOT EXISTS (SELECT FROM cloudlab.tenant_local l WHERE l.schema_name = n.nspname)
        LIMIT 1
        """,
        [[PLATFORM_SCHEMA, SHOP_SCHEMA]],
    )
    row = await found.fetchone()
    if row:
        raise Conflict(
            f"{row[0]} has rows of tenants, and a move does not know it",
            hint="Keep tables of tenants in the schema of their tenant or of the platform.",
        )


def compare(source: Sequence[Table], target: Sequence[Table]) -> None:
    """Refuse unless both sides have the same tables with the same columns.

    Raises:
        Conflict: They differ: one of the two has migrations that the other has not.
    """
    ours, theirs = ({(t.is_platform, t.name): _shape(t) for t in tables} for tables in (source, target))
    for place in sorted(ours.keys() | theirs.keys()):
        if ours.get(place) != theirs.get(place):
            raise Conflict(
                f"table {place[1]} is not the same on both shards", hint="Run `cloudlab migrate up` for both first."
            )


def _shape(table: Table) -> list[tuple[str, str]]:
    """Types by their own names: those of a tenant's schema are its own, and yet the same."""
    return [(column.name, column.type_name.rpartition(".")[2]) for column in table.columns]
