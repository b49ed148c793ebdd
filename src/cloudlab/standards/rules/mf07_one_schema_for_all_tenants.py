"""MF07: what runs once for each tenant changes the tenant's schema alone.

Standard: §4.1 Tenant-Specific Schemas
"""

from collections.abc import Iterator
from pathlib import Path

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule, Step

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


def _check(step: Step) -> Iterator[Found]:
    node, script = step.statement.node, step.script
    if Path(script.path).parent.name not in _FOLDERS or _can_be_repeated(node) or _has_template(step):
        return
    schema, name = _changed(node, step.statement.kind)
    if schema and not schema.startswith("pg_"):
        yield step.found(
            f"changes {schema}.{name} in a file that runs for each tenant: the second time it is there, and fails",
            name=f"{schema}.{name}",
        )


def _has_template(step: Step) -> bool:
    """Whether the tool puts the schema of each tenant into the statement."""
    at = step.statement.offset
    return "{{" in step.script.text[at : at + len(step.statement.text)]


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
    return (words[-2], words[-1]) if len(words) > 1 else ("", "")


RULE = Rule(
    id="MF07",
    title="A tenant's migration changes the tenant's schema alone",
    heading="§4.1 Tenant-Specific Schemas",
    level=Level.ERROR,
    why="The same file runs in the schema of every tenant, which is first on the search_path. A name with a schema is "
    "the same table each time: the first tenant's run makes it, the second fails, and the rest are never migrated.",
    remedy="Leave the schema out; what all tenants share is made by a migration of the shard.",
    bad=(
        "-- file: migrations/tenant/001_orders.sql\nCREATE TABLE public.orders (a integer PRIMARY KEY);",
        "-- file: db/tenants/002_note.sql\nALTER TABLE tenant_acme.orders ADD COLUMN note text;",
        "-- file: tenant/003_index.sql\nCREATE INDEX CONCURRENTLY idx_orders_a ON shop.orders (a);",
        "-- file: tenant/004_state.sql\nCREATE TYPE public.state AS ENUM ('new', 'old');",
    ),
    good=(
        "-- file: migrations/tenant/001_orders.sql\nCREATE TABLE orders (a integer REFERENCES public.countries (c));",
        "-- file: migrations/shard/001_orders.sql\nCREATE TABLE public.orders (a integer PRIMARY KEY);",
        "-- file: services/tenant/migrations/001_all.sql\nCREATE TABLE public.tenants (a integer PRIMARY KEY);",
        "-- file: tenant/001_orders.sql\nCREATE TABLE {{ .Schema }}.orders (a integer PRIMARY KEY);",
        "-- file: tenant/001_orders.sql\nCREATE TABLE IF NOT EXISTS public.countries (c integer PRIMARY KEY);",
        "-- file: tenant/002_f.sql\nCREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
    ),
    step=_check,
    on=frozenset({*_RELATIONS, "CreateEnumStmt", "CreateFunctionStmt", "DropStmt"}),
)
