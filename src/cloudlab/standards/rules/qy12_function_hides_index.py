"""QY12: a condition leaves an indexed column as it is.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Column, Table
from cloudlab.standards.expressions import deparsed, function_name, type_name
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import column_of, conjuncts, is_indexed_first, known_tables, operator, selects

_COMPARES = {"=", "<", ">", "<=", ">="}
_HIDES = {"date", "date_trunc", "lower", "upper", "trim", "coalesce", "to_char", "extract", "abs", "round", "substr",
          "substring", "left", "concat", "btrim", "timezone"}  # fmt: skip


def _check(query: Query) -> Iterator[Found]:
    for select in selects(query):
        known = known_tables(select.from_clause, query.catalog)
        for one in conjuncts(select.where_clause):
            if operator(one) in _COMPARES and (found := _hidden(one.a_expr.lexpr, known)):
                table, column, how = found
                yield query.found(
                    f"{how} keeps the index on {table}.{column.name} from being used",
                    name=f"{table}.{column.name}",
                )


def _hidden(node: pb.Node, known: dict[str, Table]) -> tuple[Table, Column, str] | None:
    """Return the indexed column that a function or a cast hides, where no index has that expression."""
    if node.HasField("func_call") and function_name(node.func_call) in _HIDES:
        arguments = list(node.func_call.args)
    elif node.HasField("type_cast"):
        arguments = [node.type_cast.arg]
    elif node.HasField("coalesce_expr"):
        arguments = list(node.coalesce_expr.args)[:1]
    else:
        return None
    for argument in arguments:
        found = column_of(argument, known)
        if found and is_indexed_first(found[0], found[1].name) and not _has_expression(*found, node=node):
            return (*found, _how(node))
    return None


def _has_expression(table: Table, column: Column, *, node: pb.Node) -> bool:
    """Whether there is an index on an expression of the column, or the cast changes nothing."""
    if node.HasField("type_cast") and type_name(node.type_cast.type_name).split("(")[0] == column.base_type:
        return True
    return any(column.name in one for index in table.indexes.values() for one in index.expressions)


def _how(node: pb.Node) -> str:
    if node.HasField("type_cast"):
        return f"the cast to {type_name(node.type_cast.type_name)}"
    return f"{function_name(node.func_call)}()" if node.HasField("func_call") else deparsed(node).split("(")[0] + "()"


RULE = Rule(
    id="QY12",
    title="A condition leaves an indexed column as it is",
    heading="§5.2 Query Patterns",
    level=Level.WARNING,
    why="An index on a column is sorted by the column and not by what a function makes of it: every row is read.",
    remedy="Change the other side: created_at >= $1 AND created_at < $1 + 1; or index the expression.",
    bad=(
        "CREATE TABLE o (id bigint PRIMARY KEY, created_at timestamptz); CREATE INDEX i ON o (created_at);"
        " SELECT id FROM o WHERE created_at::date = $1",
        "CREATE TABLE u (id bigint PRIMARY KEY, email text UNIQUE); SELECT id FROM u WHERE lower(email) = $1",
        "CREATE TABLE o (id bigint PRIMARY KEY, created_at timestamptz); CREATE INDEX i ON o (created_at);"
        " SELECT id FROM o WHERE date_trunc('day', created_at) = $1",
        "CREATE TABLE o (id bigint PRIMARY KEY, n integer); CREATE INDEX i ON o (n);"
        " SELECT id FROM o WHERE coalesce(n, 0) = 1",
    ),
    good=(
        "CREATE TABLE o (id bigint PRIMARY KEY, created_at timestamptz); CREATE INDEX i ON o (created_at);"
        " SELECT id FROM o WHERE created_at >= $1 AND created_at < $1 + interval '1 day'",
        "CREATE TABLE u (id bigint PRIMARY KEY, email text); CREATE INDEX i ON u (lower(email));"
        " SELECT id FROM u WHERE lower(email) = lower($1)",
        "CREATE TABLE u (id bigint PRIMARY KEY, email text UNIQUE); SELECT lower(email) FROM u WHERE email = $1",
        "CREATE TABLE u (id bigint PRIMARY KEY, name text); SELECT id FROM u WHERE lower(name) = $1",
        "CREATE TABLE u (id bigint PRIMARY KEY); SELECT id FROM u WHERE id::bigint = $1",
    ),
    query=_check,
)
