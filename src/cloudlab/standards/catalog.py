"""A model of a schema, small enough to be folded from migrations and rich enough to be judged like a database.

It is filled from a live database or from files, statement by statement; the rules see no difference, but for what only
a server knows (sizes, statistics), which is None in a model that was folded.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from google.protobuf.message import Message

from cloudlab.standards.expressions import deparsed, expression

Kind = Literal["table", "partitioned", "view", "materialized view", "foreign table"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file and a line counted from 1, or an object of a live database."""

    source: str
    line: int = 0
    column: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


NOWHERE = Place("")


@dataclass(slots=True)
class Expression:
    """A default, a predicate or a condition: as text, as a tree, whichever was there first gives the other."""

    _text: str | None = None
    _tree: Message | None = None

    @property
    def text(self) -> str:
        """The expression as PostgreSQL would write it."""
        if self._text is None:
            self._text = deparsed(self._tree) if self._tree else ""
        return self._text

    @property
    def tree(self) -> Message | None:
        """The expression as PostgreSQL's parser sees it; None where it cannot be parsed by itself."""
        if self._tree is None and self._text:
            self._tree = expression(self._text)
        return self._tree


@dataclass(slots=True)
class Column:
    """A column; `type` is as format_type() writes it: `character varying(100)`, `timestamp with time zone`."""

    name: str
    type: str
    not_null: bool = False
    default: Expression | None = None
    identity: bool = False
    generated: Expression | None = None
    comment: str | None = None
    at: Place = NOWHERE

    @property
    def base_type(self) -> str:
        """The type without its length, precision and array brackets."""
        return self.type.split("(")[0].removesuffix("[]").strip() + (
            " with time zone" if self.type.endswith(") with time zone") else ""
        )


@dataclass(slots=True)
class Constraint:
    """A constraint; its kind is p(rimary key), u(nique), c(heck), f(oreign key), x (exclusion) or n(ot null).

    `on_delete_columns` are those that ON DELETE SET NULL or SET DEFAULT changes, none when it changes all.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    check: Expression | None = None
    referenced: tuple[str, str] | None = None
    referenced_columns: tuple[str, ...] = ()
    on_delete: str | None = None
    on_delete_columns: tuple[str, ...] = ()
    validated: bool = True
    is_named: bool = True
    comment: str | None = None
    at: Place = NOWHERE


@dataclass(slots=True)
class Index:
    """An index; a key that is an expression is None among its columns.

    `options` says of each key what is not the default: order, operator class, collation, as in `desc text_pattern_ops`.
    """

    name: str
    columns: tuple[str | None, ...]
    unique: bool = False
    predicate: Expression | None = None
    method: str = "btree"
    valid: bool = True
    include: tuple[str, ...] = ()
    constraint: str | None = None
    expressions: tuple[str, ...] = ()
    scans: int | None = None
    size_bytes: int | None = None
    options: tuple[str, ...] = ()
    at: Place = NOWHERE


@dataclass(slots=True)
class Policy:
    """A policy of row-level security; `command` is all, select, insert, update or delete."""

    name: str
    permissive: bool = True
    command: str = "all"
    roles: tuple[str, ...] = ("public",)
    using: Expression | None = None
    with_check: Expression | None = None
    at: Place = NOWHERE


@dataclass(slots=True)
class Trigger:
    """A trigger and the function it calls."""

    name: str
    function: str
    events: frozenset[str] = frozenset()
    when: str = "before"
    at: Place = NOWHERE


@dataclass(slots=True)
class Table:
    """A table, or what is used like one.

    `born` numbers the file that made it, None for what was there before all files. `is_opaque` says that a function of
    the application was called with its name: what that did to its policies, grants and triggers is not known.
    `partition_bound` is what follows FOR VALUES, or `default`.
    """

    schema: str
    name: str
    kind: Kind = "table"
    columns: dict[str, Column] = field(default_factory=dict[str, Column])
    constraints: dict[str, Constraint] = field(default_factory=dict[str, Constraint])
    indexes: dict[str, Index] = field(default_factory=dict[str, Index])
    policies: dict[str, Policy] = field(default_factory=dict[str, Policy])
    triggers: dict[str, Trigger] = field(default_factory=dict[str, Trigger])
    grants: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    comment: str | None = None
    row_security: bool = False
    force_row_security: bool = False
    options: dict[str, str] = field(default_factory=dict[str, str])
    partition_of: tuple[str, str] | None = None
    partition_key: tuple[str | None, ...] = ()
    partition_strategy: str = ""
    partition_bound: str = ""
    query: str = ""
    owner: str | None = None
    rows: float | None = None
    size_bytes: int | None = None
    born: int | None = None
    is_opaque: bool = False
    is_temporary: bool = False
    at: Place = NOWHERE

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema not in {"", "public"} else self.name

    @property
    def key(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name

    @property
    def is_table(self) -> bool:
        """Whether rows are stored in it or its partitions."""
        return self.kind in {"table", "partitioned"}

    @property
    def is_partition(self) -> bool:
        """Whether it is a part of another table, whose rules are its own."""
        return self.partition_of is not None

    @property
    def primary_key(self) -> Constraint | None:
        """The primary key, None when it has none."""
        return next((one for one in self.constraints.values() if one.kind == "p"), None)

    def of_kind(self, *kinds: str) -> Iterator[Constraint]:
        """Yield its constraints of these kinds."""
        return (one for one in self.constraints.values() if one.kind in kinds)

    def unique_sets(self) -> Iterator[frozenset[str]]:
        """Yield the sets of columns that identify a row, whatever the others say."""
        for constraint in self.of_kind("p", "u"):
            yield frozenset(constraint.columns)
        for index in self.indexes.values():
            if index.unique and index.valid and index.predicate is None and None not in index.columns:
                yield frozenset(name for name in index.columns if name)


@dataclass(slots=True)
class EnumType:
    """An enum and its labels, in order."""

    schema: str
    name: str
    labels: list[str] = field(default_factory=list[str])
    comment: str | None = None
    born: int | None = None
    at: Place = NOWHERE


@dataclass(slots=True)
class Function:
    """A function; `search_path` is None when none is fixed."""

    schema: str
    name: str
    arguments: str = ""
    language: str = "sql"
    security_definer: bool = False
    search_path: str | None = None
    volatility: str = "volatile"
    body: str = ""
    comment: str | None = None
    public_execute: bool = True
    owner: str | None = None
    at: Place = NOWHERE


class Tables(dict[tuple[str, str], Table]):
    """Tables by schema and name, and found by the name alone."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, dict[str, Table]] = {}

    def __setitem__(self, key: tuple[str, str], table: Table) -> None:
        super().__setitem__(key, table)
        self._named.setdefault(key[1], {})[key[0]] = table

    def __delitem__(self, key: tuple[str, str]) -> None:
        super().__delitem__(key)
        del self._named[key[1]][key[0]]

    def named(self, name: str) -> Collection[Table]:
        """Return the tables of a name, one of each schema that has it."""
        return self._named.get(name, {}).values()


