"""Columns: added, filled, made NOT NULL, renamed and dropped while old and new code use the table.

Standard: §6.2 Adding Columns
"""

from dataclasses import dataclass
from typing import ClassVar

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.online_catalog import Column, Table, find_column, find_columns, find_table, lines
from cloudlab.schema.online_constraints import made_not_null
from cloudlab.schema.online_steps import Kind, Phase, Place, Step, compose, fitting, raw


@dataclass(frozen=True, slots=True)
class Backfill:
    """Fill a column of the rows that lack it, in batches over the blocks of the table, and prove that none is left.

    Attributes:
        value: An SQL expression over the row.
        where: Which rows lack it; a row that was filled must not fit. By default: the column is NULL.

    Standard: §6.2 Adding Columns
    """

    NAME: ClassVar[str] = "backfill"
    table: str
    column: str
    value: str
    where: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return one walk for each partition."""
        table = await find_table(place, self.table)
        await find_column(place, table, self.column)
        where = raw(self.where) if self.where else sql.SQL("{} IS NULL").format(sql.Identifier(self.column))
        return filled(table, self.column, raw(self.value), where)


def filled(table: Table, column: str, value: sql.Composable, where: sql.Composable) -> list[Step]:
    """Return the walks that give a column its value where it is lacking."""
    return [_walk(part, column, value, where) for part in table.leaves]


def _walk(part: Table, column: str, value: sql.Composable, where: sql.Composable) -> Step:
    parts = {"table": part.id, "column": sql.Identifier(column), "value": value, "where": where}
    update = compose("UPDATE ONLY {table} SET {column} = {value} WHERE ({where})", **parts).replace("%", "%%")
    bounds = " AND ctid >= %(first)s::tid AND ctid < %(last)s::tid"
    return Step(
        f"fill {column} of {part.name}",
        (update + bounds,),
        Kind.BATCHES,
        says="ROW EXCLUSIVE, and the rows of a batch for about 10 ms",
        walks=part.text,
        proof=compose("SELECT count(*) FROM ONLY {table} WHERE ({where})", **parts),
    )


@dataclass(frozen=True, slots=True)
class AddColumn:
    """Add a column. A constant default costs nothing; a volatile one is set for new rows, then filled in batches.

    Attributes:
        default: An SQL expression.
        not_null: Needs a default, or a `value`.
        value: What old rows get when that is not the default.

    Standard: §6.2 Adding Columns
    """

    NAME: ClassVar[str] = "add_column"
    table: str
    column: str
    type: str
    default: str = ""
    not_null: bool = False
    value: str = ""
    comment: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the column is there and NOT NULL as wanted."""
        table = await find_table(place, self.table)
        found = [one for one in await find_columns(place, table) if one.name == self.column]
        if found and found[0].not_null >= self.not_null:
            return []
        if found:
            raise MigrationError(f"{table.text} has a column {self.column}", hint="Make it NOT NULL: set_not_null.")
        if self.not_null and not self.default:
            raise MigrationError(
                f"{self.column} cannot be NOT NULL without a default: code that does not know it writes no value",
                hint="Give a default; drop it when all code writes the column.",
            )
        at_once = not self.value and (not self.default or await self._is_metadata(place))
        return [self._added(table, at_once), *([] if at_once else self._later(table))]

    async def _is_metadata(self, place: Place) -> bool:
        """Ask the server itself whether this default needs a rewrite: it keeps a constant beside the table."""
        async with place.conn.transaction(force_rollback=True):
            path = compose("SET LOCAL search_path = {schema}, cloudlab, public", schema=sql.Identifier(place.schema))
            await place.conn.execute(path.encode())
            await place.conn.execute("CREATE TEMPORARY TABLE online_probe (a integer)")
            add = compose(
                "ALTER TABLE pg_temp.online_probe ADD COLUMN b {type} DEFAULT {default}",
                type=raw(self.type),
                default=raw(self.default),
            )
            await place.conn.execute(add.encode())
            return bool(
                await lines(
                    place,
                    "SELECT /* online_columns.is_metadata */ attname FROM pg_catalog.pg_attribute"
                    " WHERE attrelid = 'pg_temp.online_probe'::regclass AND attname = 'b' AND atthasmissing",
                )
            )

    def _added(self, table: Table, at_once: bool) -> Step:
        column = sql.Identifier(self.column)
        default = sql.SQL(" DEFAULT {}").format(raw(self.default)) if self.default else sql.SQL("")
        not_null = sql.SQL(" NOT NULL" if self.not_null and at_once else "")
        parts = {"table": table.id, "column": column, "type": raw(self.type), "default": default, "not_null": not_null}
        if at_once:
            made = [compose("ALTER TABLE {table} ADD COLUMN {column} {type}{default}{not_null}", **parts)]
        else:
            made = [compose("ALTER TABLE {table} ADD COLUMN {column} {type}", **parts)]
            if self.default:
                made.append(compose("ALTER TABLE {table} ALTER COLUMN {column} SET{default}", **parts))
        if self.comment:
            text = sql.Literal(self.comment)
            made.append(compose("COMMENT ON COLUMN {table}.{column} IS {text}", **parts, text=text))
        lock = (table.exclusive(),)
        undo = compose("ALTER TABLE {table} DROP COLUMN IF EXISTS {column}", **parts)
        return Step(f"add {self.column} to {table.name}", tuple(made), locks=lock, undo=(undo,), undo_locks=lock)

    def _later(self, table: Table) -> list[Step]:
        lacking = sql.SQL("{} IS NULL").format(sql.Identifier(self.column))
        steps = filled(table, self.column, raw(self.value or self.default), lacking)
        if self.not_null:
            steps += made_not_null(table, self.column, fitting("chk", self.table, self.column, "not_null"), "")
        return steps


