"""IX05: an index has no more keys than queries need.

Standard: §5.1 Covering Indexes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned

_MANY = 3


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        needed = {"tenant_id", *(table.primary_key.columns if table.primary_key else ())}
        for index in table.indexes.values():
            keys = [name for name in index.columns if name not in needed]
            if not index.unique and not index.constraint and index.method == "btree" and len(keys) > _MANY:
                yield Found(f"{index.name} has {len(index.columns)} keys", index.at, f"{table}.{index.name}")


RULE = Rule(
    id="IX05",
    title="An index has few keys",
    heading="§5.1 Covering Indexes",
    level=Level.NOTE,
    why="Keys after the first range or the third equality hardly narrow a search, and make each page of the index hold"
    " fewer rows.",
    remedy="Keep the keys that queries compare and sort by; put what they only read into INCLUDE.",
    bad=(
        "CREATE TABLE t (a int, b int, c int, d int); CREATE INDEX i ON t (a, b, c, d);",
        "CREATE TABLE t (tenant_id uuid, a int, b int, c int, d int); CREATE INDEX i ON t (tenant_id, a, b, c, d);",
        "CREATE TABLE t (a int, b int, c int, d int); CREATE INDEX i ON t (a, b, lower('x'), c, d) WHERE a > 1;",
    ),
    good=(
        "CREATE TABLE t (a int, b int, c int); CREATE INDEX i ON t (a, b, c);",
        "CREATE TABLE t (t uuid PRIMARY KEY, tenant_id uuid, a int, at date);"
        " CREATE INDEX i ON t (tenant_id, a, at DESC, t DESC);",
        "CREATE TABLE t (a int, b int, c int, d int); CREATE INDEX i ON t (a) INCLUDE (b, c, d);",
        "CREATE TABLE t (a int, b int, c int, d int); CREATE UNIQUE INDEX i ON t (a, b, c, d);",
    ),
    schema=_check,
)
