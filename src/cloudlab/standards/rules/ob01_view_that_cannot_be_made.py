"""OB01: monitoring asks for columns that the server has.

Standard: §10.1 Performance Monitoring
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Query, Rule, Step
from cloudlab.standards.trees import relations
from cloudlab.standards.walking import walk

_RENAMED = {
    "total_time": "total_exec_time",
    "mean_time": "mean_exec_time",
    "min_time": "min_exec_time",
    "max_time": "max_exec_time",
    "stddev_time": "stddev_exec_time",
}
_ANYARRAY = {"most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"}


def _check_step(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.ViewStmt) and "pg_stat" in step.statement.text:
        names = _plain(node.query) & _ANYARRAY
        if names and _reads(node.query, "pg_stats"):
            yield step.found(
                f"{', '.join(sorted(names))} are of type anyarray, which no view may have, and hold values of users",
                name=node.view.relname,
                remedy="Leave them out; n_distinct, null_frac and correlation say enough.",
            )
        yield from _statements(step, node.query)


def _check_query(query: Query) -> Iterator[Found]:
    if query.statement.node and "pg_stat_statements" in query.statement.text:
        yield from _statements(query, query.statement.node)


def _statements(where: Step | Query, tree: Message) -> Iterator[Found]:
    if not _reads(tree, "pg_stat_statements"):
        return
    gone = sorted(_plain(tree) & set(_RENAMED))
    if gone:
        instead = ", ".join(_RENAMED[name] for name in gone)
        yield where.found(
            f"pg_stat_statements has no {', '.join(gone)} since PostgreSQL 13",
            name="pg_stat_statements",
            remedy=f"Use {instead}.",
        )


def _reads(tree: Message, name: str) -> bool:
    return any(relation.relname == name for relation in relations(tree))


def _plain(tree: Message) -> set[str]:
    """Return the columns that a query names, but for those of which it takes the text."""
    return {
        strings(node.fields)[-1] for node in walk(tree) if isinstance(node, pb.ColumnRef) and node.fields
        and strings(node.fields)
    } - {strings(node.arg.column_ref.fields)[-1] for node in walk(tree)
         if isinstance(node, pb.TypeCast) and strings(node.arg.column_ref.fields)}  # fmt: skip


RULE = Rule(
    id="OB01",
    title="Monitoring asks for columns that the server has",
    heading="§10.1 Performance Monitoring",
    level=Level.ERROR,
    why="The view cannot be created, or the query fails, just when somebody looks for what is slow.",
    remedy="Use the names of the server's version.",
    bad=(
        "CREATE VIEW slow AS SELECT query, calls, total_time, mean_time FROM pg_stat_statements WHERE mean_time"
        " > 1000;",
        "CREATE VIEW m AS SELECT tablename, attname, most_common_vals FROM pg_stats WHERE schemaname = 'public';",
        "SELECT query, total_time FROM pg_stat_statements ORDER BY total_time DESC LIMIT 10",
    ),
    good=(
        "CREATE VIEW slow AS SELECT query, calls, mean_exec_time FROM pg_stat_statements WHERE mean_exec_time > 1000;",
        "CREATE VIEW m AS SELECT tablename, attname, n_distinct, correlation FROM pg_stats;",
        "SELECT total_time FROM work_orders ORDER BY total_time LIMIT 10",
        "CREATE VIEW m AS SELECT tablename, most_common_vals::text AS common FROM pg_stats;",
    ),
    step=_check_step,
    on=frozenset({"ViewStmt"}),
    query=_check_query,
)
