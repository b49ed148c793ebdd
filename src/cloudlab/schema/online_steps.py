"""What an online operation is made of: steps that are written down before the first one runs.

A plan is compiled from the catalog once and kept as text in `online_operations`. So a run that was killed goes on with
the very same statements, and `--dry-run` prints what will be executed, not something like it.

Standard: §6.2 Zero-Downtime Migrations
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, LiteralString, Protocol, cast

from psycopg import sql

from cloudlab.schema.locks import Connection

_LONGEST_NAME = 63


class Phase(StrEnum):
    """Expand: old and new code both work afterwards. Contract: only the new. Rollback: back to before expand."""

    EXPAND = "expand"
    CONTRACT = "contract"
    ROLLBACK = "rollback"


class Kind(StrEnum):
    """How a step runs: as one transaction, outside of any (CONCURRENTLY), or as many small batches."""

    TRANSACTION = "transaction"
    ALONE = "alone"
    BATCHES = "batches"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that others could wait for; `table` is quoted, with ONLY before it when its partitions are spared."""

    table: str
    mode: str = "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: it is done whole, or it can be done again.

    Attributes:
        sql: The statements. In a batch, %(first)s and %(last)s bound the blocks of `walks`.
        locks: Taken before the statements, for moments.
        says: The lock a statement takes by itself and nobody waits behind, for a reader.
        undo: What takes the step back; written so that it may run twice.
        index: ALONE: the index that is made or dropped, quoted; an INVALID one of that name is removed first.
        walks: BATCHES: the table whose blocks are walked, quoted.
        proof: BATCHES: a query for the number of rows that are left; it must be 0 in the end.
    """

    name: str
    sql: tuple[str, ...]
    kind: Kind = Kind.TRANSACTION
    locks: tuple[Lock, ...] = ()
    says: str = ""
    phase: Phase = Phase.EXPAND
    undo: tuple[str, ...] = ()
    undo_locks: tuple[Lock, ...] = ()
    index: str = ""
    walks: str = ""
    proof: str = ""

    @property
    def lock(self) -> str:
        """The locks it takes, in words."""
        taken = [f"{lock.mode} on {lock.table}, for moments" for lock in self.locks]
        return "; ".join(taken) or self.says or "none that others wait for"


@dataclass(frozen=True, slots=True)
class Place:
    """A schema of a database, as plans are compiled against it."""

    conn: Connection
    schema: str


class Operation(Protocol):
    """A change that is made while the database serves. Its fields are its arguments."""

    NAME: ClassVar[str]

    async def plan(self, place: Place) -> list[Step]:
        """Return what is to be done, nothing when it is done; NotFound or MigrationError when it cannot be."""
        ...


def raw(text: str) -> sql.SQL:
    """Take SQL that whoever wrote the operation gave: an expression, a type, a condition."""
    return sql.SQL(cast(LiteralString, text))


def compose(template: LiteralString, **parts: sql.Composable) -> str:
    """Fill a statement with identifiers, literals and given SQL."""
    return sql.SQL(template).format(**parts).as_string(None)


def names(columns: tuple[str, ...]) -> sql.Composable:
    """Quote names, a comma between them."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def fitting(*parts: str) -> str:
    """Join words to a name that PostgreSQL does not cut; a long one ends in six digits of its hash."""
    name = "_".join(parts)
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name.encode()[: _LONGEST_NAME - 7].decode(errors='ignore')}_{digest}"
