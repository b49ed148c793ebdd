"""PT04: partitions leave nothing out.

Standard: §7.1 Horizontal Partitioning
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.partitions import by_parent, has_default, is_made_elsewhere, ranges, remainders
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    if is_made_elsewhere(catalog):
        return
    for table, parts in by_parent(catalog):
        known = (ranges(parts) or []) if table.partition_strategy == "range" and not has_default(parts) else []
        for one, following in pairwise(known):
            if one.upper != following.lower:
                yield Found(
                    f"no partition between {one.table.name} and {following.table.name} takes what is from"
                    f" {one.upper} to"
                    f" before {following.lower}",
                    following.table.at,
                    str(table),
                )
        hashes = remainders(parts) if table.partition_strategy == "hash" else None
        if hashes and (there := sum(Fraction(1, modulus) for modulus, _ in hashes)) < 1:
            yield Found(
                f"the partitions take {there} of the hashes: INSERT of every other row fails", table.at, str(table)
            )


_BY_DAY = "CREATE TABLE e (at date) PARTITION BY RANGE (at);"
_BY_HASH = "CREATE TABLE u (u uuid) PARTITION BY HASH (u);"

RULE = Rule(
    id="PT04",
    title="Partitions leave nothing out",
    heading="§7.1 Horizontal Partitioning",
    level=Level.ERROR,
    why="A row that no partition takes is refused.",
    remedy="Make the partition that is missing.",
    bad=(
        _BY_DAY + "CREATE TABLE a PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-01-31');"
        "CREATE TABLE b PARTITION OF e FOR VALUES FROM ('2020-02-01') TO ('2999-01-01');",
        _BY_HASH + "CREATE TABLE a PARTITION OF u FOR VALUES WITH (modulus 4, remainder 0);"
        "CREATE TABLE b PARTITION OF u FOR VALUES WITH (modulus 4, remainder 1);",
        "CREATE TABLE e (n int) PARTITION BY RANGE (n); CREATE TABLE a PARTITION OF e FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE b PARTITION OF e FOR VALUES FROM (20) TO (30);",
    ),
    good=(
        _BY_DAY + "CREATE TABLE a PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"
        "CREATE TABLE b PARTITION OF e FOR VALUES FROM ('2020-02-01') TO ('2999-01-01');",
        _BY_HASH + "CREATE TABLE a PARTITION OF u FOR VALUES WITH (modulus 2, remainder 0);"
        "CREATE TABLE b PARTITION OF u FOR VALUES WITH (modulus 4, remainder 1);"
        "CREATE TABLE c PARTITION OF u FOR VALUES WITH (modulus 4, remainder 3);",
        "CREATE TABLE e (r text) PARTITION BY LIST (r); CREATE TABLE a PARTITION OF e FOR VALUES IN ('x');",
        "CREATE TABLE e (n int) PARTITION BY RANGE (n); CREATE TABLE a PARTITION OF e FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE b PARTITION OF e FOR VALUES FROM (20) TO (30); CREATE TABLE c PARTITION OF e DEFAULT;",
    ),
    schema=_check,
)
