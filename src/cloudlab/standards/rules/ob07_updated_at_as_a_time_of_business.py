"""OB07: how long something took is measured from its own times.

Standard: §10.2 Business Rule Compliance Monitoring
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.expressions import columns, function_name, strings
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.trees import parsed
from cloudlab.standards.walking import walk

_AGGREGATES = {"avg", "sum", "max", "min", "percentile_cont", "percentile_disc", "count"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for view in catalog.tables.values():
        if "updated_at" in view.query and (tree := parsed(view.query)) and _measures(tree):
            yield Found(_MESSAGE, view.at, str(view))


def _check_query(query: Query) -> Iterator[Found]:
    if "updated_at" in query.statement.text and query.statement.node and _measures(query.statement.node):
        yield query.found(_MESSAGE, name="updated_at")


def _measures(tree: Message) -> bool:
    """Whether an aggregate is taken of updated_at less created_at."""
    return any(
        isinstance(node, pb.FuncCall) and function_name(node) in _AGGREGATES and any(map(_is_difference, node.args))
        for node in walk(tree)
    )


def _is_difference(tree: Message) -> bool:
    for node in walk(tree):
        if isinstance(node, pb.A_Expr) and strings(node.name) == ("-",):
            left, right = list(columns(node.lexpr)), list(columns(node.rexpr))
            if left == ["updated_at"] and right == ["created_at"]:
                return True
    return False


_MESSAGE = "takes updated_at for the time when it was done: any later change of the row moves it"

RULE = Rule(
    id="OB07",
    title="How long something took is measured from its own times",
    heading="§10.2 Business Rule Compliance Monitoring",
    level=Level.WARNING,
    why="updated_at moves with every change, a corrected telephone number too. And an average hides the tenth"
    " that took "
    "nine hours: a percentile shows it.",
    remedy="percentile_cont(0.95) WITHIN GROUP (ORDER BY shipped_at - placed_at);",
    bad=(
        "SELECT avg(extract(epoch FROM (updated_at - created_at))) FROM orders WHERE status = 'shipped'",
        "CREATE VIEW c AS SELECT avg(updated_at - created_at) AS took FROM orders;",
        "SELECT max(o.updated_at - o.created_at) FROM orders AS o",
    ),
    good=(
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY shipped_at - placed_at) FROM orders",
        "SELECT order_id, updated_at - created_at FROM orders WHERE order_id = $1",
        "CREATE VIEW c AS SELECT avg(delivered_at - created_at) AS took FROM orders WHERE updated_at > now();",
    ),
    schema=_check,
    query=_check_query,
)
