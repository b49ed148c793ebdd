"""Schemas that are alike: the tables of a thousand tenants are read and judged twice, not a thousand times.

A server sums up each schema; of those with one sum, two are read, and the others are what the first is under another
name. Why two: what a rule says of both must differ by the name alone before it is said of the others.

Standard: §4.1 Tenant-Specific Schemas
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudlab.standards.catalog import (
    Catalog,
    Column,
    Constraint,
    Expression,
    Function,
    Index,
    Place,
    Policy,
    Table,
    Twins,
)  # fmt: skip
from cloudlab.standards.words import RESERVED

# Fewer are sooner read than summed up.
ENOUGH = 8
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_BY_NAME = frozenset({"public", "archive", "audit", "history"})
Statistics = Mapping[tuple[str, str], tuple[float, int]]


def grouped(rows: Sequence[Mapping[str, Any]], alone: Collection[str]) -> list[Twins]:
    """Return the schemas that are alike, by the sums of the server, in the order of the rows.

    Args:
        rows: Of each schema its `name` and its `sum`; the first of its kind is read.
        alone: Schemas that others refer to, which are read in any case.
    """
    groups: defaultdict[tuple[object, bool], list[str]] = defaultdict(list)
    for row in rows:
        name = row["name"]
        if name not in alone and name not in _BY_NAME | RESERVED and _PLAIN.fullmatch(name):
            groups[row["sum"], name.startswith("tenant")].append(name)
    return [Twins(one[0], one[1], tuple(one[2:])) for one in groups.values() if len(one) >= ENOUGH]


def add_others(catalog: Catalog, statistics: Statistics) -> None:
    """Add to what was read the schemas that were not.

    Args:
        catalog: With the groups in `twins`, and the two schemas of each that were read.
        statistics: Rows and bytes of each table that was not read, by schema and name.
    """
    for twins in catalog.twins:
        tables = [table for table in catalog.tables.values() if table.schema == twins.first]
        enums = [enum for enum in catalog.enums.values() if enum.schema == twins.first]
        functions = [function for function in catalog.functions.values() if function.schema == twins.first]
        for name in twins.others:
            rename = _renaming(twins.first, name)
            for table in tables:
                rows, size = statistics.get((name, table.name), (None, None))
                catalog.tables[name, table.name] = _table(table, name, rename, rows, size)
            for enum in enums:
                catalog.enums[name, enum.name] = replace(enum, schema=name, at=Place(f"{name}.{enum.name}"))
            for function in functions:
                twin = _function(function, name, rename)
                catalog.functions[name, twin.name, twin.arguments] = twin


def read_only(catalog: Catalog) -> Catalog:
    """Return a schema without what was not read itself; the names of all schemas stay."""
    left_out = {name for twins in catalog.twins for name in twins.others}
    small = replace(catalog, twins=(), tables=type(catalog.tables)(), enums={}, functions={})
    for key, table in catalog.tables.items():
        if table.schema not in left_out:
            small.tables[key] = table
    small.enums.update((key, enum) for key, enum in catalog.enums.items() if enum.schema not in left_out)
    small.functions.update((key, one) for key, one in catalog.functions.items() if one.schema not in left_out)
    return small


def _renaming(old: str, new: str) -> Callable[[str], str]:
    word = re.compile(rf"\b{old}\b")
    return lambda text: word.sub(new, text) if old in text else text


def _table(table: Table, name: str, rename: Callable[[str], str], rows: float | None, size: int | None) -> Table:
    at = Place(f"{name}.{table.name}")
    return Table(
        name,
        table.name,
        table.kind,
        columns={one.name: _column(one, rename, at.source) for one in table.columns.values()},
        constraints={one.name: _constraint(one, table.schema, name, rename, at) for one in table.constraints.values()},
        indexes={one.name: _index(one, name, rename) for one in table.indexes.values()},
        policies={one.name: _policy(one, rename, at) for one in table.policies.values()},
        triggers={one.name: replace(one, function=rename(one.function), at=at) for one in table.triggers.values()},
        grants=table.grants,
        comment=table.comment,
        row_security=table.row_security,
        force_row_security=table.force_row_security,
        options=table.options,
        partition_of=(name, table.partition_of[1]) if table.partition_of else None,
        partition_key=table.partition_key,
        partition_strategy=table.partition_strategy,
        partition_bound=table.partition_bound,
        query=rename(table.query),
        owner=table.owner,
        rows=rows,
        size_bytes=size,
        at=at,
    )


def _column(one: Column, rename: Callable[[str], str], table: str) -> Column:
    return Column(
        one.name,
        rename(one.type),
        one.not_null,
        _expression(one.default, rename),
        one.identity,
        _expression(one.generated, rename),
        one.comment,
        Place(f"{table}.{one.name}"),
    )


def _expression(one: Expression | None, rename: Callable[[str], str]) -> Expression | None:
    """Return the same object where the name is not in it: it is parsed once for all."""
    text = one.text if one else ""
    renamed = rename(text)
    return Expression(renamed) if renamed != text else one


def _constraint(one: Constraint, old: str, new: str, rename: Callable[[str], str], at: Place) -> Constraint:
    to = one.referenced
    return Constraint(
        one.name,
        one.kind,
        one.columns,
        _expression(one.check, rename),
        (new, to[1]) if to and to[0] == old else to,
        one.referenced_columns,
        one.on_delete,
        one.on_delete_columns,
        one.validated,
        one.is_named,
        one.comment,
        at,
    )


def _index(one: Index, schema: str, rename: Callable[[str], str]) -> Index:
    """Return an index of another schema; how often it is used and how large it is was not asked."""
    return Index(
        one.name,
        one.columns,
        one.unique,
        _expression(one.predicate, rename),
        one.method,
        one.valid,
        one.include,
        one.constraint,
        tuple(map(rename, one.expressions)),
        options=one.options,
        at=Place(f"{schema}.{one.name}"),
    )


def _policy(one: Policy, rename: Callable[[str], str], at: Place) -> Policy:
    return replace(one, using=_expression(one.using, rename), with_check=_expression(one.with_check, rename), at=at)


def _function(one: Function, schema: str, rename: Callable[[str], str]) -> Function:
    arguments = rename(one.arguments)
    return replace(
        one,
        schema=schema,
        arguments=arguments,
        search_path=rename(one.search_path) if one.search_path else one.search_path,
        body=rename(one.body),
        at=Place(f"{schema}.{one.name}({arguments})"),
    )


def unread(catalog: Catalog) -> Iterator[str]:
    """Yield the names of the schemas that were not read themselves."""
    return (name for twins in catalog.twins for name in twins.others)
