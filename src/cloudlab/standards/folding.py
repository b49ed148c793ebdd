"""Folding statements into the model: what the schema is after each of them, without a server.

It believes what it reads: a statement that PostgreSQL would refuse changes the model nevertheless, as far as it can be
understood. What a function of the application does to a table it is called with is not known, and said to be so.
"""

import re
from collections.abc import Callable
from typing import Any

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards import folding_renames, folding_tables, folding_unseen
from cloudlab.standards.catalog import Catalog, EnumType, Expression, Function, Policy, Table, Trigger
from cloudlab.standards.expressions import calls, constants, function_name, literal, option_value, strings, type_name
from cloudlab.standards.folding_indexes import index_of
from cloudlab.standards.folding_tables import Fold
from cloudlab.standards.scripts import Statement

_TABLES = frozenset({pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_FOREIGN_TABLE})
_COMMANDS = {"all", "select", "insert", "update", "delete"}


def fold(catalog: Catalog, statement: Statement, number: int | None) -> None:
    """Change the model as the statement changes a database; `number` is that of its file."""
    handler = _HANDLERS.get(statement.kind)
    if handler:
        handler(Fold(catalog, statement, number), statement.node)


def _create_schema(it: Fold, node: pb.CreateSchemaStmt) -> None:
    it.catalog.schemas.setdefault(node.schemaname, None)


def _create_enum(it: Fold, node: pb.CreateEnumStmt) -> None:
    schema, name = it.qualified(strings(node.type_name))
    labels = list(strings(node.vals))
    it.catalog.enums[schema, name] = EnumType(schema, name, labels, born=it.number, at=it.statement.at)


def _alter_enum(it: Fold, node: pb.AlterEnumStmt) -> None:
    found = it.catalog.enums.get(it.qualified(strings(node.type_name)))
    if found is None:
        return
    if node.old_val and node.old_val in found.labels:
        found.labels[found.labels.index(node.old_val)] = node.new_val
    elif not node.old_val and node.new_val not in found.labels:
        at = found.labels.index(node.new_val_neighbor) if node.new_val_neighbor in found.labels else len(found.labels)
        found.labels.insert(at + (1 if node.new_val_neighbor and node.new_val_is_after else 0), node.new_val)


def _create_function(it: Fold, node: pb.CreateFunctionStmt) -> None:
    schema, name = it.qualified(strings(node.funcname))
    arguments = ", ".join(
        type_name(one.function_parameter.arg_type)
        for one in node.parameters
        if one.function_parameter.mode not in {pb.FUNC_PARAM_OUT, pb.FUNC_PARAM_TABLE}
    )
    function = Function(schema, name, arguments, at=it.statement.at)
    for option in node.options:
        _function_option(function, option.def_elem)
    it.catalog.functions[schema, name, arguments] = function


def _function_option(function: Function, option: pb.DefElem) -> None:
    argument = option.arg
    if option.defname == "language":
        function.language = argument.string.sval
    elif option.defname == "security":
        function.security_definer = argument.boolean.boolval
    elif option.defname == "volatility":
        function.volatility = argument.string.sval
    elif option.defname == "as":
        function.body = "\n".join(strings(argument.list.items))
    elif option.defname == "set" and argument.variable_set_stmt.name == "search_path":
        variable = argument.variable_set_stmt
        current = variable.kind == pb.VAR_SET_CURRENT
        function.search_path = "from current" if current else ", ".join(filter(None, map(literal, variable.args)))


def _alter_function(it: Fold, node: pb.AlterFunctionStmt) -> None:
    schema, name = it.qualified(strings(node.func.objname))
    for (where, what, _), function in it.catalog.functions.items():
        if what == name and where in {schema, ""}:
            for action in node.actions:
                _function_option(function, action.def_elem)


def _create_policy(it: Fold, node: pb.CreatePolicyStmt) -> None:
    table = it.table(node.table)
    if table:
        table.policies[node.policy_name] = Policy(
            node.policy_name,
            node.permissive,
            node.cmd_name if node.cmd_name in _COMMANDS else "all",
            tuple(_role(role.role_spec) for role in node.roles),
            Expression(_tree=node.qual) if node.HasField("qual") else None,
            Expression(_tree=node.with_check) if node.HasField("with_check") else None,
            it.statement.at,
        )


def _alter_policy(it: Fold, node: pb.AlterPolicyStmt) -> None:
    table = it.table(node.table)
    policy = table.policies.get(node.policy_name) if table else None
    if policy and node.HasField("qual"):
        policy.using = Expression(_tree=node.qual)
    if policy and node.HasField("with_check"):
        policy.with_check = Expression(_tree=node.with_check)


def _role(role: pb.RoleSpec) -> str:
    return "public" if role.roletype == pb.ROLESPEC_PUBLIC else role.rolename or "current_user"


