"""What the catalog says about the table an online operation works on.

Standard: §6.2 Zero-Downtime Migrations
"""

from dataclasses import dataclass, field
from typing import LiteralString

from psycopg import sql
from psycopg.rows import class_row

from cloudlab.errors import MigrationError, NotFound
from cloudlab.schema.online_steps import Lock, Place


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and its partitions when it has any; `text` is its name as the catalog itself quotes it."""

    schema: str
    name: str
    oid: int
    kind: str
    text: str
    partitions: tuple["Table", ...] = field(default=())

    @property
    def id(self) -> sql.Identifier:
        """Its quoted name, with the schema."""
        return sql.Identifier(self.schema, self.name)

    @property
    def partitioned(self) -> bool:
        """Whether it holds its rows in partitions."""
        return self.kind == "p"

    @property
    def leaves(self) -> tuple["Table", ...]:
        """The tables that hold the rows."""
        return self.partitions if self.partitioned else (self,)

    def exclusive(self) -> Lock:
        """The lock that keeps even readers out."""
        return Lock(self.text)

    def against_writers(self) -> Lock:
        """The lock of foreign keys and triggers: readers go on."""
        return Lock(self.text, "SHARE ROW EXCLUSIVE")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as DDL would write it; `generated` and `identity` are the letters of the catalog, empty for neither."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: str
    identity: str
    collation: str | None
    comment: str | None


async def find_table(place: Place, name: str) -> Table:
    """Return a table with its partitions.

    Raises:
        NotFound: There is none of this name in the schema.
        MigrationError: It is no table, or its partitions have partitions.
    """
    rows = await place.conn.execute(
        """
        SELECT /* online_catalog.find_table */ c.oid, c.relkind::text, format('%%I.%%I', n.nspname, c.relname)
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
        """,
        [place.schema, name],
    )
    row = await rows.fetchone()
    if not row:
        raise NotFound(f"there is no table {place.schema}.{name}", hint="Name it without quotes, as the catalog does.")
    if row[1] not in {"r", "p"}:
        raise MigrationError(f"{place.schema}.{name} is not a table", hint="Views and foreign tables are not changed.")
    return Table(place.schema, name, int(row[0]), str(row[1]), str(row[2]), await _partitions(place, int(row[0])))


async def _partitions(place: Place, oid: int) -> tuple[Table, ...]:
    rows = await place.conn.execute(
        """
        SELECT /* online_catalog.partitions */ n.nspname, c.relname, c.oid, c.relkind::text,
            format('%%I.%%I', n.nspname, c.relname)
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.inhparent = %s AND c.relispartition ORDER BY c.relname
        """,
        [oid],
    )
    found = tuple(Table(str(r[0]), str(r[1]), int(r[2]), str(r[3]), str(r[4])) for r in await rows.fetchall())
    if deep := [one.name for one in found if one.partitioned]:
        raise MigrationError(f"{deep[0]} has partitions of its own", hint="Do it for each of them, then the parent.")
    return found


async def find_columns(place: Place, table: Table) -> list[Column]:
    """Return the columns in their order."""
    async with place.conn.cursor(row_factory=class_row(Column)) as cursor:
        await cursor.execute(
            """
            SELECT /* online_catalog.find_columns */ a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
                a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS default,
                a.attgenerated::text AS generated, a.attidentity::text AS identity,
                CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END AS collation,
                col_description(a.attrelid, a.attnum) AS comment
            FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """,
            [table.oid],
        )
        return await cursor.fetchall()


async def find_column(place: Place, table: Table, name: str) -> Column:
    """Return one column; NotFound names those there are."""
    columns = await find_columns(place, table)
    for column in columns:
        if column.name == name:
            return column
    known = ", ".join(column.name for column in columns)
    raise NotFound(f"{table.text} has no column {name}; it has {known}", hint="")


async def lines(place: Place, query: LiteralString, *arguments: object, **named: object) -> list[str]:
    """Return the first column of what a query of the catalog finds, as text; NULLs are left out."""
    rows = await place.conn.execute(query, named or list(arguments))
    return [str(row[0]) for row in await rows.fetchall() if row[0] is not None]


async def constraint_standing(place: Place, table: Table, name: str) -> str:
    """Return `valid`, `not valid`, or nothing when the table has no constraint of this name."""
    found = await lines(
        place,
        "SELECT /* online_catalog.constraint_standing */ CASE WHEN convalidated THEN 'valid' ELSE 'not valid' END"
        " FROM pg_constraint WHERE conrelid = %s AND conname = %s",
        table.oid,
        name,
    )
    return found[0] if found else ""


async def index_standing(place: Place, schema: str, name: str) -> str:
    """Return the table of a valid index, `invalid` for one that is not, nothing when there is none."""
    found = await lines(
        place,
        """
        SELECT /* online_catalog.index_standing */ CASE WHEN i.indisvalid THEN t.relname ELSE 'invalid' END
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_index AS i ON i.indexrelid = c.oid JOIN pg_class AS t ON t.oid = i.indrelid
        WHERE n.nspname = %s AND c.relname = %s
        """,
        schema,
        name,
    )
    return found[0] if found else ""


async def primary_key(place: Place, table: Table) -> tuple[str, ...]:
    """Return the columns of the primary key in their order; MigrationError when there is none."""
    found = await lines(
        place,
        """
        SELECT /* online_catalog.primary_key */ a.attname FROM pg_constraint AS k
        CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
        WHERE k.conrelid = %s AND k.contype = 'p' ORDER BY u.place
        """,
        table.oid,
    )
    if not found:
        raise MigrationError(f"{table.text} has no primary key", hint="Its copies could not be told apart; add one.")
    return tuple(found)
