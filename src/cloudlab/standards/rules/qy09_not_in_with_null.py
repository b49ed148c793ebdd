"""QY09: NOT IN meets no NULL.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import column_of, conjuncts, known_tables


def _check(query: Query) -> Iterator[Found]:
    for node in query.nodes():
        if isinstance(node, pb.BoolExpr) and node.boolop == pb.NOT_EXPR:
            link = node.args[0].sub_link
            if link.sub_link_type == pb.ANY_SUBLINK and not link.oper_name and (name := _nullable(query, link)):
                yield query.found(f"finds no row at all as soon as one {name} is NULL", name=name)


def _nullable(query: Query, link: pb.SubLink) -> str:
    """Return the column that a subquery gives when the model knows that it may be NULL."""
    select = link.subselect.select_stmt
    if len(select.target_list) != 1 or select.group_clause:
        return ""
    found = column_of(select.target_list[0].res_target.val, known_tables(select.from_clause, query.catalog))
    if found is None or found[1].not_null:
        return ""
    for one in conjuncts(select.where_clause):
        argument = one.null_test.arg if one.HasField("null_test") else one.a_expr.lexpr
        if argument.HasField("column_ref") and argument.column_ref.fields[-1].string.sval == found[1].name:
            return ""  # a condition on it, and NULL fulfils none
    return found[1].name


RULE = Rule(
    id="QY09",
    title="NOT IN meets no NULL",
    heading="§5.2 Query Patterns",
    level=Level.ERROR,
    why="x NOT IN (1, NULL) is neither true nor false: the query is empty for ever after the first NULL, without an "
    "error. The planner cannot make an anti-join of it either.",
    remedy="WHERE NOT EXISTS (SELECT FROM … WHERE …);",
    bad=(
        "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (a_id bigint);"
        " SELECT id FROM a WHERE id NOT IN (SELECT a_id FROM b)",
        "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (a_id bigint, n integer);"
        " SELECT id FROM a WHERE id NOT IN (SELECT b.a_id FROM b WHERE b.n = 1)",
        "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (a_id bigint);"
        " DELETE FROM a WHERE id NOT IN (SELECT DISTINCT a_id FROM b)",
    ),
    good=(
        "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (a_id bigint NOT NULL);"
        " SELECT id FROM a WHERE id NOT IN (SELECT a_id FROM b)",
        "CREATE TABLE b (a_id bigint); SELECT id FROM a WHERE id NOT IN (SELECT a_id FROM b WHERE a_id IS NOT NULL)",
        "SELECT id FROM a WHERE id NOT IN (1, 2, 3)",
        "SELECT id FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.a_id = a.id)",
        "SELECT id FROM a WHERE id NOT IN (SELECT a_id FROM unknown)",
    ),
    query=_check,
)