def _create_trigger(it: Fold, node: pb.CreateTrigStmt) -> None:
    table = it.table(node.relation)
    if table:
        events = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}
        happens = frozenset(name for bit, name in events.items() if node.events & bit)
        when = {2: "before", 64: "instead of"}.get(node.timing, "after")
        function = ".".join(strings(node.funcname))
        table.triggers[node.trigname] = Trigger(node.trigname, function, happens, when, it.statement.at)


def _comment(it: Fold, node: pb.CommentStmt) -> None:
    target = node.object
    names: tuple[str, ...] = strings(target.list.items) if target.HasField("list") else ("",)
    if node.objtype in _TABLES and (table := it.named(names)):
        table.comment = node.comment
    elif node.objtype == pb.OBJECT_COLUMN and (table := it.named(names[:-1])) and names[-1] in table.columns:
        table.columns[names[-1]].comment = node.comment
    elif node.objtype == pb.OBJECT_TABCONSTRAINT and (table := it.named(names[:-1])) and names[-1] in table.constraints:
        table.constraints[names[-1]].comment = node.comment
    elif node.objtype == pb.OBJECT_SCHEMA:
        it.catalog.schemas[target.string.sval] = node.comment
    elif node.objtype == pb.OBJECT_TYPE and target.HasField("type_name"):
        found = it.catalog.enums.get(it.qualified(strings(target.type_name.names)))
        if found:
            found.comment = node.comment
    elif node.objtype in {pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE}:
        _, name = it.qualified(strings(target.object_with_args.objname))
        for (_, what, _), function in it.catalog.functions.items():
            if what == name:
                function.comment = node.comment


def _grant(it: Fold, node: pb.GrantStmt) -> None:
    roles = [_role(role.role_spec) for role in node.grantees]
    privileges = {one.access_priv.priv_name for one in node.privileges} or {"all"}
    if node.objtype == pb.OBJECT_FUNCTION and not node.is_grant and "public" in roles:
        for one in node.objects:
            _revoke_execute(it, strings(one.object_with_args.objname))
    if node.objtype != pb.OBJECT_TABLE:
        return
    if node.targtype == pb.ACL_TARGET_ALL_IN_SCHEMA:
        schemas = {one.string.sval for one in node.objects}
        tables = [table for table in it.catalog.tables.values() if table.schema in schemas]
    else:
        tables = [table for one in node.objects if (table := it.table(one.range_var))]
    for table in tables:
        for role in roles:
            held = table.grants.setdefault(role, set())
            if node.is_grant:
                held |= privileges
            else:
                held -= held if "all" in privileges else privileges


def _revoke_execute(it: Fold, names: tuple[str, ...]) -> None:
    for (_, what, _), function in it.catalog.functions.items():
        if names and what == names[-1]:
            function.public_execute = False


def _default_privileges(it: Fold, node: pb.AlterDefaultPrivilegesStmt) -> None:
    schemas = [
        name for option in node.options if option.def_elem.defname == "schemas"
        for name in strings(option.def_elem.arg.list.items)
    ]  # fmt: skip
    for role in node.action.grantees:
        for schema in schemas or [""]:
            it.catalog.default_privileges.add((schema, _role(role.role_spec)))


def _view(it: Fold, node: pb.ViewStmt) -> None:
    schema, name = it.new_name(node.view)
    options = {one.def_elem.defname: option_value(one.def_elem) for one in node.options}
    it.catalog.tables[schema, name] = Table(
        schema, name, "view", options=options, query=_query(node.query), born=it.number, at=it.statement.at
    )


def _query(node: pb.Node) -> str:
    result = pb.ParseResult()
    result.stmts.add().stmt.CopyFrom(node)
    return postgast.deparse(result)


def _table_as(it: Fold, node: pb.CreateTableAsStmt) -> None:
    schema, name = it.new_name(node.into.rel)
    kind = "materialized view" if node.objtype == pb.OBJECT_MATVIEW else "table"
    temporary = node.into.rel.relpersistence == "t"
    # A table keeps the rows and forgets where they came from.
    query = _query(node.query) if kind == "materialized view" else ""
    it.catalog.tables[schema, name] = Table(
        schema, name, kind, query=query, born=it.number, is_temporary=temporary, at=it.statement.at
    )


def _index(it: Fold, node: pb.IndexStmt) -> None:
    table = it.table(node.relation)
    if table:
        others = () if node.idxname else it.catalog.tables.values()
        index = index_of(node, it.statement.at, {name for each in others for name in each.indexes})
        table.indexes[index.name] = index


def _drop(it: Fold, node: pb.DropStmt) -> None:
    for one in node.objects:
        if one.HasField("list"):
            names = strings(one.list.items)
        elif one.HasField("type_name"):
            names = strings(one.type_name.names)
        elif one.HasField("object_with_args"):
            names = strings(one.object_with_args.objname)
        else:
            names = (one.string.sval,)
        if names and (drop := _DROPS.get(node.remove_type)):
            drop(it, names)


