"""FK07: a foreign key stays within its tenant.

Standard: §4.1 Tenant-Specific Schemas
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Constraint, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned

_TENANT = re.compile(r"tenant_?\w+")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            other = catalog.tables.get(key.referenced) if key.referenced else None
            problem = _problem(table, key, other)
            if problem:
                yield Found(problem, key.at, f"{table}.{key.name}")


def _problem(table: Table, key: Constraint, other: Table | None) -> str:
    schema = key.referenced[0] if key.referenced else ""
    if schema != table.schema and _TENANT.fullmatch(schema) and _TENANT.fullmatch(table.schema):
        return f"refers from the schema {table.schema} to the schema of another tenant, {schema}"
    if other is None or "tenant_id" not in table.columns or "tenant_id" not in other.columns:
        return ""
    is_tenants = other.primary_key is not None and other.primary_key.columns == ("tenant_id",)
    if "tenant_id" in key.columns or is_tenants:
        return ""
    return f"{', '.join(key.columns)} may refer to a row of {other} that is another tenant's"


RULE = Rule(
    id="FK07",
    title="A foreign key stays within its tenant",
    heading="§4.1 Tenant-Specific Schemas",
    level=Level.WARNING,
    why="Foreign keys are checked without row-level security: a guessed key of another tenant is accepted, and the"
    " tenant"
    " cannot be moved by itself.",
    remedy="FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id).",
    bad=(
        "CREATE TABLE users (tenant_id uuid, user_id uuid PRIMARY KEY);"
        " CREATE TABLE orders (tenant_id uuid, user_id uuid REFERENCES users);",
        "CREATE SCHEMA tenant_001; CREATE SCHEMA tenant_002; CREATE TABLE tenant_001.u (u uuid PRIMARY KEY);"
        " CREATE TABLE tenant_002.o (u uuid REFERENCES tenant_001.u);",
        "CREATE TABLE u (tenant_id uuid, u uuid UNIQUE); CREATE TABLE o (tenant_id uuid, u uuid);"
        " ALTER TABLE o ADD CONSTRAINT fk_o_u FOREIGN KEY (u) REFERENCES u (u) ON DELETE CASCADE;",
    ),
    good=(
        "CREATE TABLE users (tenant_id uuid, user_id uuid, PRIMARY KEY (tenant_id, user_id)); CREATE TABLE orders"
        " (tenant_id uuid, user_id uuid, FOREIGN KEY (tenant_id, user_id) REFERENCES users);",
        "CREATE TABLE tenants (tenant_id uuid PRIMARY KEY); CREATE TABLE users (tenant_id uuid REFERENCES tenants);",
        "CREATE TABLE tenants (tenant_id uuid PRIMARY KEY); CREATE TABLE u (tenant_id uuid, t uuid REFERENCES"
        " tenants);",
        "CREATE SCHEMA tenant_001; CREATE TABLE countries (code text PRIMARY KEY);"
        " CREATE TABLE tenant_001.u (country text REFERENCES public.countries);",
    ),
    schema=_check,
)
