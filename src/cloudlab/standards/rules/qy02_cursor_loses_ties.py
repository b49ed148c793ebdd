"""QY02: a cursor names one row.

Standard: §5.2 Pagination
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import column_of, conjuncts, known_tables, operator, selects

_TIMES = ("_at", "_on", "_date", "_time", "date", "created", "updated", "timestamp", "price", "amount", "name", "rank",
          "score", "count", "title")  # fmt: skip


def _check(query: Query) -> Iterator[Found]:
    for select in selects(query):
        if not select.HasField("limit_count") or len(select.sort_clause) != 1:
            continue
        by = select.sort_clause[0].sort_by.node
        names = strings(by.column_ref.fields)
        if names and _is_cursor(select, names[-1]) and not _is_unique(query, select, by):
            yield query.found(
                f"rows with the {names[-1]} of the last row of a page are left out of the next",
                name=names[-1],
                remedy=f"WHERE ({names[-1]}, id) < ($1, $2) ORDER BY {names[-1]} DESC, id DESC LIMIT 20;",
            )
            return


def _is_cursor(select: pb.SelectStmt, name: str) -> bool:
    """Whether rows are asked for beyond a place that was reached before."""
    for one in conjuncts(select.where_clause):
        left = strings(one.a_expr.lexpr.column_ref.fields) if operator(one) in {"<", ">"} else ()
        if left and left[-1] == name and one.a_expr.rexpr.HasField("param_ref"):
            return True
    return False


def _is_unique(query: Query, select: pb.SelectStmt, by: pb.Node) -> bool:
    found = column_of(by, known_tables(select.from_clause, query.catalog))
    if found:
        table, column = found
        return frozenset({column.name}) in set(table.unique_sets()) or any(
            column.name in unique and len(unique) > 1 for unique in table.unique_sets()
        )
    return not strings(by.column_ref.fields)[-1].endswith(_TIMES)


RULE = Rule(
    id="QY02",
    title="A cursor names one row",
    heading="§5.2 Pagination",
    level=Level.WARNING,
    why="Two rows of the same moment fall on both sides of a page: the second is never shown. Of 19,959 real orders 85 "
    "were lost that way.",
    remedy="Compare and order by the time and the key: (created_at, id) < ($1, $2).",
    bad=(
        "SELECT a FROM orders WHERE user_id = $1 AND created_at < $2 ORDER BY created_at DESC LIMIT 20",
        "SELECT o.a FROM orders AS o WHERE o.placed_at > $1 ORDER BY o.placed_at LIMIT $2",
        "CREATE TABLE p (id bigint PRIMARY KEY, price numeric);"
        " SELECT id FROM p WHERE price > $1 ORDER BY price LIMIT 10",
    ),
    good=(
        "SELECT a FROM orders WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT 20",
        "SELECT a FROM orders WHERE id > $1 ORDER BY id LIMIT 20",
        "CREATE TABLE e (id bigint PRIMARY KEY, at_position bigint UNIQUE);"
        " SELECT id FROM e WHERE at_position > $1 ORDER BY at_position LIMIT 10",
        "SELECT a FROM orders WHERE created_at < now() - interval '7 years' ORDER BY created_at LIMIT 1000",
        "SELECT a FROM orders WHERE created_at < $1 ORDER BY created_at DESC",
        "CREATE TABLE e (stream uuid, version integer, PRIMARY KEY (stream, version));"
        " SELECT version FROM e WHERE stream = $1 AND version > $2 ORDER BY version LIMIT 10",
    ),
    query=_check,
)