def _drop_table(it: Fold, names: tuple[str, ...]) -> None:
    if table := it.named(names):
        folding_tables.forget(it.catalog, table)


def _drop_index(it: Fold, names: tuple[str, ...]) -> None:
    for table in it.catalog.tables.values():
        table.indexes.pop(names[-1], None)


def _drop_policy(it: Fold, names: tuple[str, ...]) -> None:
    if table := it.named(names[:-1]):
        table.policies.pop(names[-1], None)


def _drop_trigger(it: Fold, names: tuple[str, ...]) -> None:
    if table := it.named(names[:-1]):
        table.triggers.pop(names[-1], None)


def _drop_type(it: Fold, names: tuple[str, ...]) -> None:
    it.catalog.enums.pop(it.qualified(names), None)


def _drop_function(it: Fold, names: tuple[str, ...]) -> None:
    for key in [key for key in it.catalog.functions if key[1] == names[-1]]:
        del it.catalog.functions[key]


def _drop_schema(it: Fold, names: tuple[str, ...]) -> None:
    it.catalog.schemas.pop(names[-1], None)
    for key in [key for key in it.catalog.functions if key[0] == names[-1]]:
        del it.catalog.functions[key]
    for table in [table for table in it.catalog.tables.values() if table.schema == names[-1]]:
        folding_tables.forget(it.catalog, table)


_DROPS: dict[int, Callable[[Fold, tuple[str, ...]], None]] = {
    **dict.fromkeys(_TABLES, _drop_table),
    pb.OBJECT_INDEX: _drop_index,
    pb.OBJECT_POLICY: _drop_policy,
    pb.OBJECT_TRIGGER: _drop_trigger,
    pb.OBJECT_TYPE: _drop_type,
    pb.OBJECT_FUNCTION: _drop_function,
    pb.OBJECT_SCHEMA: _drop_schema,
}


def _move(it: Fold, node: pb.AlterObjectSchemaStmt) -> None:
    table = it.table(node.relation) if node.HasField("relation") else None
    if table:
        folding_tables.move(it.catalog, table, node.newschema, table.name)


def _call(it: Fold, node: Message) -> None:
    """Note the tables that a function of the application is called with: what it does to them cannot be seen."""
    if any(function_name(call) not in _HARMLESS for call in calls(node)):
        for text in constants(node):
            if table := it.named(tuple(text.split("."))):
                table.is_opaque = True


def _do(it: Fold, node: pb.DoStmt) -> None:
    """Note the tables that a block names."""
    bodies = [one.def_elem.arg.string.sval for one in node.args if one.def_elem.defname == "as"]
    words = {word for body in bodies for word in re.findall(r"\w+", body)}
    for table in it.catalog.tables.values():
        table.is_opaque = table.is_opaque or table.name in words
    folding_unseen.block(it, node)


_HARMLESS = {"set_config", "current_setting", "setval", "nextval", "pg_get_serial_sequence", "to_regclass", "format"}


def _variable(it: Fold, node: pb.VariableSetStmt) -> None:
    if node.name == "search_path" and node.args and (first := literal(node.args[0])):
        it.catalog.default_schema = first


def _alter_table(it: Fold, node: pb.AlterTableStmt) -> None:
    folding_tables.alter(it, node)
    table = it.table(node.relation)
    for each in node.cmds if table else ():
        if table and each.alter_table_cmd.subtype in {pb.AT_SetRelOptions, pb.AT_ResetRelOptions}:
            folding_unseen.set_options(table, each.alter_table_cmd)


_HANDLERS: dict[str, Callable[[Fold, Any], None]] = {
    "CreateStmt": folding_tables.create,
    "CreateForeignTableStmt": lambda it, node: folding_tables.create(it, node.base_stmt),
    "AlterTableStmt": _alter_table,
    "CreateSchemaStmt": _create_schema,
    "CreateEnumStmt": _create_enum,
    "AlterEnumStmt": _alter_enum,
    "CreateFunctionStmt": _create_function,
    "AlterFunctionStmt": _alter_function,
    "CreatePolicyStmt": _create_policy,
    "AlterPolicyStmt": _alter_policy,
    "CreateTrigStmt": _create_trigger,
    "CommentStmt": _comment,
    "GrantStmt": _grant,
    "AlterDefaultPrivilegesStmt": _default_privileges,
    "ViewStmt": _view,
    "CreateTableAsStmt": _table_as,
    "IndexStmt": _index,
    "RenameStmt": folding_renames.rename,
    "DropStmt": _drop,
    "AlterObjectSchemaStmt": _move,
    "SelectStmt": _call,
    "CallStmt": _call,
    "DoStmt": _do,
    "VariableSetStmt": _variable,
}
