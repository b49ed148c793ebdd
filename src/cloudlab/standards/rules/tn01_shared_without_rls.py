"""TN01: a table that tenants share has row-level security.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import shared_tables


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in shared_tables(catalog):
        if not table.row_security and not table.policies:
            yield Found(
                "holds rows of several tenants, and a query that forgets tenant_id sees them all",
                table.at,
                str(table),
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; and a restrictive policy.",
            )


RULE = Rule(
    id="TN01",
    title="A table that tenants share has row-level security",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.WARNING,
    why="Without it, one WHERE that somebody forgets shows a tenant the rows of all others.",
    remedy="ENABLE and FORCE row-level security, with a restrictive policy on tenant_id.",
    bad=(
        "CREATE TABLE products (tenant_id uuid NOT NULL, product_id uuid PRIMARY KEY);",
        "CREATE TABLE products (product_id uuid PRIMARY KEY); ALTER TABLE products ADD COLUMN tenant_id uuid;",
        "CREATE TABLE users (user_id uuid, tenant_id uuid, PRIMARY KEY (user_id)) PARTITION BY HASH (user_id);",
        "CREATE TABLE p (tenant_id uuid NOT NULL); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " ALTER TABLE p DISABLE ROW LEVEL SECURITY;",
    ),
    good=(
        "CREATE TABLE products (tenant_id uuid); ALTER TABLE products ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE tenants (tenant_id uuid PRIMARY KEY, name text);",
        "CREATE TABLE countries (code text PRIMARY KEY);",
        "CREATE TABLE products (tenant_id uuid); SELECT protect_table('products');",
        "CREATE TABLE products (tenant_id uuid);"
        " DO $$ BEGIN EXECUTE 'ALTER TABLE products ENABLE ROW LEVEL SECURITY'; END $$;",
        "CREATE TABLE p (tenant_id uuid); SELECT protect(t.name) FROM (VALUES ('p')) AS t (name);",
        "CREATE TEMP TABLE t (tenant_id uuid);",
        "CREATE TABLE p (tenant_id uuid, n integer) PARTITION BY LIST (n); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);",
    ),
    schema=_check,
)
