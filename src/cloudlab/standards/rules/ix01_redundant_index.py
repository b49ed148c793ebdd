"""IX01: no index does what another one does.

Standard: §5.1 Primary Indexes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Index, Table
from cloudlab.standards.covering import indexes_of, serves_for
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        indexes = indexes_of(table)
        for number, index in enumerate(indexes):
            better = _better(indexes, number)
            if better and not index.constraint and index.valid:
                yield Found(
                    f"{index.name} does nothing that {better.name} does not do: {_why(index, better)}",
                    index.at,
                    f"{table}.{index.name}",
                    f"DROP INDEX CONCURRENTLY {_qualified(table, index)};",
                )


def _better(indexes: list[Index], number: int) -> Index | None:
    index = indexes[number]
    for place, other in enumerate(indexes):
        is_twin = serves_for(index, other)
        # Of two that are the same, the one that comes first is kept.
        if place != number and serves_for(other, index) and (place < number or not is_twin):
            return other
    return None


def _why(index: Index, other: Index) -> str:
    if len(index.columns) == len(other.columns):
        return f"the same keys, and {other.name} is of a constraint" if other.constraint else "the same keys"
    return "its keys are the first of the other's"


def _qualified(table: Table, index: Index) -> str:
    name = quoted(index.name)
    return name if table.schema in {"", "public"} else f"{quoted(table.schema)}.{name}"


RULE = Rule(
    id="IX01",
    title="No index does what another one does",
    heading="§5.1 Primary Indexes",
    level=Level.WARNING,
    why="Every write pays for every index: nine redundant ones of fifteen added 64 % to the WAL. A key is an index"
    " already, and an index on (a, b) finds by a.",
    remedy="DROP INDEX CONCURRENTLY the narrower one.",
    bad=(
        "CREATE TABLE users (email text UNIQUE); CREATE INDEX idx_users_email ON users (email);",
        "CREATE TABLE orders (o uuid PRIMARY KEY, u uuid, at date); CREATE INDEX idx_orders_u ON orders (u);"
        " CREATE INDEX idx_orders_u_at ON orders (u, at);",
        "CREATE TABLE t (a int); CREATE INDEX i ON t (a); CREATE INDEX j ON t (a);",
        "CREATE TABLE t (a int); CREATE INDEX i ON t (a DESC); CREATE INDEX j ON t (a);",
        "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)); CREATE INDEX i ON t (a);",
    ),
    good=(
        "CREATE TABLE t (a int, b int); CREATE INDEX i ON t (b); CREATE INDEX j ON t (a, b);",
        "CREATE TABLE t (a int, b int); CREATE UNIQUE INDEX i ON t (a); CREATE INDEX j ON t (a, b);",
        "CREATE TABLE t (a text); CREATE INDEX i ON t (a); CREATE INDEX j ON t (a text_pattern_ops);",
        "CREATE TABLE t (a int, d date); CREATE INDEX i ON t (a) WHERE d IS NULL; CREATE INDEX j ON t (a, d);",
        "CREATE TABLE t (a jsonb); CREATE INDEX i ON t USING gin (a); CREATE INDEX j ON t USING gin (a"
        " jsonb_path_ops);",
        "CREATE TABLE t (a int, b int, c int); CREATE INDEX i ON t (a) INCLUDE (c); CREATE INDEX j ON t (a, b);",
        "CREATE TABLE t (a text); CREATE INDEX i ON t (lower(a)); CREATE INDEX j ON t (upper(a));",
    ),
    mends=True,
    schema=_check,
)
