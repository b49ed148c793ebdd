"""NM07: the name of an index does not say what is not in it.

Standard: §2.1 Index Naming
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Index, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for index in table.indexes.values():
            claimed = _claimed(table, index)
            if claimed and not index.constraint:
                keys = [name or "expression" for name in index.columns]
                yield Found(
                    f"{index.name} names {claimed}, but its keys are {', '.join(keys)}",
                    index.at,
                    f"{table}.{index.name}",
                    f"ALTER INDEX {quoted(index.name)} RENAME TO {quoted('_'.join(['idx', table.name, *keys])[:63])};",
                )


def _claimed(table: Table, index: Index) -> str:
    """Return what the name says after the table, when that is a column, and one that the index has nothing of."""
    for start in (f"idx_{table.name}_", f"uq_{table.name}_", f"index_{table.name}_on_"):
        if index.name.startswith(start):
            rest = index.name.removeprefix(start)
            held = " ".join(
                [
                    *filter(None, index.columns),
                    *index.include,
                    *index.expressions,
                    index.predicate.text if index.predicate else "",
                ]
            )
            is_some = any(name and rest.startswith(name) for name in index.columns)
            return (
                rest if rest in table.columns and rest not in held.split() and not is_some and rest not in held else ""
            )
    return ""


RULE = Rule(
    id="NM07",
    title="The name of an index does not lie",
    heading="§2.1 Index Naming",
    level=Level.WARNING,
    why="Whoever reads idx_orders_status believes that status is indexed, and adds no index on it.",
    remedy="ALTER INDEX … RENAME TO …;",
    bad=(
        "CREATE TABLE orders (status text, user_id uuid); CREATE INDEX idx_orders_status ON orders (user_id);",
        "CREATE TABLE u (email text, name text); CREATE UNIQUE INDEX uq_u_email ON u (lower(name));",
        "CREATE TABLE u (a int, b int); CREATE INDEX index_u_on_a ON u (b);",
    ),
    good=(
        "CREATE TABLE orders (status text, user_id uuid); CREATE INDEX idx_orders_user_id_status ON orders (user_id,"
        " status);",
        "CREATE TABLE u (email text); CREATE UNIQUE INDEX uq_u_email ON u (lower(email));",
        "CREATE TABLE u (active bool, u uuid); CREATE INDEX idx_u_active ON u (u) WHERE active;",
        "CREATE TABLE u (a int, b int); CREATE INDEX idx_u_a ON u (a, b); CREATE INDEX idx_u_pending ON u (a);",
    ),
    schema=_check,
)
