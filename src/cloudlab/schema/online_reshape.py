"""Operations that rewrite a table: its type, its partitions, or only its bytes.

Standard: §6.2 Schema Changes, §7.1 Time-Based Partitioning
"""

from dataclasses import dataclass
from typing import ClassVar

from cloudlab.errors import InvalidInput
from cloudlab.schema.online_catalog import find_column, find_table
from cloudlab.schema.online_rewrite import Retyped, Shape, rewritten
from cloudlab.schema.online_steps import Place, Step


@dataclass(frozen=True, slots=True)
class RewriteTable:
    """Write a table anew: without the space that was deleted from it, with other storage settings.

    Attributes:
        settings: Such as fillfactor=80.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "rewrite_table"
    table: str
    settings: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps."""
        return await rewritten(place, await find_table(place, self.table), Shape(settings=self.settings))


@dataclass(frozen=True, slots=True)
class ChangeType:
    """Give a column another type, by a copy of the table: keys, indexes and foreign keys on the column go with it.

    Attributes:
        using: The new value of an old row; by default the column, cast.
        back: The old value of a new row, for the way back; by default the column, cast.

    Standard: §6.2 Schema Changes
    """

    NAME: ClassVar[str] = "change_type"
    table: str
    column: str
    type: str
    using: str = ""
    back: str = ""

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when the column has the type."""
        table = await find_table(place, self.table)
        column = await find_column(place, table, self.column)
        name = await (
            await place.conn.execute("SELECT /* online_reshape.plan */ to_regtype(%s)::text", [self.type])
        ).fetchone()
        if self.type == column.type or (name and name[0] == column.type and "(" not in self.type):
            return []
        quoted = '"' + self.column.replace('"', '""') + '"'
        change = Retyped(self.type, self.using or f"{quoted}::{self.type}", self.back or f"{quoted}::{column.type}")
        return await rewritten(place, table, Shape(types={self.column: change}))


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """Make a table a partitioned one.

    Attributes:
        by: Such as RANGE (created_at).
        partitions: Each as `NAME FOR VALUES FROM (…) TO (…)` or `NAME DEFAULT`; separated by semicolons in words.
        key: The new primary key; the columns of `by` must be in it.

    Standard: §7.1 Time-Based Partitioning
    """

    NAME: ClassVar[str] = "partition_table"
    table: str
    by: str
    partitions: tuple[str, ...]
    key: tuple[str, ...]

    async def plan(self, place: Place) -> list[Step]:
        """Return the steps; none when it is partitioned."""
        table = await find_table(place, self.table)
        if table.partitioned:
            return []
        made: list[tuple[str, str]] = []
        for text in self.partitions:
            name, _, bounds = text.strip().partition(" ")
            if not bounds:
                raise InvalidInput(f"{text!r} is no partition", hint="NAME FOR VALUES …, or NAME DEFAULT.")
            made.append((name, bounds))
        shape = Shape(partition_by=self.by, partitions=tuple(made), key=self.key)
        return await rewritten(place, table, shape)
