"""QY01: pages are read by a cursor and not by OFFSET.

Standard: §5.2 Pagination
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import literal
from cloudlab.standards.rule import Found, Level, Query, Rule


def _check(query: Query) -> Iterator[Found]:
    if query.statement.node is None:
        return
    for node in query.nodes():
        if (
            isinstance(node, pb.SelectStmt)
            and node.HasField("limit_offset")
            and literal(node.limit_offset) not in {"0"}
            and literal(node.limit_count) != "1"  # the n-th row, not a page
        ):
            yield query.found("reads and throws away every row before the page")
            return


RULE = Rule(
    id="QY01",
    title="Pages are read by a cursor",
    heading="§5.2 Pagination",
    level=Level.WARNING,
    why="OFFSET n reads n rows to throw them away: page 10,000 costs 10,000 pages, and rows shift between two pages.",
    remedy="WHERE (created_at, id) < (last row of the page before) ORDER BY created_at DESC, id DESC LIMIT 20;",
    bad=(
        "SELECT order_id FROM orders ORDER BY created_at LIMIT 20 OFFSET 40",
        "SELECT order_id FROM orders ORDER BY created_at LIMIT 20 OFFSET $1",
        "SELECT x.a FROM (SELECT a FROM t ORDER BY a OFFSET 5) AS x",
    ),
    good=(
        "SELECT order_id FROM orders ORDER BY created_at, order_id LIMIT 20",
        "SELECT id FROM orders WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT 20",
        "SELECT order_id FROM orders ORDER BY created_at LIMIT 20 OFFSET 0",
        "SELECT position FROM events ORDER BY position DESC OFFSET $1 LIMIT 1",
    ),
    query=_check,
)
