"""QY04: a query names the columns it needs.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import sources
from cloudlab.standards.walking import walk


def _check(query: Query) -> Iterator[Found]:
    tree = query.statement.node
    if isinstance(tree, pb.InsertStmt):
        tree = tree.select_stmt.select_stmt
        if not tree.values_lists and _has_star(tree):
            yield query.found("copies columns by their order: a column added to one of the tables breaks it")
    elif isinstance(tree, pb.SelectStmt) and _has_star(tree):
        yield query.found("reads every column, and those that are added later")


def _has_star(tree: Message) -> bool:
    """Whether the outermost SELECT takes all columns of a table; of a subquery that names its own it is no matter."""
    if not isinstance(tree, pb.SelectStmt):
        return False
    if tree.op != pb.SETOP_NONE:
        return _has_star(tree.larg) or _has_star(tree.rarg)
    own = {node.ctename for node in walk(tree.with_clause) if isinstance(node, pb.CommonTableExpr)}
    tables = [one for one in sources(tree.from_clause) if one.relname not in own]
    return bool(tables) and any(_is_star(one.res_target.val) for one in tree.target_list)


def _is_star(node: pb.Node) -> bool:
    fields = node.column_ref.fields
    return len(fields) == 1 and fields[0].HasField("a_star")


RULE = Rule(
    id="QY04",
    title="A query names the columns it needs",
    heading="§5.2 Query Patterns",
    level=Level.NOTE,
    why="No covering index answers SELECT *, long values are fetched for nothing, and a new column changes what the "
    "code gets.",
    remedy="Name the columns.",
    bad=(
        "SELECT * FROM orders WHERE user_id = $1",
        "INSERT INTO orders_archive SELECT * FROM orders WHERE created_at < $1",
        "SELECT * FROM orders JOIN users USING (user_id)",
    ),
    good=(
        "SELECT count(*) FROM orders",
        "SELECT order_id FROM orders WHERE EXISTS (SELECT * FROM users)",
        "WITH mine AS (SELECT a, b FROM orders) SELECT * FROM mine",
        "SELECT * FROM unnest($1::int[]) AS n",
        "SELECT * FROM (SELECT a, b FROM orders) AS o",
        "SELECT 3 * 3",
    ),
    query=_check,
)
