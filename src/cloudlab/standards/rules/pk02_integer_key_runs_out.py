"""PK02: a key that a sequence numbers is wide enough for ever.

Standard: §2.3 Primary Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import is_from_sequence, owned, qualified, quoted

_LIMITS = {"integer": "2,147,483,647", "smallint": "32,767"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        key = table.primary_key
        column = table.columns.get(key.columns[0]) if key and len(key.columns) == 1 else None
        if column and column.type in _LIMITS and is_from_sequence(column):
            yield Found(
                f"the key {column.name} is {column.type}: the row after number {_LIMITS[column.type]} is refused",
                column.at,
                str(table),
                _remedy(catalog, table, column),
            )


def _remedy(catalog: Catalog, table: Table, column: Column) -> str:
    """Write how the key becomes wider: what refers to it first, which may be wider than what it refers to."""
    wide = [_widened(table, column.name)]
    for other in owned(catalog):
        for key in other.of_kind("f"):
            if key.referenced == table.key and column.name in key.referenced_columns:
                own = other.columns.get(key.columns[key.referenced_columns.index(column.name)])
                wide += [_widened(other, own.name)] if own and own.type in _LIMITS else []
    return " ".join(dict.fromkeys(reversed(wide)))


def _widened(table: Table, column: str) -> str:
    return f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(column)} TYPE bigint;"


RULE = Rule(
    id="PK02",
    title="A key from a sequence does not run out",
    heading="§2.3 Primary Key Standards",
    level=Level.WARNING,
    why="A sequence counts attempts and not rows: rolled back inserts and upserts use numbers up, and at the end of the"
    " type every insert fails until the table has been rewritten.",
    remedy="Use uuid, or bigint GENERATED ALWAYS AS IDENTITY.",
    bad=(
        "CREATE TABLE users (user_id serial PRIMARY KEY);",
        "CREATE TABLE users (user_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
        "CREATE TABLE users (user_id smallint NOT NULL); CREATE SEQUENCE s;"
        " ALTER TABLE users ALTER COLUMN user_id SET DEFAULT nextval('s');"
        " ALTER TABLE users ADD CONSTRAINT pk_users PRIMARY KEY (user_id);",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY);",
        "CREATE TABLE users (user_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
        "CREATE TABLE countries (country_number integer PRIMARY KEY);",
        "CREATE TABLE order_items (order_id uuid, line_number integer, PRIMARY KEY (order_id, line_number));",
    ),
    schema=_check,
    mends=True,
)
