"""Constraints: added as not valid in a moment, checked while the table is read and written, then in force for all rows.

Standard: §6.2 Zero-Downtime Migrations, §2.2 Column Constraints
"""

from dataclasses import dataclass
from typing import ClassVar

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.online_catalog import Table, constraint_standing, find_column, find_table
from cloudlab.schema.online_indexes import AddIndex, covering_index
from cloudlab.schema.online_steps import Kind, Lock, Place, Step, compose, fitting, names, raw

_READS = "SHARE UPDATE EXCLUSIVE; the table is read, reads and writes go on"


def _drop(table: Table, name: str) -> tuple[str, ...]:
    return (compose("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}", table=table.id, name=sql.Identifier(name)),)


def _validate(table: Table, name: str) -> Step:
    statement = compose("ALTER TABLE {table} VALIDATE CONSTRAINT {name}", table=table.id, name=sql.Identifier(name))
    return Step(f"validate {name}", (statement,), says=_READS)


@dataclass(frozen=True, slots=True)
class AddCheck:
    """Add a CHECK: NOT VALID, then VALIDATE.

    Standard: §6.2 Zero-Downtime Migrations
    """

    NAME: ClassVar[str] = "add_check"
    table: str
    name: str
    check: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the constraint is there and valid."""
        table = await find_table(place, self.table)
        return checked(table, self.name, raw(self.check), await constraint_standing(place, table, self.name))


def checked(table: Table, name: str, check: sql.Composable, standing: str) -> list[Step]:
    """Return the steps to a valid CHECK, less those that are done."""
    add = compose(
        "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID",
        table=table.id,
        name=sql.Identifier(name),
        check=check,
    )
    lock = (table.exclusive(),)
    added = Step(f"add {name}, not valid", (add,), locks=lock, undo=_drop(table, name), undo_locks=lock)
    return {"valid": [], "not valid": [_validate(table, name)]}.get(standing, [added, _validate(table, name)])


@dataclass(frozen=True, slots=True)
class SetNotNull:
    """Make a column NOT NULL without reading the table under a lock: a CHECK proves it first.

    Standard: §6.2 Adding Columns
    """

    NAME: ClassVar[str] = "set_not_null"
    table: str
    column: str

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the column is NOT NULL."""
        table = await find_table(place, self.table)
        column = await find_column(place, table, self.column)
        if column.not_null:
            return []
        name = fitting("chk", self.table, self.column, "not_null")
        return made_not_null(table, self.column, name, await constraint_standing(place, table, name))


def made_not_null(table: Table, column: str, name: str, standing: str) -> list[Step]:
    """Return the steps to NOT NULL by way of a CHECK of this name."""
    identifier = sql.Identifier(column)
    check = sql.SQL("{} IS NOT NULL").format(identifier)
    change = compose("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", table=table.id, column=identifier)
    undo = compose("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL", table=table.id, column=identifier)
    lock = (table.exclusive(),)
    final = Step(f"set {column} NOT NULL", (change, *_drop(table, name)), locks=lock, undo=(undo,), undo_locks=lock)
    return [*checked(table, name, check, standing), final]


@dataclass(frozen=True, slots=True)
class AddForeignKey:
    """Add a foreign key, NOT VALID and then VALIDATE; before that an index on its columns when none begins with them.

    Attributes:
        references: The table referred to, in the same schema.
        to: Its columns; by default its primary key.
        on_delete: Such as CASCADE or SET NULL.

    Standard: §6.2 Zero-Downtime Migrations, §2.3 Foreign Key Standards
    """

    NAME: ClassVar[str] = "add_foreign_key"
    table: str
    columns: tuple[str, ...]
    references: str
    to: tuple[str, ...] = ()
    name: str = ""
    on_delete: str = "NO ACTION"
    index: bool = True

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the constraint is there and valid."""
        if self.on_delete.upper() not in {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"}:
            raise MigrationError(f"ON DELETE {self.on_delete}?", hint="NO ACTION, RESTRICT, CASCADE or SET NULL.")
        table, parent = await find_table(place, self.table), await find_table(place, self.references)
        name = self.name or fitting("fk", self.table, *self.columns)
        if await constraint_standing(place, table, name) == "valid":
            return []
        steps: list[Step] = []
        if self.index and not await covering_index(place, table, self.columns):
            steps += await AddIndex(self.table, self.columns).plan(place)
        for part in table.leaves:
            if (standing := await constraint_standing(place, part, name)) != "valid":
                steps += [] if standing else [self._add(part, parent, name, " NOT VALID")]
                steps.append(_validate(part, name))
        # The key of the whole takes the valid ones of its partitions over, and reads nothing.
        return [*steps, self._add(table, parent, name, "")] if table.partitioned else steps

    def _add(self, table: Table, parent: Table, name: str, how: str) -> Step:
        statement = compose(
            "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({columns}) REFERENCES {parent}{to}"
            " ON DELETE {action}{how}",
            table=table.id,
            name=sql.Identifier(name),
            columns=names(self.columns),
            parent=parent.id,
            to=sql.SQL(" ({})").format(names(self.to)) if self.to else sql.SQL(""),
            action=raw(self.on_delete.upper()),
            how=raw(how),
        )
        return Step(
            f"add {name} to {table.name}{how.lower().replace(' not', ', not')}",
            (statement,),
            locks=(table.against_writers(), parent.against_writers()),
            undo=_drop(table, name),
            undo_locks=(table.exclusive(), parent.exclusive()),
        )


@dataclass(frozen=True, slots=True)
class AddUnique:
    """Add UNIQUE by an index that is made concurrently and then becomes the constraint.

    Standard: §6.2 Adding Indexes, §2.2 Column Constraints
    """

    NAME: ClassVar[str] = "add_unique"
    table: str
    columns: tuple[str, ...]
    name: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the constraint is there."""
        table = await find_table(place, self.table)
        name = self.name or fitting("uq", self.table, *self.columns)
        if await constraint_standing(place, table, name):
            return []
        make = AddIndex(self.table, self.columns, name=name, unique=True)
        if not table.partitioned:
            return [make.on(table, name), _using(table, name)]
        parts = [(part, fitting(name, part.name)) for part in table.partitions]
        whole = compose(
            "ALTER TABLE ONLY {table} ADD CONSTRAINT {name} UNIQUE ({columns})",
            table=table.id,
            name=sql.Identifier(name),
            columns=names(self.columns),
        )
        steps = [make.on(part, index) for part, index in parts]
        steps += [_using(part, index) for part, index in parts]
        lock = Lock(f"ONLY {table.text}")
        undo_lock = (table.exclusive(),)
        steps.append(
            Step(f"add {name} to {table.name} itself", (whole,), locks=(lock,), undo=_drop(table, name),
                 undo_locks=undo_lock)
        )  # fmt: skip
        return steps + [_attach(table, name, part, index) for part, index in parts]


def _using(table: Table, name: str) -> Step:
    statement = compose(
        "ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}",
        table=table.id,
        name=sql.Identifier(name),
    )
    lock = (table.exclusive(),)
    return Step(f"make {name} a constraint", (statement,), locks=lock, undo=_drop(table, name), undo_locks=lock)


def _attach(table: Table, name: str, part: Table, index: str) -> Step:
    statement = compose(
        "ALTER INDEX {whole} ATTACH PARTITION {part}",
        whole=sql.Identifier(table.schema, name),
        part=sql.Identifier(part.schema, index),
    )
    return Step(f"attach {index}", (statement,), Kind.TRANSACTION, locks=(part.exclusive(),))
