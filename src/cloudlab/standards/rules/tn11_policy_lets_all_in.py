"""TN11: a policy on a table that tenants share asks something.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Policy, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import COLUMN, is_always_true


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        restrictive = any(not one.permissive for one in table.policies.values())
        if COLUMN not in table.columns or restrictive or not table.row_security:
            continue
        for policy in table.policies.values():
            if is_always_true(policy) and _is_for_many(policy, table):
                yield Found(
                    f"the policy {policy.name} is true for every row: all tenants see and change all",
                    policy.at,
                    str(table),
                    f"ALTER POLICY {policy.name} ON {table} USING (tenant_id = (SELECT current_tenant()));",
                )


def _is_for_many(policy: Policy, table: Table) -> bool:
    """Whether more than the owner or a service of the platform's own is meant."""
    if set(policy.roles) <= {"current_user", table.owner}:
        return False
    return not any(word in role for role in policy.roles for word in ("worker", "service", "admin", "backup", "owner"))


RULE = Rule(
    id="TN11",
    title="A policy on a table that tenants share asks something",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.ERROR,
    why="USING (true) is row-level security that looks switched on and protects nothing.",
    remedy="Compare tenant_id, or add a restrictive policy that does.",
    bad=(
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY a ON p USING (true);",
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY a ON p FOR ALL TO application_readwrite USING (true) WITH CHECK (true);",
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY a ON p FOR INSERT WITH CHECK (true);",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY a ON p USING (true);"
        " CREATE POLICY t ON p AS RESTRICTIVE USING (tenant_id = (SELECT current_tenant()));",
        "CREATE TABLE countries (code text); ALTER TABLE countries ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY everybody ON countries FOR SELECT USING (true);",
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY w ON p FOR SELECT TO platform_worker USING (true);",
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY o ON p TO CURRENT_ROLE USING (true);",
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY a ON p USING (tenant_id = (SELECT current_tenant()));",
    ),
    schema=_check,
)
