"""TN03: a policy is in force.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        if table.policies and not table.row_security and not table.is_opaque:
            yield Found(
                f"has the policy {next(iter(table.policies))}, and nobody is held to it: row-level security is off",
                table.at,
                str(table),
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
            )


RULE = Rule(
    id="TN03",
    title="A policy is in force",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.ERROR,
    why="CREATE POLICY alone protects nothing: until row-level security is enabled on the table, all rows are seen.",
    remedy="ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
    bad=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY mine ON p USING (tenant_id = current_tenant());",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON p USING (a = 1);"
        " ALTER TABLE p DISABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); CREATE POLICY a ON p AS RESTRICTIVE USING (a = 1); ALTER TABLE p FORCE ROW LEVEL "
        "SECURITY;",
    ),
    good=(
        "CREATE TABLE p (a integer); CREATE POLICY mine ON p USING (a = 1); ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); CREATE POLICY mine ON p USING (a = 1); DROP POLICY mine ON p;",
        "CREATE TABLE p (a integer); CREATE POLICY mine ON p USING (a = 1);"
        " DO $$ BEGIN EXECUTE 'ALTER TABLE p ENABLE ROW LEVEL SECURITY'; END $$;",
        "CREATE POLICY mine ON storage.objects USING (bucket_id = 'avatars');",
    ),
    schema=_check,
)
