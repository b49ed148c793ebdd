"""CP03: a new column that may not be NULL has a default.

Standard: §6.2 Adding Columns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step

_FILLS = {pb.CONSTR_DEFAULT, pb.CONSTR_IDENTITY, pb.CONSTR_GENERATED}


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.AlterTableStmt) or step.is_new(step.table(node.relation)):
        return
    for each in node.cmds:
        if each.alter_table_cmd.subtype != pb.AT_AddColumn:
            continue
        column = getattr(each.alter_table_cmd, "def").column_def
        kinds = {one.constraint.contype for one in column.constraints}
        names = [name.string.sval for name in column.type_name.names]
        if pb.CONSTR_NOTNULL in kinds and not kinds & _FILLS and "serial" not in names[-1]:
            yield step.found(
                f"fails as soon as {node.relation.relname} has a row, and breaks code that does not know the column",
                name=column.colname,
            )


RULE = Rule(
    id="CP03",
    title="A new column that may not be NULL has a default",
    heading="§6.2 Adding Columns",
    level=Level.ERROR,
    why="Rows that are there would have NULL, so PostgreSQL refuses; and an INSERT of the running version would fail.",
    remedy="ADD COLUMN … NOT NULL DEFAULT … in one statement: since version 11 no row is rewritten for a constant.",
    bad=(
        "ALTER TABLE users ADD COLUMN age integer NOT NULL;",
        "ALTER TABLE users ADD COLUMN a text, ADD COLUMN b text NOT NULL;",
        "ALTER TABLE users ADD COLUMN at timestamptz NOT NULL CHECK (at > '2020-01-01');",
    ),
    good=(
        "ALTER TABLE users ADD COLUMN age integer NOT NULL DEFAULT 0;",
        "CREATE TABLE users (a integer PRIMARY KEY); ALTER TABLE users ADD COLUMN b integer NOT NULL;",
        "ALTER TABLE users ADD COLUMN n bigint NOT NULL GENERATED ALWAYS AS IDENTITY;",
        "ALTER TABLE users ADD COLUMN n serial NOT NULL;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt"}),
)
