"""IX02: no index is invalid.

Standard: §6.2 Adding Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.scope import quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.tables.values():
        for index in table.indexes.values():
            if not index.valid and catalog.is_live:
                name = f"{quoted(table.schema)}.{quoted(index.name)}"
                yield Found(
                    f"{index.name} is invalid: no query uses it, every write pays for it",
                    index.at,
                    f"{table}.{index.name}",
                    "ATTACH the index of each partition that lacks one."
                    if table.kind == "partitioned"
                    else f"REINDEX INDEX CONCURRENTLY {name};",
                )


def _check_step(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.IndexStmt) and node.concurrent and node.if_not_exists:
        before = [one.node for one in step.earlier if isinstance(one.node, pb.DropStmt)]
        dropped = {
            words.list.items[-1].string.sval for drop in before for words in drop.objects if words.HasField("list")
        }
        if node.idxname not in dropped:
            yield step.found(
                "IF NOT EXISTS is content with the invalid index that a failed attempt left behind",
                name=node.idxname,
                remedy=f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(node.idxname)}; before it.",
            )


RULE = Rule(
    id="IX02",
    title="No index is invalid",
    heading="§6.2 Adding Indexes",
    level=Level.WARNING,
    why="CREATE INDEX CONCURRENTLY that fails leaves an index behind that each write keeps up to date and no query"
    " uses;"
    " IF NOT EXISTS then skips it, and the migration is recorded as done.",
    remedy="Drop the invalid index and build it again.",
    bad=(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_users_email ON users (email);",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_users_email ON users (email);",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_a; CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_b ON t (b);",
    ),
    good=(
        "CREATE INDEX CONCURRENTLY idx_users_email ON users (email);",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_a; CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_a ON t (a);",
        "CREATE TABLE t (a int); CREATE INDEX IF NOT EXISTS i ON t (a);",
        "CREATE TABLE e (a int) PARTITION BY RANGE (a); CREATE INDEX i ON ONLY e (a);",
    ),
    mends=True,
    schema=_check,
    step=_check_step,
    on=frozenset({"IndexStmt"}),
)
