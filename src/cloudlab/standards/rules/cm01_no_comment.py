"""CM01: tables and columns say what they are.

Standard: §11.2 Implementation Guidelines
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        silent = [column.name for column in table.columns.values() if not column.comment]
        if not table.comment:
            more = f", and neither have {len(silent)} of its columns" if silent else ""
            yield Found(f"has no comment{more}", table.at, str(table), f"COMMENT ON TABLE {qualified(table)} IS '…';")
        elif silent:
            yield Found(
                f"no comment on {listed(silent)}",
                table.columns[silent[0]].at,
                str(table),
                f"COMMENT ON COLUMN {qualified(table)}.{quoted(silent[0])} IS '…';",
            )


RULE = Rule(
    id="CM01",
    title="Tables and columns say what they are",
    heading="§11.2 Implementation Guidelines",
    level=Level.NOTE,
    why="The database outlives the code that explains it: units, who may be NULL and why, and which states there are"
    " belong where everybody who looks at a table sees them.",
    remedy="COMMENT ON TABLE and COMMENT ON COLUMN.",
    bad=(
        "CREATE TABLE users (user_id uuid);",
        "CREATE TABLE users (user_id uuid); COMMENT ON TABLE users IS 'Customers and vendors';",
        "CREATE TABLE users (user_id uuid); COMMENT ON COLUMN users.user_id IS 'Identifies a user';",
    ),
    good=(
        "CREATE TABLE users (user_id uuid); COMMENT ON TABLE users IS 'Customers and vendors';"
        " COMMENT ON COLUMN users.user_id IS 'Identifies a user';",
        "CREATE TEMP TABLE t (a int);",
        "CREATE TABLE schema_migrations (version text PRIMARY KEY);",
    ),
    schema=_check,
)
