"""Folding what is done to tables: CREATE TABLE and every form of ALTER TABLE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Column, Constraint, Expression, Index, Place, Table
from cloudlab.standards.expressions import columns, deparsed, option_value, strings, type_name
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
            add_column(table, element.column_def, it.statement.at)
        elif element.HasField("constraint"):
            add_constraint(table, element.constraint, it.statement.at)
        elif element.HasField("table_like_clause"):
            _like(it, table, element.table_like_clause)
    for parent in node.inh_relations:
        found = it.table(parent.range_var)
        if node.HasField("partbound"):
            table.partition_of = found.key if found else it.new_name(parent.range_var)
            table.partition_bound = "default" if node.partbound.is_default else "for values"
        if found:
            table.columns = {**found.columns, **table.columns}
    it.catalog.tables[schema, name] = table


def _like(it: Fold, table: Table, clause: pb.TableLikeClause) -> None:
    source = it.table(clause.relation)
    if source:
        for column in source.columns.values():
            table.columns[column.name] = Column(column.name, column.type, column.not_null, at=it.statement.at)


def add_column(table: Table, node: pb.ColumnDef, at: Place) -> None:
    """Add a column with the constraints that stand beside it."""
    kind = type_name(node.type_name)
    column = Column(node.colname, _SERIAL.get(kind, kind), not_null=kind in _SERIAL, at=at)
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
            add_constraint(table, constraint, at, beside=node.colname)


def add_constraint(table: Table, node: pb.Constraint, at: Place, beside: str = "") -> Constraint | None:
    """Add a constraint of a table, or of the column it stands beside."""
    kind = _KINDS.get(node.contype)
    if kind is None:
        return None
    names = strings(node.fk_attrs) if kind == "f" else strings(node.keys)
    own = names or ((beside,) if beside else ())
    check = Expression(_tree=node.raw_expr) if kind == "c" and node.HasField("raw_expr") else None
    if kind == "c" and check and check.tree and not own:
        own = tuple(dict.fromkeys(columns(check.tree)))
    if node.indexname and (index := table.indexes.get(node.indexname)):
        own = tuple(name for name in index.columns if name)
        index.constraint = node.conname or node.indexname
    constraint = Constraint(
        node.conname or _implied(table, kind, own),
        kind,
        own,
        check,
        is_named=bool(node.conname),
        validated=not node.skip_validation,
        at=at,
    )
    if kind == "f":
        schema = node.pktable.schemaname or table.schema
        constraint.referenced = (schema, node.pktable.relname)
        constraint.referenced_columns = strings(node.pk_attrs)
        constraint.on_delete = _ACTIONS.get(node.fk_del_action, "no action") if _says_on_delete(node) else None
    table.constraints[constraint.name] = constraint
    if kind in {"p", "n"}:
        for name in own:
            if name in table.columns:
                table.columns[name].not_null = True
    if kind in {"p", "u", "x"} and not node.indexname:
        table.indexes[constraint.name] = Index(
            constraint.name, own, unique=kind != "x", constraint=constraint.name, at=at
        )
    return constraint


def _says_on_delete(node: pb.Constraint) -> bool:
    return node.fk_del_action not in {"", "a"}


def _implied(table: Table, kind: str, names: Sequence[str]) -> str:
    """Return the name that PostgreSQL gives to a constraint without one."""
    suffix = {"p": "pkey", "u": "key", "c": "check", "f": "fkey", "x": "excl", "n": "not_null"}[kind]
    middle = "" if kind == "p" else "_".join(names[:1] if kind in {"c", "n"} else names)
    name = "_".join(part for part in (table.name, middle, suffix) if part)[:63]
    number = 1
    while name in table.constraints:
        name, number = f"{name.rstrip('0123456789')}{number}", number + 1
    return name


def index_of(node: pb.IndexStmt, at: Place) -> Index:
    """Return the index that a statement makes."""
    keys = [one.index_elem for one in node.index_params]
    names = tuple(key.name or None for key in keys)
    return Index(
        node.idxname or "_".join([node.relation.relname, *(name or "expr" for name in names), "idx"])[:63],
        names,
        unique=node.unique,
        predicate=Expression(_tree=node.where_clause) if node.HasField("where_clause") else None,
        method=node.access_method or "btree",
        include=tuple(one.index_elem.name for one in node.index_including_params),
        expressions=tuple(deparsed(key.expr) for key in keys if key.HasField("expr")),
        at=at,
    )


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
        _column_command(column, command)


def _add_column(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    definition = getattr(command, "def").column_def
    if not (command.missing_ok and definition.colname in table.columns):
        add_column(table, definition, it.statement.at)


def _add_constraint(it: Fold, table: Table, command: pb.AlterTableCmd) -> None:
    add_constraint(table, getattr(command, "def").constraint, it.statement.at)


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
        part.partition_bound = ("default" if node.bound.is_default else "for values") if attached else ""


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


def _column_command(column: Column, command: pb.AlterTableCmd) -> None:
    kind, definition = command.subtype, getattr(command, "def")
    if kind == pb.AT_SetNotNull:
        column.not_null = True
    elif kind == pb.AT_DropNotNull:
        column.not_null = False
    elif kind == pb.AT_ColumnDefault:
        column.default = Expression(_tree=definition) if definition.WhichOneof("node") else None
    elif kind == pb.AT_AlterColumnType:
        column.type = type_name(definition.column_def.type_name)
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
    for index in table.indexes.values():
        index.columns = tuple(new if name == old else name for name in index.columns)
    for other in catalog.tables.values():
        for constraint in other.of_kind("f"):
            if constraint.referenced == table.key:
                constraint.referenced_columns = renamed(constraint.referenced_columns)
