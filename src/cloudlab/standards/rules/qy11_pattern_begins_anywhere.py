"""QY11: a pattern has a beginning that an index can use.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Table
from cloudlab.standards.expressions import literal
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.statements import column_of, known_tables, selects
from cloudlab.standards.walking import walk

_LIKE = {pb.AEXPR_LIKE, pb.AEXPR_ILIKE}
_SMALL = 10_000


def _check(query: Query) -> Iterator[Found]:
    for select in selects(query):
        known = known_tables(select.from_clause, query.catalog)
        for node in walk(select.where_clause):
            if not isinstance(node, pb.A_Expr) or node.kind not in _LIKE:
                continue
            pattern, found = literal(node.rexpr) or "", column_of(node.lexpr, known)
            if pattern.startswith("%") and found and _is_read_whole(*found, name=found[1].name):
                yield query.found(
                    f"LIKE {pattern!r} reads every row of {found[0]}",
                    name=f"{found[0]}.{found[1].name}",
                    remedy=f"CREATE INDEX CONCURRENTLY ON {found[0]} USING gin ({found[1].name} gin_trgm_ops);",
                )


def _is_read_whole(table: Table, _: object, *, name: str) -> bool:
    if table.kind not in {"table", "partitioned"} or (table.rows is not None and 0 <= table.rows < _SMALL):
        return False
    return not any(index.method in {"gin", "gist"} and name in index.columns for index in table.indexes.values())


RULE = Rule(
    id="QY11",
    title="A pattern has a beginning that an index can use",
    heading="§5.2 Query Patterns",
    level=Level.NOTE,
    why="A B-tree is sorted by the beginning of a text: LIKE '%lamp' compares every row.",
    remedy="An index by trigrams (pg_trgm) for parts of words, full text search for words.",
    bad=(
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); SELECT id FROM p WHERE name LIKE '%lamp'",
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); SELECT id FROM p WHERE p.name ILIKE '%lamp%'",
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); CREATE INDEX i ON p (name);"
        " SELECT x.id FROM p AS x WHERE x.id > 1 AND x.name LIKE '%a'",
    ),
    good=(
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); SELECT id FROM p WHERE name LIKE 'lamp%'",
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); CREATE INDEX i ON p USING gin (name gin_trgm_ops);"
        " SELECT id FROM p WHERE name LIKE '%lamp%'",
        "CREATE TABLE p (id bigint PRIMARY KEY, name text); SELECT id FROM p WHERE name LIKE $1",
        "SELECT name FROM pg_settings WHERE name LIKE '%timeout'",
    ),
    query=_check,
)
