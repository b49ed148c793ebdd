"""Renaming and dropping tables, and values of enums.

Standard: §6.2 Schema Changes
"""

from dataclasses import dataclass
from typing import ClassVar

from psycopg import sql

from cloudlab.errors import MigrationError, NotFound
from cloudlab.schema.online_catalog import Table, find_columns, find_table, lines
from cloudlab.schema.online_columns import refuse_views
from cloudlab.schema.online_steps import Kind, Lock, Phase, Place, Step, compose, names


@dataclass(frozen=True, slots=True)
class AddEnumValue:
    """Add a value to an enum. It cannot be taken back: PostgreSQL does not drop values.

    Standard: §6.2 Zero-Downtime Migrations
    """

    NAME: ClassVar[str] = "add_enum_value"
    type: str
    value: str
    before: str = ""
    after: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return the step; none when the value is there. NotFound when there is no such enum."""
        found = await lines(
            place,
            """
            SELECT /* online_tables.plan */ e.enumlabel FROM pg_type AS t
            JOIN pg_namespace AS n ON n.oid = t.typnamespace JOIN pg_enum AS e ON e.enumtypid = t.oid
            WHERE n.nspname = %s AND t.typname = %s
            """,
            place.schema,
            self.type,
        )
        if not found:
            raise NotFound(f"there is no enum {place.schema}.{self.type}", hint="")
        if self.value in found:
            return []
        beside = sql.SQL("")
        if self.before or self.after:
            word = sql.SQL(" BEFORE " if self.before else " AFTER ")
            beside = word + sql.Literal(self.before or self.after)
        statement = compose(
            "ALTER TYPE {type} ADD VALUE IF NOT EXISTS {value}{beside}",
            type=sql.Identifier(place.schema, self.type),
            value=sql.Literal(self.value),
            beside=beside,
        )
        return [Step(f"add {self.value} to {self.type}", (statement,), Kind.ALONE)]


@dataclass(frozen=True, slots=True)
class RenameTable:
    """Rename a table in two phases: a view of the new name shows it until contract gives it that name.

    The view is updatable and runs with the rights of who asks (security_invoker), so policies hold.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "rename_table"
    table: str
    to: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when only the new name exists."""
        kinds = {name: await _kind(place, name) for name in (self.table, self.to)}
        if kinds[self.to] in {"r", "p"} and not kinds[self.table]:
            return []
        table = await find_table(place, self.table)
        if kinds[self.to]:
            raise MigrationError(f"{place.schema}.{self.to} exists already", hint="Choose another name.")
        view = sql.Identifier(place.schema, self.to)
        columns = tuple(column.name for column in await find_columns(place, table))
        make = compose(
            "CREATE VIEW {view} WITH (security_invoker = true) AS SELECT {columns} FROM {table}",
            view=view,
            columns=names(columns),
            table=table.id,
        )
        drop = compose("DROP VIEW IF EXISTS {view}", view=view)
        rename = compose("ALTER TABLE {table} RENAME TO {to}", table=table.id, to=sql.Identifier(self.to))
        lock = (Lock(view.as_string(None)), table.exclusive())
        return [
            Step(
                f"show {self.table} as {self.to}",
                (make, *await grants(place, table, view.as_string(None))),
                says="ACCESS SHARE",
                undo=(drop,),
                undo_locks=lock[:1],
            ),
            Step(f"rename {self.table} to {self.to}", (drop, rename), locks=lock, phase=Phase.CONTRACT),
        ]


async def _kind(place: Place, name: str) -> str:
    found = await lines(
        place,
        "SELECT /* online_tables.kind */ c.relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        place.schema,
        name,
    )
    return found[0] if found else ""


async def grants(place: Place, table: Table, on: str) -> list[str]:
    """Return the GRANTs that give others on `on` (quoted) what they have on a table, its columns included."""
    return await lines(
        place,
        """
        SELECT /* online_tables.grants */ format('GRANT %%s ON %%s TO %%s%%s', x.privilege_type, %(on)s::text,
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,
            CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_class AS c, aclexplode(c.relacl) AS x
        WHERE c.oid = %(table)s AND x.grantee <> c.relowner
        UNION ALL
        SELECT format('GRANT %%s (%%I) ON %%s TO %%s%%s', x.privilege_type, a.attname, %(on)s::text,
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,
            CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped,
            aclexplode(a.attacl) AS x
        WHERE c.oid = %(table)s AND x.grantee <> c.relowner
        ORDER BY 1
        """,
        table=table.oid,
        on=on,
    )


@dataclass(frozen=True, slots=True)
class DropTable:
    """Drop a table, its foreign keys one by one before it, so that no two tables are locked for long; contract only.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "drop_table"
    table: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when there is no such table. MigrationError when others refer to it."""
        if not await _kind(place, self.table):
            return []
        table = await find_table(place, self.table)
        await refuse_views(place, table)
        referring = await lines(
            place,
            "SELECT /* online_tables.plan */ conrelid::regclass FROM pg_constraint"
            " WHERE contype = 'f' AND confrelid = %(table)s AND conrelid <> %(table)s AND conparentid = 0",
            table=table.oid,
        )
        if referring:
            raise MigrationError(
                f"{', '.join(referring)} refer to {table.text}", hint="Drop these foreign keys, or these tables, first."
            )
        steps = [
            Step(f"drop {name}", (drop,), locks=(table.exclusive(), Lock(parent)), phase=Phase.CONTRACT)
            for name, drop, parent in await outgoing_drops(place, table)
        ]
        drop = compose("DROP TABLE {table}", table=table.id)
        return [*steps, Step(f"drop {self.table}", (drop,), locks=(table.exclusive(),), phase=Phase.CONTRACT)]


async def outgoing_drops(place: Place, table: Table) -> list[tuple[str, str, str]]:
    """Return of each foreign key of a table to another: its name, the statement that drops it, and that other table."""
    rows = await place.conn.execute(
        """
        SELECT /* online_tables.outgoing_drops */ conname,
            format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I', conrelid::regclass, conname),
            confrelid::regclass::text
        FROM pg_constraint
        WHERE contype = 'f' AND conrelid = %(table)s AND confrelid <> %(table)s AND conparentid = 0
        ORDER BY conname
        """,
        {"table": table.oid},
    )
    return [(str(row[0]), str(row[1]), str(row[2])) for row in await rows.fetchall()]
