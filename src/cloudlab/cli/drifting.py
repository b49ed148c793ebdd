"""Every place against what its migrations make, and against its neighbours.

Standard: §4.1 Tenant-Specific Schemas, §6.1 Migration Tracking
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cloudlab.schema import fanout
from cloudlab.schema.files import Tree
from cloudlab.schema.places import Target
from cloudlab.schema.postgres import connect
from cloudlab.standards import differences, folders, reading
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.differences import Difference, Items

_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Drifted:
    """A place and where it differs; nothing when it is as it should be."""

    target: str
    differences: list[Difference]


async def drift(where: Callable[[], Awaitable[list[Target]]]) -> list[Drifted]:
    """Compare every PostgreSQL place with the files that were applied there.

    Cost: about fifteen queries for each database, whatever the number of its schemas; ClickHouse is left out.
    """
    by_url: defaultdict[str, list[Target]] = defaultdict(list)
    for target in await where():
        if target.source is not Tree.CLICKHOUSE:
            by_url[target.url].append(target)
    found: list[Drifted] = []
    for url, targets in by_url.items():
        schemas = [target.schema for target in targets]
        async with connect(url) as conn:
            standings = await fanout.standings(conn, schemas)
        async with reading.connect(url) as conn:
            catalog = await reading.read_schema(conn, list(dict.fromkeys(schemas)))
        found += _compared(targets, catalog, standings)
    return found


def _compared(targets: Sequence[Target], catalog: Catalog, standings: dict[str, str]) -> list[Drifted]:
    parts = _by_schema(catalog)
    wanted: dict[tuple[object, str], tuple[Items, set[str]]] = {}
    alike: defaultdict[tuple[object, str], dict[str, Items]] = defaultdict(dict)
    found: dict[str, list[Difference]] = {}
    for target in targets:
        key = target.source, standings[target.schema]
        if key not in wanted:
            wanted[key] = _made(target, standings[target.schema])
        own = parts.get(target.schema, Catalog(is_live=True))
        items, unseen = wanted[key]
        there = differences.items(own, [target.schema], exact=False, plain=target.schema)
        found[target.name] = differences.compare(items, there, unseen=unseen)
        alike[key][target.name] = differences.items(own, [target.schema], exact=True, plain=target.schema)
    for sides in alike.values():
        if len(sides) >= _ENOUGH:
            for name, others in differences.unusual(sides).items():
                said = {(one.kind, one.name.partition("(")[0]) for one in found[name]}
                found[name] += [one for one in others if (one.kind, one.name.partition("(")[0]) not in said]
    return [Drifted(target.name, found[target.name]) for target in targets]


def _made(target: Target, standing: str) -> tuple[Items, set[str]]:
    """Fold the files that were applied; return what they make, and the tables that functions were called with."""
    applied = fanout.applied(standing)
    files = [file for file in target.files if file.version in applied]
    catalog = folders.of_migrations(files, target.schema)
    items = differences.items(catalog, [target.schema], exact=False, plain=target.schema)
    return items, {table.name for table in catalog.tables.values() if table.is_opaque}


def _by_schema(catalog: Catalog) -> dict[str, Catalog]:
    """Take a catalog of many schemas apart, so that none of them is looked through again and again."""
    parts: defaultdict[str, Catalog] = defaultdict(lambda: Catalog(is_live=True))
    for table in catalog.tables.values():
        parts[table.schema].tables[table.key] = table
    for key, enum in catalog.enums.items():
        parts[enum.schema].enums[key] = enum
    for key, function in catalog.functions.items():
        parts[function.schema].functions[key] = function
    return parts
