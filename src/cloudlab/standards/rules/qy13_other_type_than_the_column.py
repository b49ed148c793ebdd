"""QY13: a column is compared with a value of its own type.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import type_name
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import column_of, conjuncts, is_indexed_first, known_tables, operator, selects

_WHOLE = {"smallint", "integer", "bigint"}
_BROKEN = {"numeric", "double precision", "real"}


def _check(query: Query) -> Iterator[Found]:
    for select in selects(query):
        known = known_tables(select.from_clause, query.catalog)
        for one in conjuncts(select.where_clause):
            if operator(one) not in {"=", "<", ">", "<=", ">="}:
                continue
            found, given = column_of(one.a_expr.lexpr, known), _given(one.a_expr.rexpr)
            if found and found[1].type in _WHOLE and given in _BROKEN and is_indexed_first(found[0], found[1].name):
                yield query.found(
                    f"{found[1].name} is {found[1].type} and is cast to {given} in every row to be compared: no index "
                    f"is used",
                    name=f"{found[0]}.{found[1].name}",
                    remedy=f"Give it as {found[1].type}.",
                )


def _given(node: pb.Node) -> str:
    """Return the type that a value is given with."""
    if node.HasField("type_cast"):
        return type_name(node.type_cast.type_name).split("(")[0]
    return "numeric" if node.a_const.HasField("fval") and "." in node.a_const.fval.fval else ""


RULE = Rule(
    id="QY13",
    title="A column is compared with a value of its own type",
    heading="§5.2 Query Patterns",
    level=Level.WARNING,
    why="Where the types differ PostgreSQL casts the wider way: an integer column against a numeric value is cast row "
    "by row, and its index is of no use.",
    remedy="Cast the value and not the column: WHERE id = $1::bigint;",
    bad=(
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id = $1::numeric",
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id >= 1000.0",
        "CREATE TABLE o (id integer PRIMARY KEY); SELECT id FROM o WHERE id = $1::double precision",
    ),
    good=(
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id = $1::bigint",
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id = 1000",
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id = $1::integer",
        "CREATE TABLE o (id bigint PRIMARY KEY, n integer); SELECT id FROM o WHERE n > 0.5",
        "CREATE TABLE o (id numeric PRIMARY KEY); SELECT id FROM o WHERE id = 1.5",
    ),
    query=_check,
)
