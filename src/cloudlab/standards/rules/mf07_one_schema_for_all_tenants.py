"""MF07: what runs once for each tenant changes the tenant's schema alone.

Standard: §4.1 Tenant-Specific Schemas
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scripts import Script, Statement

_FOLDERS = frozenset({"tenant", "tenants", "per_tenant", "tenant_schema", "tenant_schemas", "tenant_migrations"})
_RELATIONS = {
    "CreateStmt": "relation",
    "IndexStmt": "relation",
    "CreateTrigStmt": "relation",
    "AlterTableStmt": "relation",
    "RenameStmt": "relation",
    "CreateSeqStmt": "sequence",
    "CreatePolicyStmt": "table",
    "ViewStmt": "view",
}
_CHANGES = frozenset({*_RELATIONS, "CreateEnumStmt", "CreateFunctionStmt", "DropStmt"})
_TIMES = 3


def _check(scripts: Sequence[Script]) -> Iterator[Found]:
    folders: defaultdict[Path, list[tuple[Script, Statement]]] = defaultdict(list)
    for script in scripts:
        if Path(script.path).parent.name in _FOLDERS:
            folders[Path(script.path).parent] += [(script, one) for one in script.statements if one.kind in _CHANGES]
    for changes in folders.values():
        names = [_changed(one.node, one.kind) for _, one in changes]
        plain = sum(bool(name) and not schema for schema, name in names)
        # Where most names have a schema, each tenant has a database of its own.
        if plain >= _TIMES * sum(bool(schema) for schema, _ in names):
            yield from (found for script, one in changes if (found := _found(script, one)))


def _found(script: Script, statement: Statement) -> Found | None:
    schema, name = _changed(statement.node, statement.kind)
    if not schema or schema.startswith("pg_") or _can_be_repeated(statement.node) or _has_template(script, statement):
        return None
    return Found(
        f"changes {schema}.{name} in a file that runs for each tenant: the second time it is there, and fails",
        statement.at,
        f"{schema}.{name}",
    )


def _has_template(script: Script, statement: Statement) -> bool:
    """Whether the tool puts the schema of each tenant into the statement."""
    return "{{" in script.text[statement.offset : statement.offset + len(statement.text)]


def _can_be_repeated(node: object) -> bool:
    if isinstance(node, pb.CreateFunctionStmt | pb.ViewStmt | pb.CreateTrigStmt):
        return node.replace
    if isinstance(node, pb.CreateStmt | pb.IndexStmt | pb.CreateSeqStmt):
        return node.if_not_exists or (isinstance(node, pb.IndexStmt) and not node.idxname)
    if isinstance(node, pb.AlterTableStmt):
        commands = [each.alter_table_cmd for each in node.cmds]
        # To set what is set already does nothing.
        return all(one.missing_ok or one.subtype not in {pb.AT_AddColumn, pb.AT_AddConstraint, pb.AT_DropColumn,
                                                         pb.AT_DropConstraint} for one in commands)  # fmt: skip
    return isinstance(node, pb.DropStmt) and node.missing_ok


def _changed(node: object, kind: str) -> tuple[str, str]:
    """Return the schema and the name that a statement makes, changes or drops; empty where none is written."""
    words: tuple[str, ...] = ()
    if kind in _RELATIONS:
        relation: pb.RangeVar = getattr(node, _RELATIONS[kind])
        words = (relation.schemaname, relation.relname)
    elif isinstance(node, pb.CreateEnumStmt):
        words = strings(node.type_name)
    elif isinstance(node, pb.CreateFunctionStmt):
        words = strings(node.funcname)
    elif isinstance(node, pb.DropStmt) and node.remove_type in {pb.OBJECT_TABLE, pb.OBJECT_INDEX, pb.OBJECT_VIEW}:
        words = strings(node.objects[0].list.items)
    *before, name = words or ("",)
    return (before[-1] if before else ""), name


def _among(path: str, text: str, usual: str = "") -> str:
    """Write a file, and before it one of its folder that says how names are written there."""
    tables = "\n".join(f"CREATE TABLE {usual}t{number} (a integer PRIMARY KEY);" for number in range(3))
    return f"-- file: {Path(path).parent}/000_begin.sql\n{tables}\n-- next file\n-- file: {path}\n{text}"


RULE = Rule(
    id="MF07",
    title="A tenant's migration changes the tenant's schema alone",
    heading="§4.1 Tenant-Specific Schemas",
    level=Level.ERROR,
    why="The same file runs in the schema of every tenant, which is first on the search_path. A name with a schema is "
    "the same table each time: the first tenant's run makes it, the second fails, and the rest are never migrated. "
    "Asked of folders called tenant or tenants in which most names have no schema.",
    remedy="Leave the schema out; what all tenants share is made by a migration of the shard.",
    bad=(
        _among("migrations/tenant/001_orders.sql", "CREATE TABLE public.orders (a integer PRIMARY KEY);"),
        _among("db/tenants/002_note.sql", "ALTER TABLE tenant_acme.orders ADD COLUMN note text;"),
        _among("tenant/003_index.sql", "CREATE INDEX CONCURRENTLY idx_orders_a ON shop.orders (a);"),
        _among("tenant/004_state.sql", "CREATE TYPE public.state AS ENUM ('new', 'old');"),
    ),
    good=(
        _among("migrations/tenant/001_orders.sql", "CREATE TABLE orders (a integer REFERENCES public.countries (c));"),
        _among("migrations/shard/001_orders.sql", "CREATE TABLE public.orders (a integer PRIMARY KEY);"),
        _among("services/tenant/migrations/001_all.sql", "CREATE TABLE public.tenants (a integer PRIMARY KEY);"),
        _among("migrations/tenant/011_trigger.sql", "CREATE TABLE storage.objects (a integer);", usual="storage."),
        _among("tenant/001_orders.sql", "CREATE TABLE {{ .Schema }}.orders (a integer PRIMARY KEY);"),
        _among("tenant/001_orders.sql", "CREATE TABLE IF NOT EXISTS public.countries (c integer PRIMARY KEY);"),
        _among("tenant/002_f.sql", "CREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"),
    ),
    files=_check,
)
