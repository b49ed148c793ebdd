"""CP04: what depends on a column or a table is changed with it.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Table
from cloudlab.standards.expressions import columns, strings
from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.trees import parsed, relations, words

_DROPPED = {pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW}


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.AlterTableStmt) and (table := step.table(node.relation)):
        for each in node.cmds:
            command = each.alter_table_cmd
            if command.subtype in {pb.AT_DropColumn, pb.AT_AlterColumnType} and command.name in table.columns:
                yield from _of_column(step, table, command)
    elif isinstance(node, pb.DropStmt) and node.remove_type in _DROPPED and node.behavior == pb.DROP_CASCADE:
        yield from _of_dropped(step, node)


def _of_column(step: Step, table: Table, command: pb.AlterTableCmd) -> Iterator[Found]:
    cascades = command.behavior == pb.DROP_CASCADE
    for view in _views(step, table, command.name):
        end = "which goes with it, with its grants" if cascades else "so the statement fails"
        yield step.found(
            f"the {view.kind} {view} reads {table.name}.{command.name}, {end}",
            name=str(view),
            remedy=f"Drop or replace {view} before, and make it again after, with its grants and comments.",
        )
    policies = [
        policy.name
        for policy in table.policies.values()
        for one in (policy.using, policy.with_check)
        if one and one.tree and command.name in columns(one.tree)
    ]
    if policies:
        end = "and would go with it: rows are shown to all or to nobody" if cascades else "so the statement fails"
        yield step.found(f"the policy {policies[0]} looks at {command.name}, {end}", name=policies[0])


def _views(step: Step, table: Table, column: str) -> Iterator[Table]:
    for view in step.catalog.tables.values():
        if not view.query or table.name not in words(view.query) or (tree := parsed(view.query)) is None:
            continue
        read = {relation.relname for relation in relations(tree)}
        if table.name in read and (not column or column in columns(tree)):
            yield view


def _of_dropped(step: Step, node: pb.DropStmt) -> Iterator[Found]:
    gone = {strings(one.list.items)[-1] for one in node.objects}
    for one in node.objects:
        *schema, name = strings(one.list.items)
        table = step.catalog.find(schema[-1] if schema else "", name)
        for view in _views(step, table, "") if table else ():
            if view.name not in gone:
                yield step.found(f"CASCADE drops the {view.kind} {view} too", name=str(view))


RULE = Rule(
    id="CP04",
    title="What depends on a column is changed with it",
    heading="§6.2 Schema Changes",
    level=Level.ERROR,
    why="PostgreSQL refuses to drop or retype a column that a view or a policy reads, CASCADE takes them along without "
    "a question, and of the bodies of functions it knows nothing: they fail when they are called.",
    remedy="Drop or replace what depends on it before, and make it again after, in the same transaction.",
    bad=(
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nALTER TABLE t DROP COLUMN a;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nALTER TABLE t ALTER COLUMN a TYPE bigint;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nDROP TABLE t CASCADE;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE POLICY p ON t USING (a = 1);"
        "\n-- next file\nALTER TABLE t DROP COLUMN a;",
    ),
    good=(
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE TABLE copy AS SELECT a FROM t;"
        "\n-- next file\nDROP TABLE t CASCADE;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT id FROM t;"
        "\n-- next file\nALTER TABLE t DROP COLUMN a;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nDROP VIEW v; ALTER TABLE t DROP COLUMN a; CREATE VIEW v AS SELECT id FROM t;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nALTER TABLE t RENAME COLUMN a TO b;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE VIEW v AS SELECT a FROM t;"
        "\n-- next file\nDROP VIEW v; DROP TABLE t CASCADE;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS"
        " $$ SELECT count(*) FROM t $$;\n-- next file\nALTER TABLE t DROP COLUMN a;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt", "DropStmt"}),
)
