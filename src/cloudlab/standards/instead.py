"""The line of a migration that does online what a statement would do at once.

Standard: §6.2 Zero-Downtime Migrations
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import deparsed, strings, type_name
from cloudlab.standards.rule import Step

_KEYS = re.compile(
    r" USING (\w+) \((.*?)\)(?: INCLUDE \(([^)]*)\))?(?: NULLS NOT DISTINCT)?(?: WITH \(.*?\))?(?: WHERE .*)?$"
)
_ON_DELETE = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def lines(step: Step) -> Iterator[str]:
    """Yield a line `-- migrate:online …` for each part of the statement that has one."""
    yield from of(step.statement.node)


def of(node: Message | None) -> Iterator[str]:
    """Yield the lines for a statement of libpg_query's tree."""
    if isinstance(node, pb.IndexStmt):
        yield from _index(node)
    elif isinstance(node, pb.UpdateStmt):
        yield from _update(node)
    elif isinstance(node, pb.AlterTableStmt):
        for each in node.cmds:
            command = each.alter_table_cmd
            if make := _COMMANDS.get(command.subtype):
                yield from make(node.relation.relname, command)


def _line(operation: str, **arguments: str) -> str:
    words = [f"{name}={_quoted(value)}" for name, value in arguments.items() if value]
    return " ".join(["-- migrate:online", operation, *words])


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[^\s']+", value) else "'" + value.replace("'", "''") + "'"


def _index(node: pb.IndexStmt) -> Iterator[str]:
    names = [each.index_elem.name for each in node.index_params]
    statement = pb.ParseResult()
    statement.stmts.add().stmt.index_stmt.CopyFrom(node)
    keys = _KEYS.search(re.sub(r"\s+", " ", postgast.deparse(statement)))
    written = keys[2] if keys else ""
    plain = all(names) and (not written or written == ", ".join(names))
    if not plain and not written:
        return
    yield _line(
        "add_index",
        table=node.relation.relname,
        columns=",".join(names) if plain else "",
        expressions="" if plain else written,
        name=node.idxname,
        unique="true" if node.unique else "",
        method=node.access_method if node.access_method not in {"", "btree"} else "",
        include=",".join(each.index_elem.name for each in node.index_including_params),
        where=deparsed(node.where_clause) if node.HasField("where_clause") else "",
    )


def _update(node: pb.UpdateStmt) -> Iterator[str]:
    if len(node.target_list) == 1 and not node.from_clause:
        target = node.target_list[0].res_target
        where = deparsed(node.where_clause) if node.HasField("where_clause") else ""
        table = node.relation.relname
        yield _line("backfill", table=table, column=target.name, value=deparsed(target.val), where=where)


def _not_null(table: str, command: pb.AlterTableCmd) -> Iterator[str]:
    yield _line("set_not_null", table=table, column=command.name)


def _column(table: str, command: pb.AlterTableCmd) -> Iterator[str]:
    column = getattr(command, "def").column_def
    kinds = {each.constraint.contype: each.constraint for each in column.constraints}
    default = kinds.get(pb.CONSTR_DEFAULT)
    if kinds.keys() <= {pb.CONSTR_DEFAULT, pb.CONSTR_NOTNULL} and not type_name(column.type_name).endswith("serial"):
        yield _line(
            "add_column",
            table=table,
            column=column.colname,
            type=type_name(column.type_name),
            default=deparsed(default.raw_expr) if default else "…" if pb.CONSTR_NOTNULL in kinds else "",
            not_null="true" if pb.CONSTR_NOTNULL in kinds else "",
        )


def _type(table: str, command: pb.AlterTableCmd) -> Iterator[str]:
    column = getattr(command, "def").column_def
    using = deparsed(column.raw_default) if column.HasField("raw_default") else ""
    yield _line("change_type", table=table, column=command.name, type=type_name(column.type_name), using=using)


def _constraint(table: str, command: pb.AlterTableCmd) -> Iterator[str]:
    it = getattr(command, "def").constraint
    if it.contype == pb.CONSTR_CHECK:
        yield _line("add_check", table=table, name=it.conname or f"chk_{table}", check=deparsed(it.raw_expr))
    elif it.contype == pb.CONSTR_NOTNULL:
        yield from (_line("set_not_null", table=table, column=name) for name in strings(it.keys))
    elif it.contype == pb.CONSTR_UNIQUE:
        yield _line("add_unique", table=table, columns=_listed(it.keys), name=it.conname)
    elif it.contype == pb.CONSTR_FOREIGN:
        yield _line(
            "add_foreign_key",
            table=table,
            columns=_listed(it.fk_attrs),
            references=it.pktable.relname,
            to=_listed(it.pk_attrs),
            name=it.conname,
            on_delete=_ON_DELETE.get(it.fk_del_action, ""),
        )


def _listed(nodes: Sequence[pb.Node]) -> str:
    return ",".join(strings(nodes))


_COMMANDS: dict[int, Callable[[str, Any], Iterator[str]]] = {
    pb.AT_SetNotNull: _not_null,
    pb.AT_AddColumn: _column,
    pb.AT_AlterColumnType: _type,
    pb.AT_AddConstraint: _constraint,
}
