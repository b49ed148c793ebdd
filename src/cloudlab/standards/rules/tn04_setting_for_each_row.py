"""TN04: a policy asks for the tenant once and not for each row.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Policy
from cloudlab.standards.expressions import columns, function_name, strings
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import conditions
from cloudlab.standards.trees import outside_subqueries

_SETTINGS = {"current_setting", "current_tenant", "current_tenant_id", "current_user_id"}
_AUTH = {"uid", "jwt", "role", "email"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        for policy in table.policies.values():
            if called := _called(policy):
                yield Found(
                    f"the policy {policy.name} calls {called}() for every row that no index has picked",
                    policy.at,
                    str(table),
                    f"ALTER POLICY {policy.name} ON {table} USING (… = (SELECT {called}(…)));",
                )


def _called(policy: Policy) -> str:
    """Return the function that a policy calls row by row though it says the same for all."""
    for tree in conditions(policy):
        for node in outside_subqueries(tree):
            if isinstance(node, pb.FuncCall) and not any(map(_has_column, node.args)):
                names, name = strings(node.funcname), function_name(node)
                if name in _SETTINGS or (names[0] == "auth" and name in _AUTH):
                    return ".".join(names) if names[0] != "pg_catalog" else name
    return ""


def _has_column(node: pb.Node) -> bool:
    return any(True for _ in columns(node))


RULE = Rule(
    id="TN04",
    title="A policy asks for the tenant once",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.WARNING,
    why="A setting that stands bare in a policy is read again for every row of a scan; in a subquery it is read once "
    "for each statement.",
    remedy="USING (tenant_id = (SELECT current_tenant()));",
    bad=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY mine ON p"
        " USING (tenant_id = current_setting('app.current_tenant_id')::uuid);",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY mine ON p USING (true)"
        " WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);",
        "CREATE TABLE p (user_id uuid); CREATE POLICY mine ON p USING (auth.uid() = user_id);",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY mine ON p USING (tenant_id = (SELECT current_tenant()));",
        "CREATE TABLE p (user_id uuid); CREATE POLICY mine ON p USING ((select auth.uid()) = user_id);",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY mine ON p"
        " USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid));",
        "CREATE TABLE p (user_id uuid); CREATE POLICY mine ON p"
        " USING (user_id IN (SELECT m.user_id FROM members m WHERE m.account = current_setting('app.account', true)));",
        "CREATE TABLE p (owner text); CREATE POLICY mine ON p USING (owner = current_user);",
    ),
    schema=_check,
)
