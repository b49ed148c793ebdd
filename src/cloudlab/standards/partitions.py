"""The partitions of a table and what lies between their bounds.

Standard: §7.1 Horizontal Partitioning
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from cloudlab.standards.catalog import Catalog, Table

_RANGE = re.compile(r"FROM \('?([^',()]+)'?\) TO \('?([^',()]+)'?\)")
_HASH = re.compile(r"WITH \(modulus (\d+), remainder (\d+)\)")

Bound = datetime | Decimal


@dataclass(frozen=True, slots=True)
class Range:
    """What one partition of a range holds, from its lower bound to before its upper one."""

    lower: Bound
    upper: Bound
    table: Table


def partitions_of(catalog: Catalog, table: Table) -> list[Table]:
    """Return the partitions of a table that the model knows."""
    return [one for one in catalog.tables.values() if one.partition_of == table.key]


def by_parent(catalog: Catalog) -> list[tuple[Table, list[Table]]]:
    """Return each partitioned table with its partitions, those without any left out."""
    found: dict[tuple[str, str], list[Table]] = {}
    for table in catalog.tables.values():
        if table.partition_of:
            found.setdefault(table.partition_of, []).append(table)
    return [(catalog.tables[key], parts) for key, parts in found.items() if key in catalog.tables]


def ranges(parts: list[Table]) -> list[Range] | None:
    """Return what the partitions hold, in order; None when a bound is no single moment or number."""
    found: list[Range] = []
    for part in parts:
        if part.partition_bound == "default":
            continue
        match = _RANGE.fullmatch(part.partition_bound)
        lower, upper = (_bound(match[1]), _bound(match[2])) if match else (None, None)
        if lower is None or upper is None or type(lower) is not type(upper):
            return None
        found.append(Range(lower, upper, part))
    return sorted(found, key=lambda one: (str(type(one.lower)), one.lower))


def _bound(text: str) -> Bound | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def remainders(parts: list[Table]) -> list[tuple[int, int]] | None:
    """Return modulus and remainder of each partition by hash; None when one is not known."""
    found = [_HASH.fullmatch(part.partition_bound) for part in parts]
    return [(int(one[1]), int(one[2])) for one in found if one] if all(found) else None


def has_default(parts: list[Table]) -> bool:
    """Whether one of them takes what fits no other."""
    return any(part.partition_bound == "default" for part in parts)


def is_by_time(table: Table) -> bool:
    """Whether it is partitioned by ranges of one date or timestamp."""
    column = table.columns.get(table.partition_key[0] or "") if len(table.partition_key) == 1 else None
    return table.partition_strategy == "range" and bool(column and column.type.startswith(("timestamp", "date")))


def is_made_elsewhere(catalog: Catalog) -> bool:
    """Whether functions make partitions, which files cannot show."""
    bodies = (function.body.lower() for function in catalog.functions.values())
    return not catalog.is_live and any(
        "partition of" in body or "attach partition" in body or "partman" in body for body in bodies
    )
