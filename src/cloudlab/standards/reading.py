"""Reading the schema of a live database into the model, by a dozen queries whatever its size.

Standard: §11 Best Practices
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row

from cloudlab.errors import from_postgres
from cloudlab.postgres.pool import secure
from cloudlab.standards import queries, queries_twins, reading_server, twins
from cloudlab.standards.catalog import (
    Catalog,
    Column,
    Constraint,
    EnumType,
    Expression,
    Function,
    Index,
    Place,
    Policy,
    Table,
    Trigger,
)  # fmt: skip
from cloudlab.standards.rule import Server

Row = dict[str, Any]
Connection = AsyncConnection[Row]

_KINDS = {"r": "table", "p": "partitioned", "v": "view", "m": "materialized view", "f": "foreign table"}
_ACTIONS = {"a": None, "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}
_COMMANDS = {"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}
_VOLATILITY = {"i": "immutable", "s": "stable", "v": "volatile"}


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[Connection]:
    """Yield a connection that reads only; what it cannot be made for comes out as an error of CloudLab's."""
    try:
        async with await AsyncConnection[Row].connect(secure(url), autocommit=True, row_factory=dict_row) as conn:
            await conn.execute("SET default_transaction_read_only = on")
            await conn.execute("SET statement_timeout = '60s'")
            await conn.execute("SET jit = off; SET work_mem = '64MB'")  # for catalogs of many thousand tables
            yield conn
    except psycopg.Error as error:
        raise from_postgres(error) from error


async def read(url: str) -> tuple[Catalog, Server]:
    """Return the schema of a database and what is known of its server.

    Raises:
        Unavailable: It cannot be reached.
        CloudLabError: A catalog cannot be read.

    Cost: about fifteen queries, whatever the number of tables, over three connections: while one waits, another's rows
    are read. Of many schemas that are alike two are read, and what the others are is worked out (`Catalog.twins`).
    """
    async with connect(url) as conn, connect(url) as beside, connect(url) as third:
        return await asyncio.gather(_read_alike(conn, beside), reading_server.read_server(third))


async def _read_alike(conn: Connection, beside: Connection) -> Catalog:
    """Return the whole schema of a database, most of it worked out where many schemas are alike."""
    names = [row["name"] for row in await _rows(conn, None, queries.SCHEMAS)]
    if len(names) < twins.ENOUGH:
        return await read_schema(conn, beside=beside)
    sums, (alone, statistics) = await asyncio.gather(_sums(conn), _beside_sums(beside))
    groups = twins.grouped(sums, alone)
    if not groups:
        return await read_schema(conn, beside=beside)
    catalog = Catalog(is_live=True, is_complete=True, twins=tuple(groups))
    left_out = set(twins.unread(catalog))
    await _fill(conn, catalog, [name for name in names if name not in left_out], beside)
    catalog.schemas |= {row["name"]: row["comment"] for row in await _rows(conn, None, queries.SCHEMAS)}
    twins.add_others(catalog, statistics)
    return catalog


async def _sums(conn: Connection) -> list[Row]:
    await conn.execute("SET search_path = pg_catalog")
    return await (await conn.execute(queries_twins.SUMS)).fetchall()


async def _beside_sums(conn: Connection) -> tuple[set[str], twins.Statistics]:
    """Return which schemas are read in any case, and the rows and bytes of every table."""
    await conn.execute("SET search_path = pg_catalog")
    alone = {row["name"] for row in await (await conn.execute(queries_twins.ALONE)).fetchall()}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        rows = await (await cursor.execute(queries_twins.STATISTICS)).fetchall()
    return alone, {(schema, name): (rows, size) for schema, name, rows, size in rows}


async def read_schema(
    conn: Connection, schemas: Sequence[str] | None = None, *, beside: Connection | None = None
) -> Catalog:
    """Return the schema that a connection sees, without what belongs to PostgreSQL and to extensions.

    Args:
        conn: A connection to the database.
        schemas: Read only what is in these; the first is the default one of the catalog then.
        beside: Another connection; the longest query is left to it.
    """
    catalog = Catalog(is_live=True, is_complete=schemas is None)
    if schemas:
        catalog.default_schema = schemas[0]
    await _fill(conn, catalog, schemas, beside)
    return catalog


async def _fill(conn: Connection, catalog: Catalog, schemas: Sequence[str] | None, beside: Connection | None) -> None:
    await conn.execute("SET search_path = pg_catalog")
    indexes = asyncio.create_task(_indexes(beside, schemas)) if beside else None
    tables: dict[int, Table] = {}
    for row in await _rows(conn, schemas, queries.TABLES):
        tables[row["oid"]] = _table(catalog, row)
    for row in await _rows(conn, schemas, queries.PARTITIONS):
        if row["oid"] in tables and row["parent"] in tables:
            tables[row["oid"]].partition_of = tables[row["parent"]].key
            tables[row["oid"]].partition_bound = row["bound"]
    fillers: dict[LiteralString, Callable[[Table, Row], None]] = {
        queries.COLUMNS: _column,
        queries.CONSTRAINTS: _constraint,
        queries.INDEXES: _index,
        queries.POLICIES: _policy,
        queries.TRIGGERS: _trigger,
        queries.GRANTS: _grant,
    }
    for query, fill in fillers.items():
        for row in await (indexes if indexes and fill is _index else _rows(conn, schemas, query)):
            if row["relation"] in tables:
                fill(tables[row["relation"]], row)
    await _read_others(conn, catalog, schemas)


