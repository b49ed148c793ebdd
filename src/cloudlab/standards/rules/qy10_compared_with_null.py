"""QY10: NULL is asked for by IS NULL.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Query, Rule


def _check(query: Query) -> Iterator[Found]:
    for node in query.nodes():
        if isinstance(node, pb.A_Expr) and node.kind == pb.AEXPR_OP and strings(node.name)[-1:] in {("=",), ("<>",)}:
            for side in (node.lexpr, node.rexpr):
                if side.HasField("a_const") and side.a_const.isnull:
                    yield query.found("compares with NULL, which is never true")
                    return


RULE = Rule(
    id="QY10",
    title="NULL is asked for by IS NULL",
    heading="§5.2 Query Patterns",
    level=Level.ERROR,
    why="a = NULL is NULL for every row: the condition keeps none, and no error says so.",
    remedy="IS NULL, IS NOT NULL, or IS DISTINCT FROM a parameter.",
    bad=(
        "SELECT a FROM t WHERE deleted_at = NULL",
        "SELECT a FROM t WHERE deleted_at <> NULL",
        "UPDATE t SET a = 1 WHERE NULL = b",
    ),
    good=(
        "SELECT a FROM t WHERE deleted_at IS NULL",
        "UPDATE t SET deleted_at = NULL WHERE id = $1",
        "SELECT a FROM t WHERE a IS DISTINCT FROM NULL",
        "SELECT coalesce(a, NULL) FROM t WHERE a = $1",
    ),
    query=_check,
)