@dataclass(frozen=True, slots=True)
class DropColumn:
    """Drop a column in two phases: expand lets code write without it, contract drops it with its data.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "drop_column"
    table: str
    column: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when there is no such column. MigrationError when views show it."""
        table = await find_table(place, self.table)
        found = [one for one in await find_columns(place, table) if one.name == self.column]
        if not found:
            return []
        await refuse_views(place, table, self.column)
        parts = {"table": table.id, "column": sql.Identifier(self.column)}
        lock = (table.exclusive(),)
        steps: list[Step] = []
        if found[0].not_null and found[0].default is None and not found[0].identity:
            free = compose("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL", **parts)
            # Rows written without it meanwhile are refused here, as the old code would find them.
            back = compose("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", **parts)
            steps.append(Step(f"let {self.column} be left out", (free,), locks=lock, undo=(back,), undo_locks=lock))
        drop = compose("ALTER TABLE {table} DROP COLUMN {column}", **parts)
        return [*steps, Step(f"drop {self.column}", (drop,), locks=lock, phase=Phase.CONTRACT)]


async def refuse_views(place: Place, table: Table, column: str = "") -> None:
    """Raise MigrationError when views show this column, or any of the table."""
    found = await lines(
        place,
        """
        SELECT /* online_columns.refuse_views */ DISTINCT r.ev_class::regclass::text FROM pg_depend AS d
        JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
        LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s AND r.ev_class <> %(table)s
            AND (%(column)s = '' OR a.attname = %(column)s)
        """,
        table=table.oid,
        column=column,
    )
    if found:
        raise MigrationError(
            f"{table.text}{f'.{column}' if column else ''} is shown by {', '.join(found)}",
            hint="Change or drop these views first.",
        )


