"""Move columns of a table into a table of their own; between the phases code may use either place.

Triggers on both write each change to the other. A setting of the transaction tells them which of the two began.

Standard: §6.2 Schema Changes
"""

from dataclasses import dataclass
from typing import ClassVar, LiteralString

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.online_catalog import Column, Table, find_column, find_columns, find_table, lines, primary_key
from cloudlab.schema.online_columns import refuse_views
from cloudlab.schema.online_steps import Kind, Lock, Phase, Place, Step, compose, fitting, names, raw
from cloudlab.schema.online_tables import grants

_FROM_WHOLE: LiteralString = """
BEGIN
    IF current_setting('cloudlab.mirroring', true) = 'yes' THEN RETURN NULL; END IF;
    PERFORM set_config('cloudlab.mirroring', 'yes', true);
    IF ROW({new_columns}) IS NULL THEN
        DELETE FROM {part} AS p WHERE ({p_key}) = ({new_key});
    ELSE
        INSERT INTO {part} AS p ({key}, {columns}) VALUES ({new_key}, {new_columns})
        ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW({excluded})
        WHERE ROW({p_columns}) IS DISTINCT FROM ROW({excluded});
    END IF;
    PERFORM set_config('cloudlab.mirroring', '', true);
    RETURN NULL;
END
"""
_FROM_PART: LiteralString = """
BEGIN
    IF current_setting('cloudlab.mirroring', true) = 'yes' THEN RETURN NEW; END IF;
    PERFORM set_config('cloudlab.mirroring', 'yes', true);
    IF TG_WHEN = 'BEFORE' THEN
        -- New code inserts what the old table's own row has brought here before.
        DELETE FROM {part} AS p WHERE ({p_key}) = ({new_key});
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE {whole} AS w SET ({columns}) = ROW({nulls}) WHERE ({w_key}) = ({old_key});
    ELSE
        UPDATE {whole} AS w SET ({columns}) = ROW({new_columns}) WHERE ({w_key}) = ({new_key});
    END IF;
    PERFORM set_config('cloudlab.mirroring', '', true);
    RETURN NEW;
END
"""
_COPY: LiteralString = """
INSERT INTO {part} ({key}, {columns}) SELECT {r_key}, {r_columns} FROM (
    SELECT * FROM ONLY {whole} WHERE ctid >= @first@ AND ctid < @last@ FOR SHARE
) AS r WHERE NOT (ROW({r_columns}) IS NULL) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class SplitTable:
    """Move columns into another table with the same primary key; a row whose columns are all NULL has none there.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "split_table"
    table: str
    into: str
    columns: tuple[str, ...]

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the columns are gone and the other table is there."""
        table = await find_table(place, self.table)
        here = {one.name for one in await find_columns(place, table)}
        name = sql.Identifier(place.schema, self.into).as_string()
        there = await lines(place, "SELECT /* online_split.plan */ to_regclass(%s)", name)
        if there and not here & set(self.columns):
            return []
        if there:
            raise MigrationError(f"{place.schema}.{self.into} exists already", hint="Choose another name.")
        await self._refuse(place, table)
        key = await primary_key(place, table)
        found = [await find_column(place, table, name) for name in (*key, *self.columns)]
        split = _Split(table, sql.Identifier(place.schema, self.into), self.into, key, self.columns, found)
        return split.steps(await grants(place, table, split.part.as_string(None)))

    async def _refuse(self, place: Place, table: Table) -> None:
        secured = await lines(
            place,
            "SELECT /* online_split.refuse */ relname FROM pg_class WHERE oid = %s AND relrowsecurity",
            table.oid,
        )
        if secured or table.partitioned:
            raise MigrationError(
                f"{table.text} has row security or partitions, which {self.into} would not have",
                hint="Make that table and its policies yourself, then fill it.",
            )
        for name in self.columns:
            await refuse_views(place, table, name)


@dataclass(frozen=True, slots=True)
class _Split:
    """All that the steps are made of; `found` are the columns of the key, then those that move."""

    table: Table
    part: sql.Identifier
    into: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    found: list[Column]

    def steps(self, granted: list[str]) -> list[Step]:
        part = Lock(self.part.as_string(None))
        parts = self._parts()
        both = (self.table.exclusive(), part)
        refer = compose(
            "ALTER TABLE {part} ADD CONSTRAINT {fk} FOREIGN KEY ({key}) REFERENCES {whole} ON DELETE CASCADE", **parts
        )
        return [
            Step(
                f"make {self.into}",
                (*self._created(), *granted),
                undo=(compose("DROP TABLE {part}", **parts),),
                undo_locks=both,
            ),
            Step(f"let it refer to {self.table.name}", (refer,), locks=(self.table.against_writers(),)),
            Step(
                "write each change to both", self._linked(), locks=both, undo=self._unlinked(kept=True), undo_locks=both
            ),
            self._copied(),
            Step(
                f"drop the columns from {self.table.name}",
                (*self._unlinked(kept=False), *self._each("ALTER TABLE {whole} DROP COLUMN {column}", self.columns)),
                locks=both,
                phase=Phase.CONTRACT,
            ),
        ]

    def _parts(self) -> dict[str, sql.Composable]:
        keyed = {f"{prefix}_key": _prefixed(prefix, self.key) for prefix in ("p", "w", "new", "old", "r")}
        moved = {f"{prefix}_columns": _prefixed(prefix, self.columns) for prefix in ("p", "new", "r")}
        made: dict[str, sql.Composable] = {
            "whole": self.table.id,
            "part": self.part,
            "key": names(self.key),
            "columns": names(self.columns),
            "excluded": _prefixed("excluded", self.columns),
            "nulls": sql.SQL(", ").join([sql.SQL("NULL")] * len(self.columns)),
            "fk": sql.Identifier(fitting("fk", self.into, *self.key)),
            "pk": sql.Identifier(fitting("pk", self.into)),
            "whole_function": self._function("whole"),
            "part_function": self._function("part"),
        }
        return made | keyed | moved

    def _function(self, which: str) -> sql.Identifier:
        return sql.Identifier(self.table.schema, fitting("online", self.table.name, self.into, which))

    def _each(self, template: LiteralString, columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(compose(template, whole=self.table.id, column=sql.Identifier(name)) for name in columns)

    def _created(self) -> list[str]:
        columns: list[sql.Composable] = []
        for one in self.found:
            default = f" DEFAULT {one.default}" if one.default and one.name in self.columns else ""
            collation = f" COLLATE {one.collation}" if one.collation else ""
            tail = raw(f" {one.type}{collation}{default}{' NOT NULL' if one.not_null else ''}")
            columns.append(sql.SQL("{}{}").format(sql.Identifier(one.name), tail))
        create = compose(
            "CREATE TABLE {part} ({made}, CONSTRAINT {pk} PRIMARY KEY ({key}))",
            **self._parts(),
            made=sql.SQL(", ").join(columns),
        )
        comments = [
            compose(
                "COMMENT ON COLUMN {part}.{column} IS {text}",
                part=self.part,
                column=sql.Identifier(one.name),
                text=sql.Literal(one.comment),
            )
            for one in self.found
            if one.comment
        ]
        return [create, *comments]

    def _linked(self) -> tuple[str, ...]:
        parts = self._parts()
        whole, part = compose(_FROM_WHOLE, **parts), compose(_FROM_PART, **parts)
        required = tuple(one.name for one in self.found if one.not_null and one.name in self.columns)
        head: LiteralString = (
            "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS {body}"
        )
        return (
            # Code that knows the other table leaves the columns out here.
            *self._each("ALTER TABLE {whole} ALTER COLUMN {column} DROP NOT NULL", required),
            compose(head, function=parts["whole_function"], body=sql.Literal(whole)),
            compose(head, function=parts["part_function"], body=sql.Literal(part)),
            compose(
                "CREATE TRIGGER online_split AFTER INSERT OR UPDATE ON {whole}"
                " FOR EACH ROW EXECUTE FUNCTION {whole_function}()",
                **parts,
            ),
            compose(
                "CREATE TRIGGER online_before BEFORE INSERT ON {part} FOR EACH ROW EXECUTE FUNCTION {part_function}()",
                **parts,
            ),
            compose(
                "CREATE TRIGGER online_split AFTER INSERT OR UPDATE OR DELETE ON {part}"
                " FOR EACH ROW EXECUTE FUNCTION {part_function}()",
                **parts,
            ),
        )

    def _unlinked(self, *, kept: bool) -> tuple[str, ...]:
        parts = self._parts()
        required = tuple(one.name for one in self.found if one.not_null and one.name in self.columns)
        return (
            compose("DROP TRIGGER online_split ON {whole}", **parts),
            compose("DROP TRIGGER online_before ON {part}", **parts),
            compose("DROP TRIGGER online_split ON {part}", **parts),
            compose("DROP FUNCTION {whole_function}()", **parts),
            compose("DROP FUNCTION {part_function}()", **parts),
            *(self._each("ALTER TABLE {whole} ALTER COLUMN {column} SET NOT NULL", required) if kept else ()),
        )

    def _copied(self) -> Step:
        parts = self._parts()
        copy = compose(_COPY, **parts).replace("%", "%%")
        copy = copy.replace("@first@", "%(first)s::tid").replace("@last@", "%(last)s::tid")
        proof = compose(
            "SELECT count(*) FROM {whole} AS r LEFT JOIN {part} AS p ON ({p_key}) = ({r_key})"
            " WHERE ROW({r_columns}) IS DISTINCT FROM ROW({p_columns})",
            **parts,
        )
        # The triggers must not take these rows for new ones.
        quiet = "SELECT set_config('cloudlab.mirroring', 'yes', true)"
        says = "ROW SHARE, and the rows of a batch against updates for about 10 ms"
        return Step("copy the rows", (quiet, copy), Kind.BATCHES, says=says, walks=self.table.text, proof=proof)


def _prefixed(prefix: str, columns: tuple[str, ...]) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(raw(prefix), sql.Identifier(name)) for name in columns)
