"""PT03: an index is on the partitioned table, and not on some of its partitions.

Standard: §7.1 Time-Based Partitioning
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Index, Table
from cloudlab.standards.covering import keys, predicate, quoted_keys
from cloudlab.standards.partitions import by_parent
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified


def _check(catalog: Catalog) -> Iterator[Found]:
    for table, parts in by_parent(catalog):
        if not table.columns:
            continue
        have = [_sign(index) for index in table.indexes.values()]
        seen: dict[tuple[object, ...], tuple[Table, Index, int]] = {}
        for part in parts:
            for index in part.indexes.values():
                if _sign(index) not in have:
                    first, own, count = seen.get(_sign(index), (part, index, 0))
                    seen[_sign(index)] = first, own, count + 1
        for part, index, count in seen.values():
            keys_of = quoted_keys(index)
            yield Found(
                f"{index.name} is on {count} of {len(parts)} partitions and not on {table.name}: the next one lacks it",
                index.at,
                f"{part}.{index.name}",
                f"CREATE INDEX ON ONLY {qualified(table)} ({keys_of}); and ATTACH the index of each partition.",
            )


def _sign(index: Index) -> tuple[object, ...]:
    return tuple(keys(index)), predicate(index), index.method, index.unique


_EVENTS = "CREATE TABLE e (a uuid, at date) PARTITION BY RANGE (at);"
_ONE = "CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"

RULE = Rule(
    id="PT03",
    title="An index is on the partitioned table itself",
    heading="§7.1 Time-Based Partitioning",
    level=Level.WARNING,
    why="A new partition gets the indexes of the table it is a part of, and no others: from next month on the query"
    " that"
    " needs this one reads the whole partition.",
    remedy="CREATE INDEX ON ONLY the table, then ATTACH the indexes of the partitions.",
    bad=(
        _EVENTS + _ONE + "CREATE INDEX idx_e1_a ON e1 (a);",
        _EVENTS + "CREATE INDEX i ON e (at);" + _ONE + "CREATE INDEX j ON e1 (a, at);",
        _EVENTS + _ONE + "CREATE INDEX i ON e (a); CREATE INDEX j ON e1 (a) WHERE a IS NOT NULL;",
    ),
    good=(
        _EVENTS + _ONE + "CREATE INDEX idx_e_a ON e (a);",
        _EVENTS + _ONE + "CREATE INDEX idx_e_a ON ONLY e (a); CREATE INDEX idx_e1_a ON e1 (a);"
        " ALTER INDEX idx_e_a ATTACH PARTITION idx_e1_a;",
        _EVENTS + _ONE,
    ),
    schema=_check,
)
