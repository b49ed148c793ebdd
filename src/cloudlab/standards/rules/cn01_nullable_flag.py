"""CN01: a flag is true or false, and a row says something.

Standard: §2.2 Column Constraints
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        flags = [
            one for one in table.columns.values() if one.type == "boolean" and not one.not_null and not one.generated
        ]
        if flags:
            name = quoted(flags[0].name)
            yield Found(
                f"{listed([one.name for one in flags])} may be neither true nor false",
                flags[0].at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {name} SET DEFAULT false; fill it, then SET NOT NULL.",
            )
        key = set(table.primary_key.columns if table.primary_key else ())
        rest = [one for one in table.columns.values() if one.name not in key]
        if len(rest) > 1 and not any(one.not_null or one.default or one.generated for one in rest):
            yield Found(
                "every column but the key may be empty", table.at, str(table), "SET NOT NULL on what a row needs."
            )


RULE = Rule(
    id="CN01",
    title="A flag is true or false, and a row says something",
    heading="§2.2 Column Constraints",
    level=Level.NOTE,
    why="WHERE NOT is_active leaves out the rows where it is NULL, and so does WHERE is_active: they are in no list.",
    remedy="NOT NULL with a default.",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY, name text NOT NULL, is_active boolean DEFAULT true);",
        "CREATE TABLE u (name text NOT NULL, is_active boolean NOT NULL);"
        " ALTER TABLE u ALTER COLUMN is_active DROP NOT NULL;",
        "CREATE TABLE u (u uuid PRIMARY KEY, name text, email text);",
    ),
    good=(
        "CREATE TABLE u (u uuid PRIMARY KEY, is_active boolean NOT NULL DEFAULT true);",
        "CREATE TABLE u (name text NOT NULL, is_active boolean); ALTER TABLE u ALTER COLUMN is_active SET NOT NULL;",
        "CREATE TABLE u (u uuid PRIMARY KEY, name text NOT NULL, email text);",
        "CREATE TABLE u (u uuid PRIMARY KEY, note text);",
        "CREATE TABLE s (a date NOT NULL, b date, is_open boolean GENERATED ALWAYS AS (b IS NULL) STORED);",
    ),
    schema=_check,
)
