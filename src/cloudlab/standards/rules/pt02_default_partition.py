"""PT02: a table that is partitioned by time has no default partition.

Standard: §7.1 Time-Based Partitioning
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.partitions import by_parent, is_by_time
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for table, parts in by_parent(catalog):
        for part in parts:
            if part.partition_bound == "default" and is_by_time(table) and len(parts) > 1:
                holds = f" It holds {part.rows:,.0f} rows." if part.rows and part.rows > 0 else ""
                yield Found(
                    f"{part.name} takes what fits no other partition: no partition can be detached concurrently, and"
                    " each"
                    f" new one scans it.{holds}",
                    part.at,
                    str(table),
                    "Move its rows to partitions of their own, detach and drop it; be told when partitions run out.",
                )


_EVENTS = "CREATE TABLE e (at date) PARTITION BY RANGE (at);"
_ONE = "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"

RULE = Rule(
    id="PT02",
    title="A table partitioned by time has no default partition",
    heading="§7.1 Time-Based Partitioning",
    level=Level.NOTE,
    why="PostgreSQL refuses DETACH CONCURRENTLY while there is one, scans it under ACCESS EXCLUSIVE for each"
    " partition that"
    " is added, and refuses the new partition when rows for it are already there.",
    remedy="Premade partitions and an alert instead.",
    bad=(
        _EVENTS + _ONE + "CREATE TABLE rest PARTITION OF e DEFAULT;",
        _EVENTS + _ONE + "CREATE TABLE rest (at date); ALTER TABLE e ATTACH PARTITION rest DEFAULT;",
        _EVENTS + "CREATE TABLE rest PARTITION OF e DEFAULT;" + _ONE,
    ),
    good=(
        _EVENTS + _ONE,
        _EVENTS + _ONE + "CREATE TABLE rest PARTITION OF e DEFAULT; DROP TABLE rest;",
        "CREATE TABLE e (r text) PARTITION BY LIST (r); CREATE TABLE e1 PARTITION OF e FOR VALUES IN ('a');"
        "CREATE TABLE rest PARTITION OF e DEFAULT;",
        "CREATE TABLE e (at date);",
    ),
    schema=_check,
)
