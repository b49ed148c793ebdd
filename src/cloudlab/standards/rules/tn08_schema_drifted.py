"""TN08: the schemas of all tenants are the same.

Standard: §4.1 Tenant-Specific Schemas
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Place, Table
from cloudlab.standards.rule import Found, Level, Rule

_TENANT = re.compile(r"(tenant|tnt|customer|client|org|shop|company)_?[a-z0-9_]+")
_ENOUGH = 3

Shape = frozenset[tuple[str, str, bool]]


def _check(catalog: Catalog) -> Iterator[Found]:
    schemas: defaultdict[str, dict[str, Table]] = defaultdict(dict)
    for table in catalog.real_tables():
        if found := _TENANT.fullmatch(table.schema):
            schemas[found[1]].setdefault(f"{table.schema}.{table.name}", table)
    for tables in schemas.values():
        by_name: defaultdict[str, list[Table]] = defaultdict(list)
        for table in tables.values():
            by_name[table.name].append(table)
        yield from _drifted(by_name, {table.schema for table in tables.values()})


def _drifted(by_name: dict[str, list[Table]], schemas: set[str]) -> Iterator[Found]:
    if len(schemas) < _ENOUGH:
        return
    for name, tables in by_name.items():
        if 2 * len(tables) <= len(schemas):
            continue  # of few tenants: something of their own
        for schema in sorted(schemas - {table.schema for table in tables}):
            yield Found(
                f"{len(tables)} of {len(schemas)} tenants have the table {name}, this one has not",
                Place(schema), schema,
            )  # fmt: skip
        shapes = {table.schema: _shape(table) for table in tables}
        (usual, times), *others = Counter(shapes.values()).most_common()
        if others and 2 * times > len(tables):
            for table in tables:
                if shapes[table.schema] != usual:
                    yield Found(_difference(usual, shapes[table.schema]), table.at, f"{table.schema}.{name}")


def _shape(table: Table) -> Shape:
    return frozenset((column.name, column.type.replace(f"{table.schema}.", ""), column.not_null)
                     for column in table.columns.values())  # fmt: skip


def _difference(usual: Shape, own: Shape) -> str:
    missing, added = {one[0] for one in usual - own}, {one[0] for one in own - usual}
    parts = [
        f"{what} {', '.join(sorted(names))}"
        for what, names in (
            ("lacks", missing - added),
            ("has besides", added - missing),
            ("differs in", added & missing),
        )
        if names
    ]
    return f"is not as in the schemas of the other tenants: {'; '.join(parts)}"


RULE = Rule(
    id="TN08",
    title="The schemas of all tenants are the same",
    heading="§4.1 Tenant-Specific Schemas",
    level=Level.ERROR,
    why="A migration that stopped half way leaves some tenants with another schema: the next one, and the code, fail "
    "for them alone.",
    remedy="Apply what is missing to that schema; `cloudlab migrate status` says which version each tenant has.",
    bad=(
        "CREATE TABLE tenant_001.p (a integer); CREATE TABLE tenant_002.p (a integer);"
        " CREATE TABLE tenant_003.p (a integer, b text);",
        "CREATE TABLE tenant_1.p (a integer); CREATE TABLE tenant_2.p (a integer); CREATE TABLE tenant_3.q (a text);",
        "CREATE TABLE tenant_a.p (a integer); CREATE TABLE tenant_b.p (a integer); CREATE TABLE tenant_c.p (a bigint);",
    ),
    good=(
        "CREATE TABLE tenant_001.p (a integer); CREATE TABLE tenant_002.p (a integer);"
        " CREATE TABLE tenant_003.p (a integer);",
        "CREATE TABLE tenant_1.p (a integer); CREATE TABLE tenant_2.p (a bigint);",
        "CREATE TABLE tenant_1.p (a integer); CREATE TABLE tenant_2.p (a integer); CREATE TABLE tenant_3.p (a integer);"
        " CREATE TABLE tenant_3.special (a integer);",
        "CREATE TABLE sales.p (a integer); CREATE TABLE stock.p (b integer); CREATE TABLE staff.p (c integer);",
    ),
    schema=_check,
    across=True,
)
