"""Folding what is done to tables: CREATE TABLE and every form of ALTER TABLE."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Column, Constraint, Expression, Index, Place, Table
from cloudlab.standards.expressions import columns, literal, option_value, strings, type_name
from cloudlab.standards.folding_indexes import free
from cloudlab.standards.scripts import Statement

_ACTIONS = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default", "": "no action"}
_KINDS = {
    pb.CONSTR_PRIMARY: "p",
    pb.CONSTR_UNIQUE: "u",
    pb.CONSTR_CHECK: "c",
    pb.CONSTR_FOREIGN: "f",
    pb.CONSTR_EXCLUSION: "x",
    pb.CONSTR_NOTNULL: "n",
}
# What LIKE … INCLUDING takes along: bits of TableLikeOption.
_LIKE_COMMENTS, _LIKE_CONSTRAINTS, _LIKE_DEFAULTS, _LIKE_GENERATED, _LIKE_IDENTITY, _LIKE_INDEXES = 1, 4, 8, 16, 32, 64
_SERIAL = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"} | {
    "serial4": "integer", "serial8": "bigint", "serial2": "smallint",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fold:
    """One statement on its way into the model."""

    catalog: Catalog
    statement: Statement
    number: int | None

    def qualified(self, names: Sequence[str]) -> tuple[str, str]:
        """Return schema and name; the default schema where none is said."""
        return (names[-2], names[-1]) if len(names) > 1 else (self.catalog.default_schema, names[-1] if names else "")

    def new_name(self, relation: pb.RangeVar) -> tuple[str, str]:
        """Return schema and name of what is being created."""
        return relation.schemaname or self.catalog.default_schema, relation.relname

    def table(self, relation: pb.RangeVar) -> Table | None:
        """Return the table that a statement names."""
        return self.catalog.find(relation.schemaname, relation.relname)

    def type(self, node: pb.TypeName) -> str:
        """Return a type as a server says it: an enum with its schema."""
        text = type_name(node)
        found = None if "." in text else self.catalog.enum(text)
        return f"{found.schema}.{text}" if found else text

    def named(self, names: Sequence[str]) -> Table | None:
        """Return the table of a qualified name."""
        return self.catalog.find(names[-2] if len(names) > 1 else "", names[-1]) if names else None


def create(it: Fold, node: pb.CreateStmt) -> None:
    """CREATE TABLE, also of a partition."""
    schema, name = it.new_name(node.relation)
    if node.if_not_exists and (schema, name) in it.catalog.tables:
        return
    table = Table(schema, name, born=it.number, at=it.statement.at, is_temporary=node.relation.relpersistence == "t")
    table.options = {one.def_elem.defname: option_value(one.def_elem) for one in node.options}
    if node.HasField("partspec"):
        table.kind = "partitioned"
        strategies = {pb.PARTITION_STRATEGY_LIST: "list", pb.PARTITION_STRATEGY_RANGE: "range"}
        table.partition_strategy = strategies.get(node.partspec.strategy, "hash")
        table.partition_key = tuple(one.partition_elem.name or None for one in node.partspec.part_params)
    for element in node.table_elts:
        if element.HasField("column_def"):
            add_column(it, table, element.column_def)
        elif element.HasField("constraint"):
            add_constraint(it, table, element.constraint)
        elif element.HasField("table_like_clause"):
            _like(it, table, element.table_like_clause)
    for parent in node.inh_relations:
        found = it.table(parent.range_var)
        if node.HasField("partbound"):
            table.partition_of = found.key if found else it.new_name(parent.range_var)
            table.partition_bound = _bound(node.partbound)
        if found:
            table.columns = {**found.columns, **table.columns}
    it.catalog.tables[schema, name] = table


def _like(it: Fold, table: Table, clause: pb.TableLikeClause) -> None:
    source = it.table(clause.relation)
    if source:
        for column in source.columns.values():
            table.columns[column.name] = _copied(column, clause.options, it.statement.at)
        for constraint in source.of_kind("c"):
            if clause.options & _LIKE_CONSTRAINTS:
                table.constraints[constraint.name] = replace(constraint, at=it.statement.at)
        for index in source.indexes.values():
            if clause.options & _LIKE_INDEXES:
                _copy_index(table, source, index, it.statement.at)


def _copied(column: Column, options: int, at: Place) -> Column:
    return Column(
        column.name,
        column.type,
        column.not_null,
        column.default if options & _LIKE_DEFAULTS else None,
        bool(column.identity and options & _LIKE_IDENTITY),
        column.generated if options & _LIKE_GENERATED else None,
        column.comment if options & _LIKE_COMMENTS else None,
        at,
    )


def _copy_index(table: Table, source: Table, index: Index, at: Place) -> None:
    """Copy an index under the name that PostgreSQL chooses, and the constraint that it is of."""
    names = [name or "expr" for name in index.columns]
    constraint = source.constraints.get(index.constraint or "")
    suffix = {"p": "pkey", "u": "key", "x": "excl"}[constraint.kind] if constraint else "idx"
    middle = () if suffix == "pkey" else names
    name = "_".join([table.name, *middle, suffix])[:63]
    table.indexes[name] = replace(index, name=name, constraint=name if constraint else None, at=at)
    if constraint:
        table.constraints[name] = replace(constraint, name=name, at=at)


def add_column(it: Fold, table: Table, node: pb.ColumnDef) -> None:
    """Add a column with the constraints that stand beside it."""
    kind = it.type(node.type_name)
    column = Column(node.colname, _SERIAL.get(kind, kind), not_null=kind in _SERIAL, at=it.statement.at)
    if kind in _SERIAL:
        column.default = Expression(f"nextval('{table.name}_{node.colname}_seq')")
    table.columns[column.name] = column
    for each in node.constraints:
        constraint = each.constraint
        if constraint.contype == pb.CONSTR_NOTNULL:
            column.not_null = True
        elif constraint.contype == pb.CONSTR_DEFAULT:
            column.default = Expression(_tree=constraint.raw_expr)
        elif constraint.contype == pb.CONSTR_IDENTITY:
            column.identity = column.not_null = True
        elif constraint.contype == pb.CONSTR_GENERATED:
            column.generated = Expression(_tree=constraint.raw_expr)
        elif constraint.contype in _KINDS:
            add_constraint(it, table, constraint, beside=node.colname)


def add_constraint(it: Fold, table: Table, node: pb.Constraint, beside: str = "") -> Constraint | None:
    """Add a constraint of a table, or of the column it stands beside."""
    kind = _KINDS.get(node.contype)
    if kind is None:
        return None
    names = _own_columns(node, kind)
    own = names or ((beside,) if beside else ())
    check = Expression(_tree=node.raw_expr) if kind == "c" and node.HasField("raw_expr") else None
    if kind == "c" and check and check.tree:
        own = tuple(dict.fromkeys(columns(check.tree)))  # wherever it stands
    if node.indexname and (index := table.indexes.pop(node.indexname, None)):
        own = tuple(name for name in index.columns if name)
        index.name = index.constraint = node.conname or node.indexname
        table.indexes[index.name] = index
    constraint = Constraint(
        node.conname or _implied(table, kind, own),
        kind,
        own,
        check,
        is_named=bool(node.conname),
        validated=not node.skip_validation,
        at=it.statement.at,
    )
    if kind == "f":
        _refer(it, table, constraint, node)
    table.constraints[constraint.name] = constraint
    if kind in {"p", "n"}:
        for name in own:
            if name in table.columns:
                table.columns[name].not_null = True
    if kind in {"p", "u", "x"} and not node.indexname:
        table.indexes[constraint.name] = Index(
            constraint.name,
            own,
            unique=kind != "x",
            method=node.access_method or "btree",
            include=strings(node.including),
            constraint=constraint.name,
            options=("",) * len(own),
            at=it.statement.at,
        )
    return constraint


def _own_columns(node: pb.Constraint, kind: str) -> tuple[str, ...]:
    if kind == "x":
        return tuple(each.list.items[0].index_elem.name for each in node.exclusions)
    return strings(node.fk_attrs) if kind == "f" else strings(node.keys)


def _refer(it: Fold, table: Table, constraint: Constraint, node: pb.Constraint) -> None:
    """Say what a foreign key refers to: the primary key where no columns are named."""
    is_own = node.pktable.relname == table.name and node.pktable.schemaname in {"", table.schema}
    found = table if is_own else it.table(node.pktable)
    constraint.referenced = found.key if found else (node.pktable.schemaname or table.schema, node.pktable.relname)
    key = found.primary_key if found else None
    constraint.referenced_columns = strings(node.pk_attrs) or (key.columns if key else ())
    constraint.on_delete = _ACTIONS[node.fk_del_action] if node.fk_del_action not in {"", "a"} else None
    constraint.on_delete_columns = strings(node.fk_del_set_cols)


def _bound(node: pb.PartitionBoundSpec) -> str:
    """Return the bound of a partition as a server says it."""
    if node.is_default:
        return "default"
    if node.strategy == "h":
        return f"WITH (modulus {node.modulus}, remainder {node.remainder})"
    if node.strategy == "l":
        return f"IN ({', '.join(map(_bound_value, node.listdatums))})"
    lower, upper = (", ".join(map(_bound_value, each)) for each in (node.lowerdatums, node.upperdatums))
    return f"FROM ({lower}) TO ({upper})"


def _bound_value(node: pb.Node) -> str:
    if node.HasField("column_ref"):
        return strings(node.column_ref.fields)[-1].upper()
    text = literal(node)
    return "NULL" if text is None else f"'{text}'"


def _implied(table: Table, kind: str, names: Sequence[str]) -> str:
    """Return the name that PostgreSQL gives to a constraint without one."""
    suffix = {"p": "pkey", "u": "key", "c": "check", "f": "fkey", "x": "excl", "n": "not_null"}[kind]
    is_about_many = kind == "c" and len(names) > 1
    middle = "" if kind == "p" or is_about_many else "_".join(names)
    return free("_".join(part for part in (table.name, middle, suffix) if part)[:63], table.constraints)


def alter(it: Fold, node: pb.AlterTableStmt) -> None:
    """ALTER TABLE, all of its commands in order."""
    table = it.table(node.relation)
    if table is None:
        return
    for each in node.cmds:
        _command(it, table, each.alter_table_cmd)


def _command(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    if handler := _COMMANDS.get(command.subtype):
        handler(it, table, command)
    elif column := table.columns.get(command.name):
        _column_command(it, column, command)


def _add_column(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    definition = getattr(command, "def").column_def
    if not (command.missing_ok and definition.colname in table.columns):
        add_column(it, table, definition)


def _add_constraint(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    add_constraint(it, table, getattr(command, "def").constraint)


def _drop_constraint(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    table.constraints.pop(command.name, None)
    table.indexes.pop(command.name, None)


def _validate(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    if command.name in table.constraints:
        table.constraints[command.name].validated = True


def _row_security(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    table.row_security = command.subtype == pb.AT_EnableRowSecurity


def _force_row_security(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    table.force_row_security = command.subtype == pb.AT_ForceRowSecurity


def _change_owner(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    table.owner = command.newowner.rolename


def _partition(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    node, attached = getattr(command, "def").partition_cmd, command.subtype == pb.AT_AttachPartition
    part = it.table(node.name)
    if part:
        part.partition_of = table.key if attached else None
        part.partition_bound = _bound(node.bound) if attached else ""


_COMMANDS: dict[int, Callable[[Fold, Table, pb.AlterTableCmd], None]] = {
    pb.AT_AddColumn: _add_column,
    pb.AT_DropColumn: lambda it, table, command: _drop_column(table, command.name),
    pb.AT_AddConstraint: _add_constraint,
    pb.AT_DropConstraint: _drop_constraint,
    pb.AT_ValidateConstraint: _validate,
    pb.AT_EnableRowSecurity: _row_security,
    pb.AT_DisableRowSecurity: _row_security,
    pb.AT_ForceRowSecurity: _force_row_security,
    pb.AT_NoForceRowSecurity: _force_row_security,
    pb.AT_ChangeOwner: _change_owner,
    pb.AT_AttachPartition: _partition,
    pb.AT_DetachPartition: _partition,
}


def _column_command(it: Fold, column: Column, command: pb.AlterTableCmd) -> None:
    kind, definition = command.subtype, getattr(command, "def")
    if kind == pb.AT_SetNotNull:
        column.not_null = True
    elif kind == pb.AT_DropNotNull:
        column.not_null = False
    elif kind == pb.AT_ColumnDefault:
        column.default = Expression(_tree=definition) if definition.WhichOneof("node") else None
    elif kind == pb.AT_AlterColumnType:
        column.type = it.type(definition.column_def.type_name)
    elif kind == pb.AT_AddIdentity:
        column.identity = True
    elif kind == pb.AT_DropExpression:
        column.generated = None


def _drop_column(table: Table, name: str) -> None:
    table.columns.pop(name, None)
    for key in [key for key, one in table.constraints.items() if name in one.columns]:
        del table.constraints[key]
    for key in [key for key, one in table.indexes.items() if name in one.columns]:
        del table.indexes[key]


def rename_column(catalog: Catalog, table: Table, old: str, new: str) -> None:
    """Rename a column wherever the model knows it."""
    if old not in table.columns:
        return

    def renamed(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    table.columns = {new if name == old else name: column for name, column in table.columns.items()}
    table.columns[new].name = new
    for constraint in table.constraints.values():
        constraint.columns = renamed(constraint.columns)
        constraint.check = _renamed(constraint.check, old, new)
    for index in table.indexes.values():
        index.predicate = _renamed(index.predicate, old, new)
        index.columns = tuple(new if name == old else name for name in index.columns)
    for other in catalog.tables.values():
        for constraint in other.of_kind("f"):
            if constraint.referenced == table.key:
                constraint.referenced_columns = renamed(constraint.referenced_columns)


def _renamed(expression: Expression | None, old: str, new: str) -> Expression | None:
    """Rename a column in an expression; the same word in a quoted text stays."""
    if expression is None or old not in expression.text:
        return expression
    parts = re.split(r"('(?:[^']|'')*')", expression.text)
    return Expression("".join(re.sub(rf"\b{re.escape(old)}\b", new, p) if p[:1] != "'" else p for p in parts))


def move(catalog: Catalog, table: Table, schema: str, name: str) -> None:
    """Give a table another name or schema, wherever the model knows it."""
    old = table.key
    if old in catalog.tables:
        del catalog.tables[old]
    table.schema, table.name = schema, name
    catalog.tables[table.key] = table
    for other in catalog.tables.values():
        if other.partition_of == old:
            other.partition_of = table.key
        for constraint in other.of_kind("f"):
            if constraint.referenced == old:
                constraint.referenced = table.key


def forget(catalog: Catalog, table: Table) -> None:
    """Drop a table, its partitions, and the foreign keys that refer to it."""
    key = table.key
    if key in catalog.tables:
        del catalog.tables[key]
    parts: list[Table] = []
    for other in catalog.tables.values():
        if other.partition_of == key:
            parts.append(other)
        for name in [one.name for one in other.constraints.values() if one.referenced == key]:
            del other.constraints[name]
    for part in parts:
        forget(catalog, part)
