"""QY07: an application does not change or delete every row.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Table
from cloudlab.standards.rule import Found, Level, Query, Rule


def _check(query: Query) -> Iterator[Found]:
    node = query.statement.node
    if not isinstance(node, pb.UpdateStmt | pb.DeleteStmt) or node.HasField("where_clause"):
        return
    table = query.catalog.find(node.relation.schemaname, node.relation.relname)
    joined = node.from_clause if isinstance(node, pb.UpdateStmt) else node.using_clause
    if joined or (table and (table.is_temporary or _has_one_row(table))):
        return
    if table is None and query.statement.is_guess and query.catalog.tables:
        return  # a string in a program, about a table of another database
    verb = "changes" if isinstance(node, pb.UpdateStmt) else "deletes"
    yield query.found(f"{verb} every row of {node.relation.relname}", name=node.relation.relname)


def _has_one_row(table: Table) -> bool:
    """Whether a unique index on a constant keeps it to one row."""
    return any(one.unique and not any(one.columns) and set(one.expressions) <= {"true", "1", "(true)"}
               for one in table.indexes.values())  # fmt: skip


RULE = Rule(
    id="QY07",
    title="An application does not change every row",
    heading="§5.2 Query Patterns",
    level=Level.WARNING,
    why="Mostly a WHERE was forgotten; where it was not, one transaction locks and rewrites the whole table.",
    remedy="Say which rows; batches by key for many, TRUNCATE to empty a table.",
    bad=("UPDATE orders SET status = 'paid'", "DELETE FROM orders", "UPDATE orders AS o SET a = 1 RETURNING o.a"),
    good=(
        "UPDATE orders SET status = 'paid' WHERE order_id = $1",
        "CREATE TEMP TABLE t (a integer); DELETE FROM t",
        "UPDATE orders AS o SET a = n.a FROM new_values AS n",
        "DELETE FROM orders USING gone",
        "CREATE TABLE me (epoch integer); CREATE UNIQUE INDEX one ON me ((true)); UPDATE me SET epoch = epoch + 1",
    ),
    query=_check,
)