async def _read_others(conn: Connection, catalog: Catalog, schemas: Sequence[str] | None) -> None:
    for row in await _rows(conn, schemas, queries.ENUMS):
        key = row["schema"], row["name"]
        catalog.enums[key] = EnumType(*key, row["labels"], row["comment"], at=Place(".".join(key)))
    for row in await _rows(conn, schemas, queries.FUNCTIONS):
        _function(catalog, row)
    for row in await _rows(conn, schemas, queries.SCHEMAS):
        catalog.schemas[row["name"]] = row["comment"]
    for row in await _rows(conn, schemas, queries.DEFAULT_PRIVILEGES):
        catalog.default_privileges.add((row["schema"], row["role"]))


async def _indexes(conn: Connection, schemas: Sequence[str] | None) -> list[Row]:
    await conn.execute("SET search_path = pg_catalog")
    return await _rows(conn, schemas, queries.INDEXES)


async def _rows(conn: Connection, schemas: Sequence[str] | None, query: LiteralString) -> list[Row]:
    if schemas is None:
        return await (await conn.execute(query)).fetchall()
    some = query.replace(queries.OURS, "n.nspname = ANY (%s)")
    return await (await conn.execute(some, [list(schemas)] * some.count("%s"))).fetchall()


async def read_sizes(conn: Connection, schemas: Sequence[str]) -> dict[str, int]:
    """Return the bytes of the tables of some schemas by their names, of each name the largest; its partitions count."""
    rows = await (await conn.execute(queries.SIZES, [list(schemas)])).fetchall()
    return {row["name"]: int(row["size"]) for row in rows}


def _table(catalog: Catalog, row: Row) -> Table:
    table = Table(
        row["schema"],
        row["name"],
        _KINDS[row["kind"]],  # pyright: ignore[reportArgumentType]
        comment=row["comment"],
        row_security=row["row_security"],
        force_row_security=row["force_row_security"],
        options=dict(option.split("=", 1) for option in row["options"] or ()),
        partition_key=tuple(row["partition_key"] or ()),
        partition_strategy={"r": "range", "l": "list", "h": "hash"}.get(row["strategy"], ""),
        query=row["query"] or "",
        owner=row["owner"],
        rows=row["rows"],
        size_bytes=row["size"],
        at=Place(f"{row['schema']}.{row['name']}"),
    )
    catalog.tables[table.key] = table
    return table


def _column(table: Table, row: Row) -> None:
    name = row["name"]
    text = Expression(row["default"]) if row["default"] else None
    table.columns[name] = Column(
        name,
        row["type"],
        row["not_null"],
        None if row["generated"] else text,
        identity=row["identity"],
        generated=text if row["generated"] else None,
        comment=row["comment"],
        at=Place(f"{table.schema}.{table.name}.{name}"),
    )


def _constraint(table: Table, row: Row) -> None:
    table.constraints[row["name"]] = Constraint(
        row["name"],
        row["kind"],
        tuple(row["columns"] or ()),
        Expression(row["check"]) if row["check"] else None,
        (row["referenced_schema"], row["referenced_table"]) if row["referenced_table"] else None,
        tuple(row["referenced_columns"] or ()),
        _ACTIONS.get(row["on_delete"]),
        tuple(row["on_delete_columns"] or ()),
        row["validated"],
        comment=row["comment"],
        at=table.at,
    )


def _index(table: Table, row: Row) -> None:
    names = tuple(row["columns"])
    table.indexes[row["name"]] = Index(
        row["name"],
        names[: row["keys"]],
        row["unique"],
        Expression(row["predicate"]) if row["predicate"] else None,
        row["method"],
        row["valid"],
        tuple(name for name in names[row["keys"] :] if name),
        row["constraint"],
        tuple(filter(None, row["expressions"] or ())),
        row["scans"],
        row["size"],
        tuple(row["options"]),
        Place(f"{table.schema}.{row['name']}"),
    )


def _policy(table: Table, row: Row) -> None:
    table.policies[row["name"]] = Policy(
        row["name"],
        row["permissive"],
        _COMMANDS[row["command"]],
        tuple(row["roles"]),
        Expression(row["using"]) if row["using"] else None,
        Expression(row["with_check"]) if row["with_check"] else None,
        table.at,
    )


def _trigger(table: Table, row: Row) -> None:
    events = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}
    happens = frozenset(name for bit, name in events.items() if row["type"] & bit)
    when = "before" if row["type"] & 2 else "instead of" if row["type"] & 64 else "after"
    table.triggers[row["name"]] = Trigger(row["name"], row["function"], happens, when, table.at)


def _grant(table: Table, row: Row) -> None:
    table.grants.setdefault(row["role"], set()).add(row["privilege"].lower())


def _function(catalog: Catalog, row: Row) -> None:
    settings = dict(setting.split("=", 1) for setting in row["settings"] or ())
    catalog.functions[row["schema"], row["name"], row["arguments"]] = Function(
        row["schema"],
        row["name"],
        row["arguments"],
        row["language"],
        row["security_definer"],
        settings.get("search_path"),
        _VOLATILITY[row["volatility"]],
        row["body"] or "",
        row["comment"],
        row["public_execute"],
        row["owner"],
        Place(f"{row['schema']}.{row['name']}({row['arguments']})"),
    )
