"""Rewrite a table beside itself: another type, partitions, other settings; then let the two change places in a moment.

A trigger writes every change to both from the beginning. Blocks are copied in batches, both are compared in one
snapshot, and under a lock of moments foreign keys, triggers, policies, views and publications change over. From then on
the old table is kept equal by a trigger the other way, until contract drops it, so that a rollback loses nothing.

Standard: §6.2 Schema Changes
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema import online_anatomy as anatomy
from cloudlab.schema.online_anatomy import Following, ForeignKey, Sequence
from cloudlab.schema.online_catalog import Column, Table, find_columns, primary_key
from cloudlab.schema.online_mirror import Mirror
from cloudlab.schema.online_steps import Kind, Lock, Phase, Place, Step, compose, fitting, names, raw

_IDENTITY_IN_PARTITIONS = 170000
_NOT_VALID_IN_PARTITIONS = 180000


@dataclass(frozen=True, slots=True)
class Retyped:
    """The new type of a column, how it is made of the row, and how the old one is made of the new row."""

    type: str
    using: str
    back: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How the new table differs from the old one; `partitions` are whole statements' tails: name and bounds."""

    types: Mapping[str, Retyped] = field(default_factory=dict[str, Retyped])
    settings: str = ""
    partition_by: str = ""
    partitions: tuple[tuple[str, str], ...] = ()
    key: tuple[str, ...] = ()


async def rewritten(place: Place, table: Table, shape: Shape) -> list[Step]:
    """Return the steps of a rewrite.

    Raises:
        MigrationError: Something depends on the table that cannot follow; the message names it.
    """
    await anatomy.refuse_what_cannot_follow(place, table)
    keys = await anatomy.foreign_keys(place, table)
    old_key = await primary_key(place, table)
    key = shape.key or old_key
    incoming = [one for one in keys if one.other == table.text]
    version = place.conn.info.server_version
    if bad := [one.table for one in incoming if one.partitioned and version < _NOT_VALID_IN_PARTITIONS]:
        raise MigrationError(f"{bad[0]} is partitioned and refers to {table.text}", hint="PostgreSQL 18 can do it.")
    if incoming and set(key) != set(old_key):
        raise MigrationError(
            f"{', '.join(one.table for one in incoming)} refer to {table.text} by a key that it would lose",
            hint="Drop these foreign keys first.",
        )
    rewrite = Rewrite(
        table=table,
        shape=shape,
        key=key,
        old_key=old_key,
        columns=await find_columns(place, table),
        foreign_keys=keys,
        sequences=await anatomy.sequences(place, table),
        following=await anatomy.following(place, table),
        body=await anatomy.body(place, table, _new(table), key=not shape.key),
        statistics=await anatomy.statistics(place, table),
        serial=bool(shape.partition_by) and version < _IDENTITY_IN_PARTITIONS,
    )
    return rewrite.steps()


def _new(table: Table) -> sql.Identifier:
    return sql.Identifier(fitting("online", table.schema, table.name, "new"), table.name)


