"""What forms of schema changes lock, rewrite and scan: facts from servers (facts.json), and which form a statement is.

Standard: §6.2 Schema Changes
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Table
from cloudlab.standards.expressions import calls, function_name, literal, type_name
from cloudlab.standards.rule import Step

NEWEST = "18"
EXCLUSIVE = "AccessExclusiveLock"
_BLOCKS_WRITES = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", EXCLUSIVE}
_VOLATILE = {
    "gen_random_uuid", "uuid_generate_v1", "uuid_generate_v4", "uuidv4", "uuidv7", "random", "clock_timestamp",
    "timeofday", "nextval", "statement_timestamp_volatile",
}  # fmt: skip
_SERIAL = {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a form does: the strongest lock on its first table, whether it rewrites or scans it."""

    form: str
    lock: str
    rewrites: bool
    scans: bool

    @property
    def blocks_reads(self) -> bool:
        """Whether nobody can even read meanwhile."""
        return self.lock == EXCLUSIVE

    @property
    def blocks_writes(self) -> bool:
        """Whether nobody can write meanwhile."""
        return self.lock in _BLOCKS_WRITES


@cache
def _facts() -> dict[str, dict[str, dict[str, Any]]]:
    return json.loads(Path(__file__).with_name("facts.json").read_text())


@cache
def fact(form: str, version: str = NEWEST) -> Fact:
    """Return what a form does on a version. KeyError when it was never observed."""
    seen = _facts()[form][version]
    strongest = EXCLUSIVE if EXCLUSIVE in seen["locks"].values() else next(iter(seen["locks"].values()), "")
    return Fact(form, strongest, bool(seen["rewrites"]), bool(seen["scans"]))


@dataclass(frozen=True, slots=True)
class Change:
    """What a statement does to one table that was there before its file: the facts, and the command's node."""

    table: str
    fact: Fact
    command: pb.AlterTableCmd | None = None


@lru_cache(maxsize=2)
def changes(step: Step) -> Sequence[Change]:
    """Return what a statement does to tables in use; nothing for tables that its own file has made.

    Many rules ask this of a statement, one after the other: it is worked out once.
    """
    handler = _STATEMENTS.get(step.statement.kind)
    return tuple(handler(step, step.statement.node)) if handler else ()


def _alter(step: Step, node: pb.AlterTableStmt) -> Iterator[Change]:
    table = step.table(node.relation)
    if node.objtype != pb.OBJECT_TABLE or step.is_new(table):
        return
    for each in node.cmds:
        command = each.alter_table_cmd
        form = _form(step, table, command)
        if form:
            yield Change(node.relation.relname, fact(form), command)


def _form(step: Step, table: Table | None, command: pb.AlterTableCmd) -> str | None:
    kind, definition = command.subtype, getattr(command, "def")
    if kind == pb.AT_AddColumn:
        return _added_column(step, definition.column_def)
    if kind == pb.AT_AddConstraint:
        return _added_constraint(definition.constraint)
    if kind == pb.AT_AlterColumnType:
        return _changed_type(step, table, command)
    if kind == pb.AT_SetNotNull:
        return "set not null, proven by a check" if table and is_proven(table, command.name) else "set not null"
    if kind == pb.AT_ColumnDefault:
        return "set default"
    if kind == pb.AT_SetRelOptions:
        return "set fillfactor"
    return _FORMS.get(kind)


_FORMS = {
    pb.AT_DropColumn: "drop column",
    pb.AT_DropNotNull: "drop not null",
    pb.AT_ValidateConstraint: "validate check",
    pb.AT_DropConstraint: "drop constraint",
    pb.AT_SetStatistics: "set statistics",
    pb.AT_SetStorage: "set storage",
    pb.AT_SetUnLogged: "set unlogged",
    pb.AT_SetLogged: "set unlogged",
    pb.AT_EnableRowSecurity: "enable row security",
    pb.AT_DisableRowSecurity: "enable row security",
    pb.AT_DisableTrig: "disable trigger",
    pb.AT_EnableTrig: "disable trigger",
    pb.AT_AttachPartition: "attach partition",
    pb.AT_DetachPartition: "detach partition",
}


def is_proven(table: Table, column: str) -> bool:
    """Whether a validated CHECK says that a column is never NULL, so that SET NOT NULL need not look."""
    for constraint in table.of_kind("c"):
        tree = constraint.check.tree if constraint.check else None
        if constraint.validated and tree is not None and _says_not_null(tree, column):
            return True
    return False


