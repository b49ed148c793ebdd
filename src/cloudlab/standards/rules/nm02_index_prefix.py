"""NM02: the name of an index or a constraint says what it is, and of which table.

Standard: §2.1 Index Naming
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Index, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for index in table.indexes.values():
            prefix = "uq" if index.unique else "idx"
            if index.constraint or index.name.startswith(("idx_", "uq_", "ux_", "gin_", "gist_", "brin_")):
                continue
            name = quoted(_name(prefix, table, index))
            yield Found(
                f"{index.name} does not begin with {prefix}_",
                index.at,
                f"{table}.{index.name}",
                f"ALTER INDEX {quoted(index.name)} RENAME TO {name};",
            )


def _name(prefix: str, table: Table, index: Index) -> str:
    return "_".join([prefix, table.name, *(name or "expression" for name in index.columns)])[:63]


RULE = Rule(
    id="NM02",
    title="The name of an index says what it is",
    heading="§2.1 Index Naming",
    level=Level.NOTE,
    why="An error message and a query plan show the name alone: idx_orders_user_id says more than index_4711.",
    remedy="ALTER INDEX … RENAME TO idx_<table>_<columns>;",
    bad=(
        "CREATE TABLE u (a int); CREATE INDEX a_index ON u (a);",
        "CREATE TABLE u (a int); CREATE INDEX ON u (a);",
        "CREATE TABLE u (a int); CREATE UNIQUE INDEX index_u_on_a ON u (a);",
    ),
    good=(
        "CREATE TABLE u (a int); CREATE INDEX idx_u_a ON u (a);",
        "CREATE TABLE u (a int); CREATE UNIQUE INDEX uq_u_a ON u (a);",
        "CREATE TABLE u (a int PRIMARY KEY);",
        "CREATE TABLE u (a int); CREATE INDEX i ON u (a); ALTER INDEX i RENAME TO idx_u_a;",
    ),
    schema=_check,
)
