"""PK07: UUID keys grow with time.

Standard: §2.3 Primary Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.expressions import calls, function_name
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted

_RANDOM = frozenset({"gen_random_uuid", "uuid_generate_v4", "uuidv4"})


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        for name in key.columns if key else ():
            column = table.columns.get(name)
            tree = column.default.tree if column and column.default else None
            called = next((function_name(call) for call in calls(tree)), "") if tree is not None else ""
            if column and called in _RANDOM:
                yield Found(
                    f"the default of {name} is {called}(): each insert hits another page of every index on it",
                    column.at,
                    str(table),
                    f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(name)} SET DEFAULT uuidv7();"
                    " built in from PostgreSQL 18 on, a function of ten lines before.",
                )


RULE = Rule(
    id="PK07",
    title="UUID keys grow with time",
    heading="§2.3 Primary Key Standards",
    level=Level.NOTE,
    why="Random keys were measured to write 2.8 times the WAL of version 7: each insert changes another page, and the"
    " first change of a page after a checkpoint writes all of it.",
    remedy="SET DEFAULT uuidv7(); the keys that are there stay as they are.",
    bad=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY DEFAULT gen_random_uuid());",
        "CREATE TABLE users (user_id uuid PRIMARY KEY DEFAULT public.uuid_generate_v4());",
        "CREATE TABLE users (user_id uuid PRIMARY KEY);"
        " ALTER TABLE users ALTER COLUMN user_id SET DEFAULT gen_random_uuid();",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY DEFAULT uuidv7());",
        "CREATE TABLE users (user_id uuid PRIMARY KEY DEFAULT cloudlab.uuidv7(), api_key uuid DEFAULT"
        " gen_random_uuid());",
        "CREATE TABLE users (user_id bigint PRIMARY KEY);",
        "CREATE TABLE users (user_id uuid PRIMARY KEY);",
    ),
    schema=_check,
)
