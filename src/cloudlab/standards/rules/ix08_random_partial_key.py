"""IX08: a partial index has a key that means something in its order.

Standard: §5.1 Partial Indexes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        column = table.columns.get(key.columns[0]) if key and len(key.columns) == 1 else None
        if column is None or column.type != "uuid" or (column.default and "v7" in column.default.text):
            continue
        for index in table.indexes.values():
            if index.predicate and index.columns == (column.name,) and not index.include and not index.unique:
                yield Found(
                    f"{index.name} sorts by {column.name}, whose order means nothing, and which the primary key finds",
                    index.at,
                    f"{table}.{index.name}",
                    f"Index what the rows with {index.predicate.text} are read by: created_at, or the owner's key.",
                )


RULE = Rule(
    id="IX08",
    title="A partial index has a key that means something",
    heading="§5.1 Partial Indexes",
    level=Level.NOTE,
    why="The primary key finds one row already; to list the few rows of the condition they are sorted by something that"
    " people ask for.",
    remedy="(created_at) or (user_id, created_at) with the same condition.",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY, is_active bool); CREATE INDEX i ON u (u) WHERE is_active;",
        "CREATE TABLE o (o uuid PRIMARY KEY DEFAULT gen_random_uuid(), status text);"
        " CREATE INDEX i ON o (o) WHERE status = 'pending';",
        "CREATE TABLE o (o uuid, d date); ALTER TABLE o ADD PRIMARY KEY (o); CREATE INDEX i ON o (o) WHERE d IS NULL;",
    ),
    good=(
        "CREATE TABLE u (u bigint PRIMARY KEY, is_active bool); CREATE INDEX i ON u (u) WHERE is_active;",
        "CREATE TABLE u (u uuid PRIMARY KEY DEFAULT uuidv7(), is_active bool);"
        " CREATE INDEX i ON u (u) WHERE is_active;",
        "CREATE TABLE u (u uuid PRIMARY KEY, at date, is_active bool); CREATE INDEX i ON u (at) WHERE is_active;",
        "CREATE TABLE u (u uuid PRIMARY KEY, is_active bool, n int); CREATE INDEX i ON u (u) INCLUDE (n) WHERE"
        " is_active;",
    ),
    schema=_check,
)
