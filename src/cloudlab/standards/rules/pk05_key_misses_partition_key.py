"""PK05: the unique keys of a partitioned table contain what it is partitioned by.

Standard: §7.1 Hash-Based Partitioning
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Place, Table
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.tables.values():
        if table.kind != "partitioned" or not table.partition_key or not table.columns:
            continue
        for what, names, at in _unique(table):
            missing = [name or "an expression" for name in table.partition_key if name not in names]
            if missing:
                yield Found(
                    f"{what} ({', '.join(names)}) lacks {', '.join(missing)}, by which the table is partitioned:"
                    " PostgreSQL refuses it",
                    at,
                    str(table),
                    "Put the partition key into it, and keep what must be unique over all partitions in a table of its"
                    " own.",
                )


def _unique(table: Table) -> Iterator[tuple[str, tuple[str, ...], Place]]:
    for constraint in table.of_kind("p", "u"):
        yield ("the primary key" if constraint.kind == "p" else "UNIQUE"), constraint.columns, constraint.at
    for index in table.indexes.values():
        if index.unique and not index.constraint and index.valid:
            yield f"the unique index {index.name}", tuple(name for name in index.columns if name), index.at


RULE = Rule(
    id="PK05",
    title="Unique keys of a partitioned table contain its partition key",
    heading="§7.1 Hash-Based Partitioning",
    level=Level.ERROR,
    why="Each partition has an index of its own, so PostgreSQL cannot see a twin in another one and refuses the key.",
    remedy="Put the partition key into it, or keep a table of its own for what must be unique over all partitions.",
    bad=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY, email text UNIQUE) PARTITION BY HASH (user_id);",
        "CREATE TABLE events (event_id uuid PRIMARY KEY, created_at date) PARTITION BY RANGE (created_at);",
        "CREATE TABLE e (id bigint, at date) PARTITION BY RANGE (at); CREATE UNIQUE INDEX uq_e_id ON e (id);",
    ),
    good=(
        "CREATE TABLE users (user_id uuid PRIMARY KEY) PARTITION BY HASH (user_id);",
        "CREATE TABLE events (id uuid, created_at date, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);",
        "CREATE TABLE e (id bigint PRIMARY KEY, at date) PARTITION BY RANGE (id);"
        " CREATE TABLE e1 PARTITION OF e (UNIQUE (at)) FOR VALUES FROM (1) TO (2);",
    ),
    schema=_check,
)
