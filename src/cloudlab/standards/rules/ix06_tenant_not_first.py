"""IX06: where rows are filtered by tenant, indexes begin with the tenant.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.covering import covers
from cloudlab.standards.expressions import columns
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        if not table.row_security or not _filters(table):
            continue
        for index in table.indexes.values():
            is_for_key = any(covers(index, key.columns) for key in table.of_kind("f"))
            if index.unique or index.constraint or is_for_key or index.method != "btree":
                continue
            if "tenant_id" not in index.columns[:1]:
                names = ["tenant_id", *(quoted(name) for name in index.columns if name and name != "tenant_id")]
                yield Found(
                    f"{index.name} does not begin with tenant_id, by which every query is filtered",
                    index.at,
                    f"{table}.{index.name}",
                    f"CREATE INDEX CONCURRENTLY ON {qualified(table)} ({', '.join(names)}); then drop this one.",
                )


def _filters(table: Table) -> bool:
    """Whether policies compare the tenant, for every role: a worker of all tenants needs indexes without it."""
    filtered, others = set[str](), set[str]()
    for policy in table.policies.values():
        tree = policy.using.tree if policy.using else None
        (filtered if tree is not None and "tenant_id" in columns(tree) else others).update(policy.roles)
    return bool(filtered) and ("public" in filtered or others <= filtered)


RULE = Rule(
    id="IX06",
    title="Where rows are filtered by tenant, indexes begin with the tenant",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.NOTE,
    why="The policy adds tenant_id = … to each query: an index that does not begin with it reads the rows of all"
    " tenants"
    " to throw most of them away.",
    remedy="Begin the index with tenant_id.",
    bad=(
        "CREATE TABLE p (tenant_id uuid, name text); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (tenant_id = current_tenant()); CREATE INDEX i ON p (name);",
        "CREATE TABLE p (tenant_id uuid, at date); CREATE INDEX i ON p (at, tenant_id);"
        " ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY t ON p USING (tenant_id = current_tenant());",
        "CREATE TABLE p (tenant_id uuid, name text); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (tenant_id = current_tenant()); CREATE INDEX i ON p (lower(name));",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid, name text); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (tenant_id = current_tenant()); CREATE INDEX i ON p (tenant_id, name);",
        "CREATE TABLE p (tenant_id uuid, name text); CREATE INDEX i ON p (name);",
        "CREATE TABLE p (tenant_id uuid, name text); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (tenant_id = current_tenant()); CREATE UNIQUE INDEX i ON p (name);",
        "CREATE TABLE p (tenant_id uuid, at date); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE INDEX i ON p (at);"
        " CREATE POLICY t ON p TO app USING (tenant_id = current_tenant());"
        " CREATE POLICY w ON p TO worker USING (true);",
        "CREATE TABLE p (tenant_id uuid, tags text[]); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (tenant_id = current_tenant()); CREATE INDEX i ON p USING gin (tags);",
    ),
    schema=_check,
)