def _says_not_null(tree: Any, column: str) -> bool:  # noqa: ANN401  a node or what is in it
    inner = getattr(tree, tree.WhichOneof("node")) if isinstance(tree, pb.Node) else tree
    if isinstance(inner, pb.BoolExpr) and inner.boolop == pb.AND_EXPR:
        return any(_says_not_null(argument, column) for argument in inner.args)
    if not isinstance(inner, pb.NullTest) or inner.nulltesttype != pb.IS_NOT_NULL:
        return False
    fields = inner.arg.column_ref.fields
    return len(fields) > 0 and fields[-1].string.sval == column


def is_volatile(step: Step, expression: pb.Node) -> bool:
    """Whether an expression has another value in each row, by PostgreSQL's functions and those that the model knows."""
    for call in calls(expression):
        name = function_name(call)
        own = [one for key, one in step.catalog.functions.items() if key[1] == name]
        if name in _VOLATILE or any(one.volatility == "volatile" and one.language != "sql" for one in own):
            return True
    return False


def _added_column(step: Step, node: pb.ColumnDef) -> str:
    if type_name(node.type_name) in _SERIAL:
        return "add column, serial"
    form = "add column"
    for each in node.constraints:
        constraint = each.constraint
        if constraint.contype == pb.CONSTR_IDENTITY:
            return "add column, identity"
        if constraint.contype == pb.CONSTR_GENERATED:
            return "add column, stored generated" if constraint.generated_kind != "v" else form
        if constraint.contype == pb.CONSTR_DEFAULT:
            volatile = is_volatile(step, constraint.raw_expr)
            form = "add column, volatile default" if volatile else "add column, constant default"
        elif constraint.contype == pb.CONSTR_UNIQUE and form == "add column":
            form = "add column, unique"
        elif constraint.contype == pb.CONSTR_CHECK and form in {"add column", "add column, constant default"}:
            form = "add column, check"
    return form


def _added_constraint(node: pb.Constraint) -> str | None:
    if node.contype == pb.CONSTR_CHECK:
        return "add check not valid" if node.skip_validation else "add check"
    if node.contype == pb.CONSTR_FOREIGN:
        return "add foreign key not valid" if node.skip_validation else "add foreign key"
    if node.contype == pb.CONSTR_NOTNULL:
        return "add check not valid" if node.skip_validation else "set not null"
    if node.indexname:
        return "add unique using index"
    kinds = {pb.CONSTR_UNIQUE: "add unique", pb.CONSTR_PRIMARY: "add primary key", pb.CONSTR_EXCLUSION: "add exclusion"}
    return kinds.get(node.contype)


def _changed_type(step: Step, table: Table | None, command: pb.AlterTableCmd) -> str | None:
    column = table.columns.get(command.name) if table else None
    definition = getattr(command, "def").column_def
    if column is None:
        return None  # what it was is not known, and many changes are free
    new = type_name(definition.type_name)
    if definition.HasField("raw_default") and not _is_plain(definition.raw_default, column.name, new):
        return "type, integer to bigint"  # USING computes each value anew
    zoned = [one.endswith(" with time zone") for one in (column.type, new) if one.startswith("timestamp")]
    if zoned in ([True, False], [False, True]):
        in_utc = (setting(step, "timezone") or "").upper() in {"UTC", "GMT", "ETC/UTC", "0"}
        return "type, timestamp to timestamptz in UTC" if in_utc else "type, timestamp to timestamptz"
    return type_change(column.type, new)


def _is_plain(using: pb.Node, column: str, new: str) -> bool:
    """Whether USING says what happens without it: the column itself, or its cast to the new type."""
    if using.HasField("type_cast"):
        return type_name(using.type_cast.type_name) == new and _is_plain(using.type_cast.arg, column, new)
    fields = using.column_ref.fields
    return len(fields) > 0 and fields[-1].string.sval == column


def type_change(old: str, new: str) -> str:
    """Return the form of a change of type: the free ones as they were observed, any other as one that rewrites."""
    before, after = _taken_apart(old), _taken_apart(new)
    if old == new:
        return "type, varchar longer"
    if before[0] == "character varying" and after[0] in {"character varying", "text"}:
        if not after[1] or (before[1] and after[1][0] >= before[1][0]):
            return "type, varchar longer"
        return "type, varchar shorter"
    if before[0] == "text" and after[0] == "character varying" and not after[1]:
        return "type, varchar to text"
    if before[0] == after[0] == "numeric":
        same_scale = before[1][1:] == after[1][1:] and bool(before[1])
        return (
            "type, numeric more digits"
            if not after[1] or (same_scale and after[1] >= before[1])
            else ("type, numeric other scale")
        )
    if before[0] == after[0] and before[0].startswith("time") and (not after[1] or after[1] >= (before[1] or (6,))):
        return "type, varchar longer"
    return "type, integer to bigint"


