"""TN02: row-level security holds for the owner too.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        if table.row_security and not table.force_row_security and not table.is_opaque:
            owner = f", here {table.owner}," if table.owner else ""
            yield Found(
                f"its owner{owner} sees every row: row-level security is enabled and not forced",
                table.at,
                str(table),
                f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;",
            )


RULE = Rule(
    id="TN02",
    title="Row-level security holds for the owner too",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.WARNING,
    why="Policies do not apply to the owner of a table unless they are forced, and an application often is the owner: "
    "then it has policies and no protection.",
    remedy="ALTER TABLE … FORCE ROW LEVEL SECURITY; and serve with a role that owns nothing.",
    bad=(
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        " ALTER TABLE p NO FORCE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer) PARTITION BY LIST (a); ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer);",
        "CREATE TABLE p (a integer); SELECT protect('p'); ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); ALTER TABLE p FORCE ROW LEVEL SECURITY; ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
    ),
    mends=True,
    schema=_check,
)