@dataclass(frozen=True, slots=True)
class Twins:
    """Schemas that differ in their names alone: two that were read, and the others."""

    first: str
    second: str
    others: tuple[str, ...]


@dataclass(repr=False, eq=False)  # asyncio.run() asks what its task returned for its repr(): a million calls
class Catalog:
    """All that is known of a database; `is_live` when a server was asked and not files read.

    `twins` are schemas of a live database of which only two were read; what the others are was worked out from them.
    """

    tables: Tables = field(default_factory=Tables)
    enums: dict[tuple[str, str], EnumType] = field(default_factory=dict[tuple[str, str], EnumType])
    functions: dict[tuple[str, str, str], Function] = field(default_factory=dict[tuple[str, str, str], Function])
    schemas: dict[str, str | None] = field(default_factory=dict[str, str | None])
    default_privileges: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    default_schema: str = "public"
    is_live: bool = False
    is_complete: bool = False
    twins: tuple[Twins, ...] = ()

    def find(self, schema: str, name: str) -> Table | None:
        """Return a table by the name in a statement: in its schema, the default one, or the only one that has it."""
        if schema:
            return self.tables.get((schema, name))
        found = self.tables.get((self.default_schema, name))
        if found is None:
            named = self.tables.named(name)
            found = next(iter(named)) if len(named) == 1 else None
        return found

    def enum(self, type_name: str) -> EnumType | None:
        """Return the enum that a type, as a column has it, is made of."""
        schema, _, name = type_name.removesuffix("[]").rpartition(".")
        return self.enums.get((schema or self.default_schema, name.strip('"')))

    def real_tables(self) -> Iterable[Table]:
        """Yield what stores rows and is no part of another table."""
        return (table for table in self.tables.values() if table.is_table and not table.is_partition)
