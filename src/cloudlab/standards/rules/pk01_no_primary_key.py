"""PK01: every table has a primary key.

Standard: §2.3 Primary Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        if table.primary_key is None and table.columns and not table.is_temporary:
            column = next(iter(table.columns))
            yield Found(
                f"{table} has no primary key",
                table.at,
                str(table),
                f"ALTER TABLE {table} ADD CONSTRAINT pk_{table.name} PRIMARY KEY ({column}); if that identifies a row.",
            )


RULE = Rule(
    id="PK01",
    title="A table has a primary key",
    heading="§2.3 Primary Key Standards",
    level=Level.ERROR,
    why="Without one, twins cannot be told apart, replication refuses UPDATE and DELETE, and nothing refers to a row.",
    remedy="Add a primary key.",
    bad=(
        "CREATE TABLE events (event_id uuid, name text);",
        "CREATE TABLE users (user_id uuid UNIQUE);",
        "CREATE TABLE logs (at timestamptz NOT NULL) PARTITION BY RANGE (at);",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY);",
        "CREATE TABLE users (user_id uuid); ALTER TABLE users ADD CONSTRAINT pk_users PRIMARY KEY (user_id);",
        "CREATE TABLE users (user_id uuid NOT NULL); CREATE UNIQUE INDEX i ON users (user_id);"
        " ALTER TABLE users ADD CONSTRAINT pk_users PRIMARY KEY USING INDEX i;",
        "CREATE TABLE e (id bigint PRIMARY KEY, at date) PARTITION BY RANGE (id);"
        " CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (1) TO (2);",
        "CREATE TEMPORARY TABLE t (a integer);",
    ),
    schema=_check,
)
