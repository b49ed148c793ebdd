"""PK04: a composite key has few columns.

Standard: §2.3 Primary Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import foreign_columns, owned

_MANY = 3


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        if key is None:
            continue
        needed = {"tenant_id", *(name or "" for name in table.partition_key), *foreign_columns(table)}
        own = [name for name in key.columns if name not in needed]
        if len(own) > _MANY:
            yield Found(
                f"the key has {len(key.columns)} columns: {', '.join(key.columns)}",
                key.at,
                str(table),
                "Give it one key of its own, and make these columns UNIQUE.",
            )


RULE = Rule(
    id="PK04",
    title="A key has no more columns than it needs",
    heading="§2.3 Primary Key Standards",
    level=Level.NOTE,
    why="Every table that refers to it, every index on those columns and every URL repeats all of them.",
    remedy="Give it one key of its own, and make the columns UNIQUE.",
    bad=(
        "CREATE TABLE prices (sku text, region text, channel text, valid_on date, PRIMARY KEY (sku, region, channel,"
        " valid_on));",
        "CREATE TABLE t (a int, b int, c int, d int, e int); ALTER TABLE t ADD PRIMARY KEY (a, b, c, d, e);",
        "CREATE TABLE t (tenant_id uuid, a int, b int, c int, d int, PRIMARY KEY (tenant_id, a, b, c, d));",
    ),
    good=(
        "CREATE TABLE order_items (tenant_id uuid, order_id uuid, line_number int,"
        " PRIMARY KEY (tenant_id, order_id, line_number));",
        "CREATE TABLE e (tenant_id uuid, a uuid, b int, c int, at date, PRIMARY KEY (tenant_id, a, b, c, at))"
        " PARTITION BY RANGE (at);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE g (a uuid REFERENCES u, b uuid REFERENCES u,"
        " c uuid REFERENCES u, d uuid REFERENCES u, PRIMARY KEY (a, b, c, d));",
    ),
    schema=_check,
)
