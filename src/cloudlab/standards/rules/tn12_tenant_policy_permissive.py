"""TN12: the policy on the tenant is restrictive.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import asks_for_tenant, is_registry


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        policies = list(table.policies.values())
        if table.is_opaque or is_registry(table) or any(not one.permissive for one in policies):
            continue
        policy = next((one for one in policies if asks_for_tenant(one)), None)
        if policy:
            yield Found(
                f"the policy {policy.name} is permissive: the next one that somebody adds is ORed to it",
                policy.at,
                str(table),
                f"CREATE POLICY {policy.name} ON {table} AS RESTRICTIVE …; and a permissive one beside it.",
            )


RULE = Rule(
    id="TN12",
    title="The policy on the tenant is restrictive",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.NOTE,
    why="Permissive policies are ORed, restrictive ones ANDed: only a restrictive one still holds when another policy "
    "is added for users, support or sharing.",
    remedy="AS RESTRICTIVE for the tenant, permissive for who in the tenant may see what.",
    bad=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p USING (tenant_id = (SELECT current_tenant()));",
        "CREATE POLICY q ON x USING (true); CREATE TABLE p (tenant_id uuid);"
        " CREATE POLICY t ON p FOR ALL TO app USING (tenant_id = current_setting('app.tenant')::uuid);",
        "CREATE TABLE p (id uuid); CREATE POLICY t ON p USING (is_of_tenant(id));",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p AS RESTRICTIVE USING (tenant_id = current_tenant());",
        "CREATE TABLE local (tenant_id uuid PRIMARY KEY, state text);"
        " CREATE POLICY t ON local USING (tenant_id = (SELECT current_tenant()));",
        "CREATE TABLE p (user_id uuid); CREATE POLICY u ON p USING (user_id = (SELECT auth.uid()));",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p USING (tenant_id = current_tenant());"
        " SELECT protect('p');",
    ),
    schema=_check,
)
