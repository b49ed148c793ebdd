"""NM06: the names of tenants' schemas have one form.

Standard: §4.2 Tenant Configuration
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.expressions import operations
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned


def _check(catalog: Catalog) -> Iterator[Found]:
    for name in catalog.schemas:
        if re.match(r"tenant", name, re.IGNORECASE) and not re.fullmatch(r"tenants?|tenant_[a-z0-9_]+", name):
            yield Found(f"{name} is not tenant_ and small letters or digits", name=name)
    for table in owned(catalog):
        for check in table.of_kind("c"):
            if "schema_name" not in check.columns or check.check is None or check.check.tree is None:
                continue
            if any(operator == "~*" for operator, _ in operations(check.check.tree)):
                yield Found(
                    "~* takes Tenant_001 and tenant_001, which are two schemas",
                    check.at,
                    f"{table}.{check.name}",
                    "CHECK (schema_name ~ '^[a-z][a-z0-9_]*$');",
                )


RULE = Rule(
    id="NM06",
    title="The names of tenants' schemas have one form",
    heading="§4.2 Tenant Configuration",
    level=Level.WARNING,
    why="A name with capitals needs quotes wherever it stands in a search_path; without them the statement goes to"
    " another"
    " schema, or to none.",
    remedy="tenant_001; compare with ~ and not with ~*.",
    bad=(
        'CREATE SCHEMA "Tenant_001";',
        "CREATE SCHEMA tenant001;",
        "CREATE TABLE tenants (schema_name text, CONSTRAINT c CHECK (schema_name ~* '^[a-z][a-z0-9_]*$'));",
    ),
    good=(
        "CREATE SCHEMA tenant_001;",
        "CREATE SCHEMA tenants;",
        "CREATE TABLE tenants (schema_name text, CONSTRAINT c CHECK (schema_name ~ '^[a-z][a-z0-9_]*$'));",
        "CREATE TABLE users (email text CHECK (email ~* '@'));",
    ),
    schema=_check,
)
