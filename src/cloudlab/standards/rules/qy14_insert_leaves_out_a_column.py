"""QY14: an INSERT fills every column that must have a value.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Query, Rule


def _check(query: Query) -> Iterator[Found]:
    node = query.statement.node
    if not isinstance(node, pb.InsertStmt) or not node.cols:
        return
    table = query.catalog.find(node.relation.schemaname, node.relation.relname)
    if (
        table is None
        or table.is_opaque
        or not table.is_table
        or any(trigger.when == "before" and "insert" in trigger.events for trigger in table.triggers.values())
    ):
        return
    given = {one.res_target.name for one in node.cols}
    missing = [
        column.name
        for column in table.columns.values()
        if column.not_null and not (column.default or column.identity or column.generated or column.name in given)
    ]
    if missing and given <= set(table.columns):
        yield query.found(f"leaves out {', '.join(missing)}, which must not be NULL: it always fails", name=str(table))


RULE = Rule(
    id="QY14",
    title="An INSERT fills every column that must have a value",
    heading="§3.1 Strong Consistency (CP from CAP)",
    level=Level.ERROR,
    why="A column that is NOT NULL without a default must be given: the statement fails each time it runs.",
    remedy="Give the column, or give it a default.",
    bad=(
        "CREATE TABLE o (id bigint PRIMARY KEY DEFAULT 1, n text NOT NULL, a integer); INSERT INTO o (a) VALUES ($1)",
        "CREATE TABLE e (id bigint PRIMARY KEY, version integer NOT NULL); INSERT INTO e (id) VALUES (1)",
        "CREATE TABLE e (id bigint PRIMARY KEY, a integer); INSERT INTO e (a) SELECT a FROM e",
    ),
    good=(
        "CREATE TABLE o (id bigint PRIMARY KEY, n text NOT NULL DEFAULT ''); INSERT INTO o (id) VALUES ($1)",
        "CREATE TABLE o (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, a integer); INSERT INTO o (a) VALUES ($1)",
        "CREATE TABLE o (id bigserial PRIMARY KEY, a integer); INSERT INTO o (a) VALUES ($1)",
        "CREATE TABLE o (id bigint PRIMARY KEY, n text NOT NULL); CREATE TRIGGER t BEFORE INSERT ON o"
        " FOR EACH ROW EXECUTE FUNCTION fill(); INSERT INTO o (id) VALUES ($1)",
        "INSERT INTO unknown (a) VALUES (1)",
    ),
    query=_check,
)