@dataclass(frozen=True, slots=True)
class RenameColumn:
    """Rename a column in two phases: a twin under the new name is kept equal by a trigger until contract.

    Expand adds the twin and its indexes; both names are read and written. Contract drops the twin and renames the
    column itself, so that its constraints, indexes, views and policies stay as they were.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "rename_column"
    table: str
    column: str
    to: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the column has the new name."""
        table = await find_table(place, self.table)
        columns = {one.name: one for one in await find_columns(place, table)}
        if self.to in columns and self.column not in columns:
            return []
        if self.to in columns:
            raise MigrationError(f"{table.text} has a column {self.to} already", hint="Choose another name.")
        column = await find_column(place, table, self.column)
        if column.generated or column.identity:
            raise MigrationError(f"{self.column} is generated", hint="Its twin could not be written.")
        twin = {"old": sql.Identifier(self.column), "new": sql.Identifier(self.to)}
        differs = sql.SQL("{new} IS DISTINCT FROM {old}").format(**twin)
        return [
            self._twin(table, column),
            *filled(table, self.to, twin["old"], differs),
            *await self._indexes(place, table),
            self._contract(table),
        ]

    def _function(self, table: Table) -> sql.Identifier:
        return sql.Identifier(table.schema, fitting("online", self.table, self.column, "twin"))

    def _drops(self, table: Table) -> tuple[str, ...]:
        parts = {"table": table.id, "new": sql.Identifier(self.to), "function": self._function(table)}
        return (
            compose("DROP TRIGGER IF EXISTS online_twin ON {table}", **parts),
            compose("ALTER TABLE {table} DROP COLUMN IF EXISTS {new}", **parts),
            compose("DROP FUNCTION IF EXISTS {function}()", **parts),
        )

    def _twin(self, table: Table, column: Column) -> Step:
        collation = raw(f" COLLATE {column.collation}" if column.collation else "")
        parts = {
            "table": table.id,
            "old": sql.Identifier(self.column),
            "new": sql.Identifier(self.to),
            "function": self._function(table),
            "type": raw(column.type),
            "collation": collation,
        }
        body = sql.SQL(_TWIN).format(**parts)
        made = (
            compose("ALTER TABLE {table} ADD COLUMN {new} {type}{collation}", **parts),
            compose(
                "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {body}",
                **parts,
                body=sql.Literal(body.as_string(None)),
            ),
            compose(
                "CREATE TRIGGER online_twin BEFORE INSERT OR UPDATE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION {function}()",
                **parts,
            ),
        )
        lock = (table.exclusive(),)
        return Step(f"add {self.to} beside {self.column}", made, locks=lock, undo=self._drops(table), undo_locks=lock)

    async def _indexes(self, place: Place, table: Table) -> list[Step]:
        """Index the twin where the column begins an index, so that queries by the new name are as fast."""
        steps: list[Step] = []
        for part in table.leaves:
            for definition, method in await _led_by(place, part, self.column):
                index = sql.Identifier(part.schema, fitting("online", definition, self.to))
                make = compose(
                    "CREATE INDEX CONCURRENTLY {name} ON {table} USING {method} ({new})",
                    name=sql.Identifier(fitting("online", definition, self.to)),
                    table=part.id,
                    method=sql.Identifier(method),
                    new=sql.Identifier(self.to),
                )
                drop = compose("DROP INDEX CONCURRENTLY IF EXISTS {index}", index=index)
                steps.append(
                    Step(
                        f"index {self.to} as {definition}",
                        (make,),
                        Kind.ALONE,
                        says="SHARE UPDATE EXCLUSIVE; reads and writes go on",
                        undo=(drop,),
                        index=index.as_string(None),
                    )
                )
        return steps

    def _contract(self, table: Table) -> Step:
        rename = compose(
            "ALTER TABLE {table} RENAME COLUMN {old} TO {new}",
            table=table.id,
            old=sql.Identifier(self.column),
            new=sql.Identifier(self.to),
        )
        name = f"rename {self.column} to {self.to}"
        return Step(name, (*self._drops(table), rename), locks=(table.exclusive(),), phase=Phase.CONTRACT)


_TWIN = """
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.{new} IS NULL THEN NEW.{new} := NEW.{old}; ELSE NEW.{old} := NEW.{new}; END IF;
    ELSIF NEW.{new} IS DISTINCT FROM OLD.{new} THEN
        NEW.{old} := NEW.{new};
    ELSE
        NEW.{new} := NEW.{old};
    END IF;
    RETURN NEW;
END
"""


async def _led_by(place: Place, table: Table, column: str) -> list[tuple[str, str]]:
    """Return name and method of the indexes that begin with a column."""
    rows = await place.conn.execute(
        """
        SELECT /* online_columns.led_by */ c.relname, m.amname FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = %s AND a.attname = %s AND i.indisvalid ORDER BY c.relname
        """,
        [table.oid, column],
    )
    return [(str(row[0]), str(row[1])) for row in await rows.fetchall()]