def _taken_apart(name: str) -> tuple[str, tuple[int, ...]]:
    head, _, rest = name.partition("(")
    inside, _, tail = rest.partition(")")
    numbers = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    return (head + tail).strip(), numbers


def _index(step: Step, node: pb.IndexStmt) -> Iterator[Change]:
    table = step.table(node.relation)
    if not (step.is_new(table) or node.concurrent):
        yield Change(node.relation.relname, fact("create index" if node.relation.inh else "create index on only"))


def _drop(step: Step, node: pb.DropStmt) -> Iterator[Change]:
    """IF EXISTS of what no file has made is a precaution: there is nothing to lock."""
    forms = {pb.OBJECT_TABLE: "drop table", pb.OBJECT_TRIGGER: "drop trigger", pb.OBJECT_POLICY: "drop policy"}
    for one in node.objects:
        names = [item.string.sval for item in one.list.items]
        name = names[-1] if node.remove_type in {pb.OBJECT_TABLE, pb.OBJECT_INDEX} else (names[-2:-1] or [""])[0]
        if node.remove_type == pb.OBJECT_INDEX and not node.concurrent:
            tables = [table for table in step.catalog.tables.values() if name in table.indexes]
            if not (tables and step.is_new(tables[0])) and (tables or not node.missing_ok):
                yield Change(tables[0].name if tables else name, fact("drop index"))
        elif form := forms.get(node.remove_type):
            table = step.catalog.find("", name)
            if not step.is_new(table) and (table or not node.missing_ok):
                yield Change(name, fact(form))


def _rename(step: Step, node: pb.RenameStmt) -> Iterator[Change]:
    renamed = {pb.OBJECT_TABLE, pb.OBJECT_COLUMN, pb.OBJECT_TABCONSTRAINT}
    if node.HasField("relation") and node.rename_type in renamed and not step.is_new(step.table(node.relation)):
        yield Change(node.relation.relname, fact("rename column"))


def _trigger(step: Step, node: pb.CreateTrigStmt) -> Iterator[Change]:
    if not step.is_new(step.table(node.relation)):
        yield Change(node.relation.relname, fact("create trigger"))


def _policy(step: Step, node: pb.CreatePolicyStmt) -> Iterator[Change]:
    if not step.is_new(step.table(node.table)):
        yield Change(node.table.relname, fact("create policy"))


def _truncate(step: Step, node: pb.TruncateStmt) -> Iterator[Change]:
    for one in node.relations:
        if not step.is_new(step.table(one.range_var)):
            yield Change(one.range_var.relname, fact("truncate"))


def _create(step: Step, node: pb.CreateStmt) -> Iterator[Change]:
    """A new table locks the old ones that it refers to or becomes a part of."""
    if node.HasField("partbound"):
        parent = node.inh_relations[0].range_var
        if not step.is_new(step.table(parent)):
            yield Change(parent.relname, fact("create partition of"))
    constraints = [one.constraint for one in node.table_elts if one.HasField("constraint")]
    for one in node.table_elts:
        constraints += [each.constraint for each in one.column_def.constraints] if one.HasField("column_def") else []
    for constraint in constraints:
        referenced = step.table(constraint.pktable)
        if constraint.contype == pb.CONSTR_FOREIGN and referenced and not step.is_new(referenced):
            yield Change(referenced.name, fact("create table with foreign key"))


_STATEMENTS: dict[str, Callable[[Step, Any], Iterator[Change]]] = {
    "AlterTableStmt": _alter,
    "IndexStmt": _index,
    "DropStmt": _drop,
    "RenameStmt": _rename,
    "CreateTrigStmt": _trigger,
    "CreatePolicyStmt": _policy,
    "TruncateStmt": _truncate,
    "CreateStmt": _create,
}
CHANGES = frozenset(_STATEMENTS)


def setting(step: Step, name: str) -> str | None:
    """Return what the statements before it have set a setting to, for this statement; None when they have not."""
    value: str | None = None
    for earlier in step.earlier.of_kind("VariableSetStmt"):
        node = earlier.node
        if isinstance(node, pb.VariableSetStmt) and node.name == name and node.args:
            if node.is_local and earlier.transaction != step.statement.transaction:
                continue
            value = literal(node.args[0])
        elif isinstance(node, pb.VariableSetStmt) and node.name == name:
            value = None
    return value
