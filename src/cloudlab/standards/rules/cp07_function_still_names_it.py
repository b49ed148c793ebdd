"""CP07: no function names what is dropped or renamed.

Standard: §6.2 Schema Changes
"""

import re
from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Function, Table
from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.trees import words


def _check(step: Step) -> Iterator[Found]:
    for table, column, what in _gone(step):
        if not column and _is_made_again(step, table):
            continue
        named = (column or table.name).lower()
        for function in step.catalog.functions.values():
            if named not in words(function.body):
                continue
            if _names(step.catalog, function, table, column) and not _is_replaced(step, function):
                yield step.found(
                    f"the function {function.name} still names {column or table}, which is {what}: it fails when"
                    " called",
                    name=str(table),
                    remedy=f"CREATE OR REPLACE FUNCTION {function.name}(…) in the same file, before this statement.",
                )


def _gone(step: Step) -> Iterator[tuple[Table, str, str]]:
    """Yield what the statement takes away: a table and a column of it, empty for the table itself."""
    node = step.statement.node
    if isinstance(node, pb.AlterTableStmt) and (table := step.table(node.relation)):
        for each in node.cmds:
            if each.alter_table_cmd.subtype == pb.AT_DropColumn:
                yield table, each.alter_table_cmd.name, "dropped"
    elif isinstance(node, pb.RenameStmt) and (table := step.table(node.relation)):
        if node.rename_type == pb.OBJECT_COLUMN:
            yield table, node.subname, "renamed"
        elif node.rename_type == pb.OBJECT_TABLE:
            yield table, "", "renamed"
    elif isinstance(node, pb.DropStmt) and node.remove_type == pb.OBJECT_TABLE:
        for one in node.objects:
            schema, name = ("", "", *strings(one.list.items))[-2:]
            if found := step.catalog.find(schema, name):
                yield found, "", "dropped"


def _is_made_again(step: Step, table: Table) -> bool:
    """Whether the same file makes another table or view of that name afterwards."""
    for statement in step.script.statements:
        node = statement.node
        if statement.offset <= step.statement.offset:
            continue
        is_new = (isinstance(node, pb.CreateStmt) and node.relation.relname == table.name) or (
            isinstance(node, pb.CreateTableAsStmt) and node.into.rel.relname == table.name
        )
        is_view = isinstance(node, pb.ViewStmt) and node.view.relname == table.name
        if is_new or is_view or (isinstance(node, pb.RenameStmt) and node.newname == table.name):
            return True
    return False


def _names(catalog: Catalog, function: Function, table: Table, column: str) -> bool:
    body = re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'", " ", function.body, flags=re.DOTALL)
    is_of_trigger = re.search(r"\b(new|old)\.", body, re.IGNORECASE)
    calling = [each for each in catalog.tables.values() if is_of_trigger and _calls(each, function)]
    # A trigger function without a trigger is dead, and so is one whose only table goes.
    if is_of_trigger and not [each for each in calling if column or each is not table]:
        return False
    if not column:
        return bool(re.search(rf"\b(from|join|into|update|table|only)\s+(\w+\.)?{re.escape(table.name)}\b", body, re.I))
    if table in calling:
        return bool(re.search(rf"\b(new|old)\.{re.escape(column)}\b", body, re.IGNORECASE))
    said = set(re.findall(r"\w+", re.sub(r"\b(new|old)\.\w+", " ", body, flags=re.IGNORECASE)))
    if not {table.name, column} <= said:
        return False
    # Another table that the function reads may have a column of that name.
    return not any(
        other.name in said and column in other.columns for other in catalog.tables.values() if other is not table
    )


def _calls(table: Table, function: Function) -> bool:
    return any(trigger.function.rpartition(".")[2] == function.name for trigger in table.triggers.values())


def _is_replaced(step: Step, function: Function) -> bool:
    """Whether the same file makes it anew afterwards, or drops it."""
    for statement in step.script.statements:
        node = statement.node
        if statement.offset <= step.statement.offset:
            continue
        if isinstance(node, pb.CreateFunctionStmt) and strings(node.funcname)[-1] == function.name:
            return True
        if isinstance(node, pb.DoStmt) and function.name in words(statement.text):
            return True  # what a block does to it cannot be seen
        if isinstance(node, pb.DropStmt) and node.remove_type == pb.OBJECT_FUNCTION:
            gone = {strings(one.object_with_args.objname)[-1] for one in node.objects}
            if function.name in gone:
                return True
    return False


RULE = Rule(
    id="CP07",
    title="No function names what is dropped or renamed",
    heading="§6.2 Schema Changes",
    level=Level.WARNING,
    why="PostgreSQL does not look into the bodies of functions: the migration succeeds, and the next call fails.",
    remedy="Replace the function in the same migration, before what it names is gone.",
    bad=(
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN (SELECT sum(a) FROM t); END $$;\n-- next file\nALTER TABLE t RENAME COLUMN a TO b;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION income() RETURNS numeric LANGUAGE sql AS $$ SELECT sum(total) FROM orders $$;"
        " ALTER TABLE orders DROP COLUMN total;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION newest() RETURNS uuid LANGUAGE sql AS $$ SELECT max(order_id) FROM orders $$;"
        " ALTER TABLE orders RENAME TO purchases;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION check_it() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.total < 0 THEN RAISE 'no'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION check_it();"
        " ALTER TABLE orders RENAME COLUMN total TO total_amount;",
    ),
    good=(
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS"
        " $$ SELECT max(a) FROM t $$; ALTER FUNCTION f() RENAME TO g;\n-- next file\n"
        "DROP FUNCTION g(); DROP TABLE t;",
        "CREATE TABLE t (id bigint PRIMARY KEY, a integer); CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS"
        " $$ SELECT max(a) FROM t $$;\n-- next file\n"
        "DROP TABLE t; DO $$ BEGIN DROP FUNCTION f(); EXCEPTION WHEN OTHERS THEN NULL; END $$;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION newest() RETURNS uuid LANGUAGE sql AS $$ SELECT max(order_id) FROM orders $$;"
        " ALTER TABLE orders DROP COLUMN total;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE TABLE carts (total int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS"
        " $$ SELECT c.total FROM carts AS c, orders AS o $$; ALTER TABLE orders DROP COLUMN total;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION income() RETURNS numeric LANGUAGE sql AS $$ SELECT sum(total) FROM orders $$;"
        " DROP FUNCTION income(); ALTER TABLE orders DROP COLUMN total;",
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4));"
        " CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'total of orders' $$; DROP TABLE orders;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt", "DropStmt", "RenameStmt"}),
)
