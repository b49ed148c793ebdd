"""PT01: there is a partition for what is written today.

Standard: §7.1 Time-Based Partitioning
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.partitions import by_parent, has_default, is_by_time, is_made_elsewhere, ranges
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified


def _check(catalog: Catalog) -> Iterator[Found]:
    if is_made_elsewhere(catalog):
        return
    now = datetime.now(UTC)
    for table, parts in by_parent(catalog):
        known = ranges(parts)
        if not known or not is_by_time(table) or has_default(parts):
            continue
        last = known[-1].upper
        if isinstance(last, datetime) and last <= now:
            yield Found(
                f"the last partition, {known[-1].table.name}, ends at {last.date()}: INSERT of today's rows fails",
                table.at,
                str(table),
                f"CREATE TABLE … (LIKE {qualified(table)} INCLUDING DEFAULTS INCLUDING CONSTRAINTS); ATTACH it; and"
                " let a"
                " job make the next ones.",
            )


_EVENTS = "CREATE TABLE e (at timestamptz) PARTITION BY RANGE (at);"

RULE = Rule(
    id="PT01",
    title="There is a partition for what is written today",
    heading="§7.1 Time-Based Partitioning",
    level=Level.ERROR,
    why="Without a partition that takes it, a row is refused: at midnight of the first of the month all writes fail.",
    remedy="Make partitions for months ahead, by a job, and be told when they run out.",
    bad=(
        _EVENTS + "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');",
        "CREATE TABLE e (day date) PARTITION BY RANGE (day);"
        "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');",
        _EVENTS + "CREATE TABLE e1 (at timestamptz);"
        " ALTER TABLE e ATTACH PARTITION e1 FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00');",
    ),
    good=(
        _EVENTS + "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2999-02-01');",
        _EVENTS + "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"
        "CREATE TABLE e_rest PARTITION OF e DEFAULT;",
        _EVENTS + "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);",
        _EVENTS + "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"
        "CREATE FUNCTION ensure() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $x$CREATE TABLE x PARTITION OF e$x$;"
        " END';",
        "CREATE TABLE e (n bigint) PARTITION BY RANGE (n); CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (1) TO (9);",
    ),
    schema=_check,
)
