"""NM01: names are in snake_case.

Standard: §2.1 Table Naming
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted
from cloudlab.standards.words import is_snake_case, tokens


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        if not is_snake_case(table.name):
            instead = "_".join(tokens(table.name))
            remedy = (
                f"ALTER TABLE {qualified(table)} RENAME TO {quoted(instead)}; with a view of the old name meanwhile."
            )
            yield Found(f"{table.name} must stand in quotes", table.at, str(table), remedy)
        wrong = [name for name in table.columns if not is_snake_case(name)]
        if wrong:
            yield Found(
                f"{listed(wrong)} must stand in quotes",
                table.columns[wrong[0]].at,
                str(table),
                f"ALTER TABLE {qualified(table)} RENAME COLUMN {quoted(wrong[0])} TO"
                f" {quoted('_'.join(tokens(wrong[0])))};",
            )
    for enum in catalog.enums.values():
        if not is_snake_case(enum.name):
            yield Found(f"the type {enum.name} must stand in quotes", enum.at, enum.name)


RULE = Rule(
    id="NM01",
    title="Names are in snake_case",
    heading="§2.1 Table Naming",
    level=Level.WARNING,
    why="PostgreSQL folds names to lower case unless they stand in quotes: userId must be quoted in every statement"
    " that"
    " anybody writes by hand, for ever.",
    remedy="Rename it, with a view of the old name while both are in use.",
    bad=(
        'CREATE TABLE "Users" (user_id uuid);',
        'CREATE TABLE users ("userId" uuid, "createdAt" timestamptz);',
        "CREATE TYPE \"OrderStatus\" AS ENUM ('draft');",
    ),
    good=(
        "CREATE TABLE user_profiles (user_id uuid, address_line_2 text);",
        "CREATE TABLE Users (UserId uuid);",
        "CREATE TYPE http_method AS ENUM ('GET', 'Post');",
        'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" text PRIMARY KEY);',
    ),
    schema=_check,
)