@dataclass(frozen=True)
class Rewrite:
    """All that the steps are made of."""

    table: Table
    shape: Shape
    key: tuple[str, ...]
    old_key: tuple[str, ...]
    columns: list[Column]
    foreign_keys: list[ForeignKey]
    sequences: list[Sequence]
    following: Following
    body: list[str]
    statistics: list[tuple[str, str]]
    serial: bool

    @property
    def new(self) -> sql.Identifier:
        """The new table before the swap."""
        return _new(self.table)

    @property
    def old(self) -> sql.Identifier:
        """The old table after the swap."""
        return sql.Identifier(fitting("online", self.table.schema, self.table.name, "old"), self.table.name)

    @property
    def incoming(self) -> list[ForeignKey]:
        """Foreign keys that must point to the new table; those of the table to itself are among them."""
        return [one for one in self.foreign_keys if one.other == self.table.text]

    @property
    def outgoing(self) -> list[ForeignKey]:
        """Foreign keys to other tables."""
        return [one for one in self.foreign_keys if one.other != self.table.text]

    def _schema(self, which: str) -> sql.Identifier:
        return sql.Identifier(fitting("online", self.table.schema, self.table.name, which))

    def _mirror(self, source: sql.Identifier, target: sql.Identifier, which: str, *, back: bool) -> Mirror:
        written = [one for one in self.columns if not one.generated]
        key = self.old_key if back else self.key
        expressions: dict[str, str] = {}
        for name, change in self.shape.types.items():
            expressions[name] = change.back if back else change.using
        function = sql.Identifier(fitting("online", self.table.schema, self.table.name, which), "keep_equal")
        return Mirror(source, target, function, tuple(one.name for one in written), key, expressions, back)

    def steps(self) -> list[Step]:
        """Return them all, contract included."""
        forth = self._mirror(self.table.id, self.new, "new", back=False)
        exclusive = (self.table.exclusive(),)
        validated = tuple(one.validate for one in self.incoming)
        steps = [self._create()]
        steps += [self._outgoing(one) for one in self.outgoing]
        steps += [
            Step(
                f"keep both equal from {self.table.name}",
                forth.install(),
                locks=(self.table.against_writers(),),
                undo=forth.remove(),
                undo_locks=exclusive,
            ),
            forth.copy(self.table.text),
            Step("count what is in it", (compose("ANALYZE {new}", new=self.new),), Kind.ALONE),
            # Taken back after the swap was: what points to the old table again is checked again.
            Step("all is equal", (), undo=validated, undo_locks=()),
            self._swap(),
        ]
        steps += [
            Step(f"validate {one.name} of {one.table}", (one.validate,), says="SHARE UPDATE EXCLUSIVE")
            for one in self.incoming
        ]
        steps += [self._statistics(name, definition) for name, definition in self.statistics]
        return steps + self._contract()

    def _statistics(self, name: str, definition: str) -> Step:
        schema = sql.Identifier(self.table.schema)
        parts = {"name": sql.Identifier(self.table.schema, name), "behind": self._schema("old"), "schema": schema}
        made = (compose("ALTER STATISTICS {name} SET SCHEMA {behind}", **parts), definition)
        back = compose("ALTER STATISTICS {behind}.{own} SET SCHEMA {schema}", **parts, own=sql.Identifier(name))
        undo = (compose("DROP STATISTICS {name}", **parts), back)
        return Step(f"make the statistics {name}", made, says="SHARE UPDATE EXCLUSIVE", undo=undo)

    def _create(self) -> Step:
        like = "DEFAULTS GENERATED STORAGE COMPRESSION COMMENTS CONSTRAINTS" + ("" if self.serial else " IDENTITY")
        parts = {
            "beside": self._schema("new"),
            "behind": self._schema("old"),
            "new": self.new,
            "old": self.table.id,
            "like": raw(" ".join(f"INCLUDING {word}" for word in like.split())),
            "by": raw(f" PARTITION BY {self.shape.partition_by}" if self.shape.partition_by else ""),
        }
        made = [
            compose("CREATE SCHEMA {beside}", **parts),
            compose("CREATE SCHEMA {behind}", **parts),
            compose("CREATE TABLE {new} (LIKE {old} {like}){by}", **parts),
            *self._sequences_made(),
            *self._retyped(),
        ]
        if self.shape.key:
            made.append(
                compose(
                    "ALTER TABLE {new} ADD CONSTRAINT {name} PRIMARY KEY ({key})",
                    new=self.new,
                    name=sql.Identifier(fitting("pk", self.table.name)),
                    key=names(self.key),
                )
            )
        made += self.body
        for name, bounds in self.shape.partitions:
            part = {"part": sql.Identifier(self.table.schema, name), "new": self.new, "bounds": raw(bounds)}
            made.append(compose("CREATE TABLE {part} PARTITION OF {new} {bounds}", **part))
        if self.shape.settings:
            made.append(compose("ALTER TABLE {new} SET ({settings})", new=self.new, settings=raw(self.shape.settings)))
        undo = (
            compose("DROP TABLE {new}", **parts),
            compose("DROP SCHEMA {beside}", **parts),
            compose("DROP SCHEMA {behind}", **parts),
        )
        name = f"make another {self.table.name} beside it"
        return Step(name, tuple(made), says="ACCESS SHARE", undo=undo, undo_locks=(Lock(self.new.as_string(None)),))

    def _retyped(self) -> list[str]:
        return [
            compose(
                "ALTER TABLE {new} ALTER COLUMN {column} TYPE {type} USING {using}",
                new=self.new,
                column=sql.Identifier(name),
                type=raw(change.type),
                using=raw(change.using),
            )
            for name, change in self.shape.types.items()
        ]

    def _beside(self, sequence: Sequence) -> sql.Identifier:
        return sql.Identifier(fitting("online", self.table.schema, self.table.name, "new"), sequence.name)

    def _owned_beside(self) -> list[Sequence]:
        """Sequences of which the new table has one of its own."""
        return [one for one in self.sequences if one.identity]

    def _sequences_made(self) -> list[str]:
        made: list[str] = []
        for one in self._owned_beside():
            born = fitting(self.table.name, one.column, "seq")
            parts = {
                "born": sql.Identifier(fitting("online", self.table.schema, self.table.name, "new"), born),
                "name": sql.Identifier(one.name),
                "new": self.new,
                "column": sql.Identifier(one.column),
                "sequence": self._beside(one),
                "text": sql.Literal(self._beside(one).as_string(None)),
            }
            if self.serial:
                made += [
                    compose("CREATE SEQUENCE {sequence} OWNED BY {new}.{column}", **parts),
                    compose("ALTER TABLE {new} ALTER COLUMN {column} SET DEFAULT nextval({text}::regclass)", **parts),
                ]
            elif born != one.name:
                made.append(compose("ALTER SEQUENCE {born} RENAME TO {name}", **parts))
            made += anatomy.granted(one, self._beside(one).as_string(None))
        return made

    def _outgoing(self, key: ForeignKey) -> Step:
        new = self.new.as_string(None)
        drop = compose(
            "ALTER TABLE {new} DROP CONSTRAINT IF EXISTS {name}", new=self.new, name=sql.Identifier(key.name)
        )
        return Step(
            f"let it refer to {key.other}",
            (key.add(new, valid=True),),
            locks=(Lock(key.other, "SHARE ROW EXCLUSIVE"),),
            undo=(drop,),
            undo_locks=(Lock(key.other),),
        )

    def _locks(self, *tables: sql.Identifier) -> tuple[Lock, ...]:
        children = dict.fromkeys(one.table for one in self.incoming if one.table != self.table.text)
        return (*(Lock(one.as_string(None)) for one in tables), *(Lock(one) for one in children))

    def _swap(self) -> Step:
        """The moment: everything that others see of the old table is the new one's when it commits."""
        forth = self._mirror(self.table.id, self.new, "new", back=False)
        back = self._mirror(self.table.id, self.old, "old", back=True)
        here, there = self.following, self.old.as_string(None)
        counting = [anatomy.keep_counting(one.id, self._beside(one)) for one in self._owned_beside()]
        made = [
            *forth.uninstall(),
            *(one.drop for one in self.incoming if one.table != self.table.text),
            *counting,
            *self._disowned(),
            *here.unpublish,
            *self._moved(self.table.id, self._schema("old")),
            *self._moved(self.new, sql.Identifier(self.table.schema)),
            *self._owned(),
            f"ALTER TABLE {there} DISABLE TRIGGER USER",
            f"ALTER TABLE {there} NO FORCE ROW LEVEL SECURITY",
            *here.triggers,
            *here.trigger_states,
            *here.row_security,
            *(one.add() for one in self.incoming),
            *here.views,
            *here.comments,
            *here.publish,
            *back.install(),
        ]
        return Step(
            "let the two change places",
            tuple(made),
            locks=self._locks(self.table.id, self.new),
            undo=tuple(self._swapped_back(back)),
            undo_locks=self._locks(self.table.id, self.old),
        )

    def _swapped_back(self, back: Mirror) -> list[str]:
        here, new = self.following, self.new.as_string(None)
        behind = fitting("online", self.table.schema, self.table.name, "old")
        counting = [anatomy.keep_counting(one.id, sql.Identifier(behind, one.name)) for one in self._owned_beside()]
        self_drops = [one.drop for one in self.incoming if one.table == self.table.text]
        return [
            *back.remove(),
            *(one.drop for one in self.incoming if one.table != self.table.text),
            *self_drops,
            *here.trigger_drops,
            *here.unpublish,
            *counting,
            *self._disowned(),
            *self._moved(self.table.id, self._schema("new")),
            *self._moved(self.old, sql.Identifier(self.table.schema)),
            *self._owned(),
            f"ALTER TABLE {new} NO FORCE ROW LEVEL SECURITY",
            *here.trigger_states,
            *here.row_security,
            *(one.add() for one in self.incoming if one.table != self.table.text),
            *here.views,
            *here.comments,
            *here.publish,
        ]

    def _moved(self, table: sql.Identifier, schema: sql.Identifier) -> list[str]:
        return [compose("ALTER TABLE {table} SET SCHEMA {schema}", table=table, schema=schema)]

    def _disowned(self) -> list[str]:
        """Free the sequences of serial columns, so that they do not move with the table that goes."""
        serial = [one for one in self.sequences if not one.identity]
        return [compose("ALTER SEQUENCE {sequence} OWNED BY NONE", sequence=one.id) for one in serial]

    def _owned(self) -> list[str]:
        return [
            compose(
                "ALTER SEQUENCE {sequence} OWNED BY {table}.{column}",
                sequence=one.id,
                table=self.table.id,
                column=sql.Identifier(one.column),
            )
            for one in self.sequences
            if not one.identity
        ]

    def _contract(self) -> list[Step]:
        back = self._mirror(self.table.id, self.old, "old", back=True)
        old = self.old.as_string(None)
        forth_function = sql.Identifier(fitting("online", self.table.schema, self.table.name, "new"), "keep_equal")
        parts = {"old": self.old, "new": self._schema("new"), "behind": self._schema("old"), "function": forth_function}
        steps = [
            Step("let go of the old table", back.remove(), locks=(self.table.exclusive(),), phase=Phase.CONTRACT),
        ]
        for one in self.outgoing:
            drop = compose("ALTER TABLE {old} DROP CONSTRAINT {name}", **parts, name=sql.Identifier(one.name))
            locks = (Lock(old), Lock(one.other))
            steps.append(Step(f"drop its {one.name}", (drop,), locks=locks, phase=Phase.CONTRACT))
        gone = (
            compose("DROP TABLE {old}", **parts),
            compose("DROP FUNCTION IF EXISTS {function}()", **parts),
            compose("DROP SCHEMA {new}", **parts),
            compose("DROP SCHEMA {behind}", **parts),
        )
        return [*steps, Step("drop the old table", gone, locks=(Lock(old),), phase=Phase.CONTRACT)]
