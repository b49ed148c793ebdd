"""PK03: a UUID key has a default.

Standard: §2.3 Primary Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import foreign_columns, owned, qualified, quoted
from cloudlab.standards.words import singular


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        column = table.columns.get(key.columns[0]) if key and len(key.columns) == 1 else None
        if column is None or column.type != "uuid" or column.default or column.generated:
            continue
        is_its_own = column.name in {"id", f"{singular(table.name)}_id"}
        if is_its_own and column.name not in foreign_columns(table):
            name = quoted(column.name)
            yield Found(
                f"{column.name} has no default: whoever inserts must bring a key",
                column.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {name} SET DEFAULT uuidv7();",
            )


RULE = Rule(
    id="PK03",
    title="A UUID key has a default",
    heading="§2.3 Primary Key Standards",
    level=Level.NOTE,
    why="Without a default each writer makes keys in its own way, random ones among them, and a hand-written INSERT"
    " fails.",
    remedy="ALTER TABLE … ALTER COLUMN … SET DEFAULT uuidv7();",
    bad=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY);",
        "CREATE TABLE users (id uuid NOT NULL); ALTER TABLE users ADD CONSTRAINT pk_users PRIMARY KEY (id);",
        "CREATE TABLE users (user_id uuid DEFAULT uuidv7() PRIMARY KEY);"
        " ALTER TABLE users ALTER COLUMN user_id DROP DEFAULT;",
    ),
    good=(
        "CREATE TABLE users (user_id uuid DEFAULT uuidv7() PRIMARY KEY);",
        "CREATE TABLE users (user_id bigint PRIMARY KEY);",
        "CREATE TABLE users (user_id uuid DEFAULT uuidv7() PRIMARY KEY);"
        " CREATE TABLE user_profiles (user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE);",
        "CREATE TABLE erasures (subject_id uuid PRIMARY KEY);",
    ),
    mends=True,
    schema=_check,
)
