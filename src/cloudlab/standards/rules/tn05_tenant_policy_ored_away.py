"""TN05: no second permissive policy opens what the tenant's policy closes.

Standard: §9.2 Row-Level Security
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Policy, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import COLUMN, asks_for_tenant, overlap


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        if COLUMN not in table.columns or any(not one.permissive for one in table.policies.values()):
            continue
        for tenant, other in _pairs(table):
            yield Found(
                f"permissive policies are ORed: {other.name} shows rows of every tenant in spite of {tenant.name}",
                other.at,
                str(table),
                f"DROP POLICY {tenant.name} ON {table}; CREATE POLICY {tenant.name} ON {table} AS RESTRICTIVE …;",
            )
            break


def _pairs(table: Table) -> Iterator[tuple[Policy, Policy]]:
    policies = list(table.policies.values())
    for tenant in policies:
        for other in policies:
            if asks_for_tenant(tenant) and not asks_for_tenant(other) and _same_people(tenant, other):
                yield tenant, other


def _same_people(one: Policy, other: Policy) -> bool:
    """Whether two policies are for the same role by name: one that only workers have is meant to be wider."""
    return overlap(one, other) and bool(set(one.roles) & set(other.roles) or other.roles == ("public",))


RULE = Rule(
    id="TN05",
    title="No second policy opens what the tenant's policy closes",
    heading="§9.2 Row-Level Security",
    level=Level.ERROR,
    why="Permissive policies are ORed. With one on the tenant and one on the user, a user who exists in two tenants "
    "reads the rows of both, and `true` for one of them shows all tenants.",
    remedy="Make the policy on the tenant RESTRICTIVE: restrictive ones are ANDed.",
    bad=(
        "CREATE TABLE p (tenant_id uuid, user_id uuid);"
        " CREATE POLICY t ON p FOR ALL TO app USING (tenant_id = current_setting('app.t')::uuid);"
        " CREATE POLICY u ON p FOR ALL TO app USING (user_id = current_setting('app.u')::uuid);",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p USING (tenant_id = current_tenant());"
        " CREATE POLICY r ON p FOR SELECT USING (true);",
        "CREATE TABLE p (tenant_id uuid, is_public boolean);"
        " CREATE POLICY t ON p FOR SELECT TO app USING (tenant_id = current_tenant());"
        " CREATE POLICY s ON p FOR SELECT TO app USING (is_public);",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid, user_id uuid);"
        " CREATE POLICY t ON p AS RESTRICTIVE FOR ALL TO app USING (tenant_id = current_tenant());"
        " CREATE POLICY u ON p FOR ALL TO app USING (user_id = current_user_id());",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p TO app USING (tenant_id = current_tenant());"
        " CREATE POLICY w ON p TO platform_worker USING (true);",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY r ON p FOR SELECT USING (tenant_id = current_tenant());"
        " CREATE POLICY w ON p FOR INSERT WITH CHECK (tenant_id = current_tenant());",
        "CREATE TABLE p (user_id uuid, team_id uuid); CREATE POLICY a ON p USING (user_id = auth.uid());"
        " CREATE POLICY b ON p USING (team_id = current_team());",
    ),
    schema=_check,
)
