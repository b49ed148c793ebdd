"""Indexes, made and dropped while the table is read and written.

Standard: §6.2 Adding Indexes
"""

from dataclasses import dataclass
from typing import ClassVar, LiteralString

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.online_catalog import Table, find_table, index_standing, lines
from cloudlab.schema.online_steps import Kind, Lock, Place, Step, compose, fitting, names, raw

_WAITS = "SHARE UPDATE EXCLUSIVE; reads and writes go on, it waits for old transactions"


@dataclass(frozen=True, slots=True)
class AddIndex:
    """Make an index concurrently; on a partitioned table one per partition, attached to one on the whole.

    Attributes:
        columns: Names; or `expressions`, as they stand between the brackets of CREATE INDEX.
        name: By default idx_TABLE_COLUMNS.
        where: The condition of a partial index.

    Standard: §6.2 Adding Indexes
    """

    NAME: ClassVar[str] = "add_index"
    table: str
    columns: tuple[str, ...] = ()
    name: str = ""
    unique: bool = False
    method: str = "btree"
    expressions: str = ""
    include: tuple[str, ...] = ()
    where: str = ""

    @property
    def index(self) -> str:
        """The name it gets."""
        return self.name or fitting("idx", self.table, *(self.columns or ("expression",)))

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when a valid index of this name is there."""
        table = await find_table(place, self.table)
        if not self.columns and not self.expressions:
            raise MigrationError("add_index: of what?", hint="Give columns or expressions.")
        standing = await index_standing(place, table.schema, self.index)
        if standing == table.name:
            return []
        if standing not in {"", "invalid"}:
            raise MigrationError(f"the index {self.index} is on {standing}", hint="Give another name.")
        if not table.partitioned:
            return [self.on(table, self.index)]
        return self._partitioned(table)

    def on(self, table: Table, index: str) -> Step:
        """Return the step that makes the index on one table that holds rows."""
        full = sql.Identifier(table.schema, index)
        return Step(
            f"make {index} on {table.name}",
            (self._create(table, index, "CREATE {unique}INDEX CONCURRENTLY {index} ON {table}"),),
            Kind.ALONE,
            says=_WAITS,
            undo=(compose("DROP INDEX CONCURRENTLY IF EXISTS {index}", index=full),),
            index=full.as_string(None),
        )

    def _create(self, table: Table, index: str, head: LiteralString) -> str:
        tail = compose(
            " USING {method} ({what}){include}{where}",
            method=sql.Identifier(self.method),
            what=raw(self.expressions) if self.expressions else names(self.columns),
            include=sql.SQL(" INCLUDE ({})").format(names(self.include)) if self.include else sql.SQL(""),
            where=sql.SQL(" WHERE {}").format(raw(self.where)) if self.where else sql.SQL(""),
        )
        unique = sql.SQL("UNIQUE " if self.unique else "")
        return compose(head, unique=unique, index=sql.Identifier(index), table=table.id) + tail

    def _partitioned(self, table: Table) -> list[Step]:
        whole = sql.Identifier(table.schema, self.index)
        parts = [(part, fitting(self.index, part.name)) for part in table.partitions]
        only = Lock(f"ONLY {table.text}", "SHARE")
        return [
            *(self.on(part, index) for part, index in parts),
            Step(
                f"make {self.index} on {table.name} itself",
                (self._create(table, self.index, "CREATE {unique}INDEX {index} ON ONLY {table}"),),
                locks=(only,),
                undo=(compose("DROP INDEX IF EXISTS {index}", index=whole),),
                undo_locks=(table.exclusive(),),
            ),
            *(
                Step(
                    f"attach {index}",
                    (
                        compose(
                            "ALTER INDEX {whole} ATTACH PARTITION {part}",
                            whole=whole,
                            part=sql.Identifier(part.schema, index),
                        ),
                    ),
                    locks=(Lock(part.text),),
                )
                for part, index in parts
            ),
        ]


@dataclass(frozen=True, slots=True)
class DropIndex:
    """Drop an index concurrently; that of a partitioned table in a moment, because PostgreSQL cannot otherwise.

    Standard: §6.2 Adding Indexes
    """

    NAME: ClassVar[str] = "drop_index"
    index: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the step; none when there is no such index."""
        found = await place.conn.execute(
            """
            SELECT /* online_indexes.plan */ t.relname, c.relkind::text, pg_get_indexdef(c.oid), k.conname
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_index AS i ON i.indexrelid = c.oid JOIN pg_class AS t ON t.oid = i.indrelid
            LEFT JOIN pg_constraint AS k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
            WHERE n.nspname = %s AND c.relname = %s
            """,
            [place.schema, self.index],
        )
        row = await found.fetchone()
        if not row:
            return []
        if row[3]:
            raise MigrationError(f"{self.index} belongs to the constraint {row[3]}", hint="Drop that instead.")
        full = sql.Identifier(place.schema, self.index)
        table = await find_table(place, str(row[0]))
        if row[1] == "I":
            drop = compose("DROP INDEX IF EXISTS {index}", index=full)
            return [Step(f"drop {self.index}", (drop,), locks=(table.exclusive(),))]
        again = str(row[2]).replace("INDEX ", "INDEX CONCURRENTLY ", 1)
        drop = compose("DROP INDEX CONCURRENTLY IF EXISTS {index}", index=full)
        return [Step(f"drop {self.index}", (drop,), Kind.ALONE, says=_WAITS, undo=(again,), index=full.as_string(None))]


async def indexes_with(place: Place, table: Table, column: str) -> list[str]:
    """Return the names of the indexes of a table in which a column stands."""
    return await lines(
        place,
        """
        SELECT /* online_indexes.indexes_with */ c.relname FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = %s AND a.attname = %s ORDER BY c.relname
        """,
        table.oid,
        column,
    )


async def covering_index(place: Place, table: Table, columns: tuple[str, ...]) -> bool:
    """Whether a valid index of the table begins with these columns, in any order."""
    found = await lines(
        place,
        """
        SELECT /* online_indexes.covering_index */ i.indexrelid FROM pg_index AS i
        WHERE i.indrelid = %(table)s AND i.indisvalid AND i.indpred IS NULL
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute AS a
                 WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:%(last)s]))
                = (SELECT array_agg(c ORDER BY c) FROM unnest(%(columns)s::text[]) AS c)
        """,
        table=table.oid,
        last=len(columns) - 1,
        columns=list(columns),
    )
    return bool(found)
