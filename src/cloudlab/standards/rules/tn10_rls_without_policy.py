"""TN10: row-level security has a policy that lets somebody in.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        policies = table.policies.values()
        if not table.row_security or table.is_opaque or any(one.permissive for one in policies):
            continue
        what = "only restrictive policies" if policies else "no policy"
        yield Found(
            f"row-level security is on with {what}: nobody but its owner sees a row",
            table.at,
            str(table),
            f"CREATE POLICY … ON {table} FOR ALL TO … USING (…); or a comment that nobody shall.",
        )


RULE = Rule(
    id="TN10",
    title="Row-level security has a policy that lets somebody in",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.NOTE,
    why="A restrictive policy takes away and never gives: without a permissive one every query finds nothing, "
    "and says no error.",
    remedy="Add a permissive policy, or say in a comment that only the owner reads the table.",
    bad=(
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p AS RESTRICTIVE USING (a = 1);",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY t ON p USING (a = 1); DROP POLICY t ON p;",
    ),
    good=(
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY t ON p USING (a = 1);",
        "CREATE TABLE p (a integer);",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; SELECT protect('p');",
        "CREATE TABLE p (a integer); CREATE POLICY t ON p AS RESTRICTIVE USING (a = 1);",
    ),
    schema=_check,
)
