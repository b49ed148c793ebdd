"""Folding ALTER … RENAME TO of whatever the model knows."""

from collections.abc import Callable

from postgast import pg_query_pb2 as pb

from cloudlab.standards import folding_tables
from cloudlab.standards.catalog import Table
from cloudlab.standards.expressions import strings
from cloudlab.standards.folding_tables import Fold


def rename(it: Fold, node: pb.RenameStmt) -> None:
    """Rename it, and what names it."""
    table = it.table(node.relation) if node.HasField("relation") else None
    if table and (of_table := _OF_TABLES.get(node.rename_type)):
        of_table(it, table, node)
    elif other := _OTHERS.get(node.rename_type):
        other(it, node)


def _table(it: Fold, table: Table, node: pb.RenameStmt) -> None:
    folding_tables.move(it.catalog, table, table.schema, node.newname)


def _column(it: Fold, table: Table, node: pb.RenameStmt) -> None:
    folding_tables.rename_column(it.catalog, table, node.subname, node.newname)


def _constraint(it: Fold, table: Table, node: pb.RenameStmt) -> None:
    if constraint := table.constraints.pop(node.subname, None):
        constraint.name = node.newname
        table.constraints[node.newname] = constraint


def _trigger(it: Fold, table: Table, node: pb.RenameStmt) -> None:
    if trigger := table.triggers.pop(node.subname, None):
        trigger.name = node.newname
        table.triggers[node.newname] = trigger


def _index(it: Fold, node: pb.RenameStmt) -> None:
    for table in it.catalog.tables.values():
        if index := table.indexes.pop(node.relation.relname, None):
            index.name = node.newname
            table.indexes[node.newname] = index


def _schema(it: Fold, node: pb.RenameStmt) -> None:
    it.catalog.schemas[node.newname] = it.catalog.schemas.pop(node.subname, None)
    for table in [table for table in it.catalog.tables.values() if table.schema == node.subname]:
        folding_tables.move(it.catalog, table, node.newname, table.name)


def _function(it: Fold, node: pb.RenameStmt) -> None:
    """Rename a function, and what the triggers that call it say."""
    old = strings(node.object.object_with_args.objname)[-1:]
    for key in [key for key in it.catalog.functions if (key[1],) == old]:
        function = it.catalog.functions.pop(key)
        function.name = node.newname
        it.catalog.functions[key[0], node.newname, key[2]] = function
    for table in it.catalog.tables.values():
        for trigger in table.triggers.values():
            schema, _, name = trigger.function.rpartition(".")
            if (name,) == old:
                trigger.function = f"{schema}.{node.newname}".lstrip(".")


def _type(it: Fold, node: pb.RenameStmt) -> None:
    found = it.catalog.enums.pop(it.qualified(strings(node.object.list.items)), None)
    if found is None:
        return
    old, found.name = f"{found.schema}.{found.name}", node.newname
    it.catalog.enums[found.schema, node.newname] = found
    for table in it.catalog.tables.values():
        for column in table.columns.values():
            if column.type.removesuffix("[]") == old:
                column.type = column.type.replace(old, f"{found.schema}.{node.newname}")


_OF_TABLES: dict[int, Callable[[Fold, Table, pb.RenameStmt], None]] = {
    **dict.fromkeys((pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_FOREIGN_TABLE), _table),
    pb.OBJECT_COLUMN: _column,
    pb.OBJECT_TABCONSTRAINT: _constraint,
    pb.OBJECT_TRIGGER: _trigger,
}
_OTHERS: dict[int, Callable[[Fold, pb.RenameStmt], None]] = {
    **dict.fromkeys((pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE), _function),
    pb.OBJECT_INDEX: _index,
    pb.OBJECT_SCHEMA: _schema,
    pb.OBJECT_TYPE: _type,
}
