"""NM05: a key is named after its table.

Standard: §2.1 Column Naming
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted
from cloudlab.standards.words import singular, tokens


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        if key and key.columns == ("id",):
            name = quoted(f"{singular('_'.join(tokens(table.name)))}_id")
            yield Found(
                "the key is called id",
                key.at,
                str(table),
                f"ALTER TABLE {qualified(table)} RENAME COLUMN id TO {name}; once no code says id any more.",
            )


RULE = Rule(
    id="NM05",
    title="A key is named after its table",
    heading="§2.1 Column Naming",
    level=Level.NOTE,
    why="user_id is user_id on both sides of a join: USING works, and a join of orders.id with users.id looks as wrong"
    " as it is.",
    remedy="user_id in users.",
    bad=(
        "CREATE TABLE users (id uuid PRIMARY KEY);",
        "CREATE TABLE users (id bigint); ALTER TABLE users ADD CONSTRAINT pk_users PRIMARY KEY (id);",
        "CREATE TABLE shop.categories (id uuid, CONSTRAINT pk_categories PRIMARY KEY (id));",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY);",
        "CREATE TABLE users (id uuid PRIMARY KEY); ALTER TABLE users RENAME COLUMN id TO user_id;",
        "CREATE TABLE schema_migrations (id bigint PRIMARY KEY);",
        "CREATE TABLE order_items (order_id uuid, line_number int, PRIMARY KEY (order_id, line_number));",
    ),
    schema=_check,
)
