"""FK06: a column that names another table's key refers to it.

Standard: §2.3 Foreign Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import foreign_columns, is_record, owned, qualified, quoted
from cloudlab.standards.words import singular


def _check(catalog: Catalog) -> Iterator[Found]:
    by_name = {(table.schema, singular(table.name)): table for table in owned(catalog)}
    for table in owned(catalog):
        # A table without any foreign key has none on purpose: another shard, a dump of data, an ORM that forgoes them.
        refers = foreign_columns(table)
        if not refers or table.kind != "table" or is_record(table):
            continue
        for name, column in table.columns.items():
            other = by_name.get((table.schema, name.removesuffix("_id")))
            if other is None or not name.endswith("_id") or name in refers or other is table or is_record(other):
                continue
            key = _key_of(other)
            if (
                key
                and column.type == other.columns[key].type
                and f"{name.removesuffix('_id')}_type" not in table.columns
            ):
                yield Found(
                    f"{name} names one of {other} and does not refer to it",
                    column.at,
                    str(table),
                    f"ALTER TABLE {qualified(table)} ADD CONSTRAINT fk_{table.name}_{name} FOREIGN KEY ({quoted(name)})"
                    f" REFERENCES {qualified(other)} ({quoted(key)}) ON DELETE RESTRICT NOT VALID; then VALIDATE it.",
                )


def _key_of(other: Table) -> str | None:
    key = other.primary_key
    return key.columns[0] if key and len(key.columns) == 1 and key.columns[0] in other.columns else None


RULE = Rule(
    id="FK06",
    title="A column that names another table's key refers to it",
    heading="§2.3 Foreign Key Standards",
    level=Level.NOTE,
    why="Nothing else keeps it from pointing at a row that is gone.",
    remedy="Add the foreign key NOT VALID, then VALIDATE it.",
    bad=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY); CREATE TABLE shops (shop_id uuid PRIMARY KEY);"
        " CREATE TABLE orders (order_id uuid PRIMARY KEY, shop_id uuid REFERENCES shops, user_id uuid);",
        "CREATE TABLE users (id bigserial PRIMARY KEY); CREATE TABLE posts (id bigserial PRIMARY KEY);"
        " CREATE TABLE comments (post_id bigint REFERENCES posts, user_id bigint);",
        "CREATE TABLE categories (id int PRIMARY KEY); CREATE TABLE u (u int PRIMARY KEY);"
        " CREATE TABLE p (u int REFERENCES u); ALTER TABLE p ADD COLUMN category_id integer;",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY); CREATE TABLE orders (user_id uuid REFERENCES users);",
        "CREATE TABLE users (user_id uuid PRIMARY KEY); CREATE TABLE events (user_id uuid, other_id uuid REFERENCES"
        " o);",
        "CREATE TABLE owners (id bigint PRIMARY KEY);"
        " CREATE TABLE f (owner_id bigint, owner_type text, u_id bigint REFERENCES u);",
        "CREATE TABLE users (user_id uuid PRIMARY KEY); CREATE TABLE orders (order_id uuid PRIMARY KEY, user_id uuid);",
    ),
    schema=_check,
)
