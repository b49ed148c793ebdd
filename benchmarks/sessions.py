"""Sessions: what binding a transaction to a tenant costs."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from benchmarks.client import Callers
from benchmarks.lab import PRODUCTS, Lab, numbered
from benchmarks.measure import Pace, Row, Spread, Target, compare, interleave
from benchmarks.pgbench import Load
from benchmarks.proxy import counting
from benchmarks.statements import SEARCH_PATH
from cloudlab.config import Limits
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools

NAME = "sessions"
METHOD = (
    "transactions/s of one point read by primary key through platform.session; floors: BEGIN, the read, COMMIT by the "
    "same client without a tenant (superuser, explicit predicate), and psycopg's own transaction with set_config"
)
POINT: LiteralString = """
    SELECT sku, name, price FROM shop.products
    WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid
"""
PAGE: LiteralString = """
    SELECT sku, name, price FROM shop.products
    WHERE tenant_id = %(tenant_id)s::uuid AND sku > 'SKU-' || %(number)s ORDER BY sku LIMIT 20
"""

Call = Callable[[], Awaitable[None]]


def _price(sku: str, name: str, price: object) -> tuple[object, ...]:
    return sku, name, price


def _drawn(lab: Lab) -> dict[str, object]:
    return {"tenant_id": lab.tenant.tenant_id, "product_id": numbered(random.randrange(PRODUCTS))}


def in_session(platform: Platform, lab: Lab) -> Call:
    """Return a call that reads one product through a session."""

    async def read() -> None:
        async with platform.session(lab.tenant) as s:
            await s.fetch_one(_price, POINT, **_drawn(lab))

    return read


def bare(pools: Pools, url: str, lab: Lab) -> Call:
    """Return a call that reads it with the same client, in a transaction that knows no tenant."""

    async def read() -> None:
        async with pools.transaction(url) as transaction:
            (_,) = (await transaction.execute(POINT, **_drawn(lab))).rows(_price)

    return read


def plain(pool: AsyncConnectionPool[AsyncConnection[TupleRow]], lab: Lab) -> Call:
    """Return a call that reads it as psycopg's documentation would: a transaction block, set_config, the read."""
    tenant = str(lab.tenant.tenant_id)

    async def read() -> None:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.current_tenant_id', %s, true)", [tenant])
            cursor = await connection.execute(POINT, _drawn(lab))
            (_,) = await cursor.fetchall()

    return read


@asynccontextmanager
async def _clients(lab: Lab, callers: int, host: Path | None = None) -> AsyncGenerator[dict[str, Call]]:
    """Open the three clients; `host` is the folder of another socket to connect through."""
    through = {"host": str(host)} if host else {}
    superuser, app = make_conninfo(lab.superuser_url, **through), make_conninfo(lab.urls.app_url, **through)
    async with (
        lab.platform(callers, host=host) as platform,
        Pools(Limits(pool_max_size=callers)) as pools,
        AsyncConnectionPool[AsyncConnection[TupleRow]](
            app, min_size=callers, kwargs={"autocommit": True}, open=False
        ) as pool,
    ):
        yield {
            "session": in_session(platform, lab),
            "bare": bare(pools, superuser, lab),
            "plain": plain(pool, lab),
        }


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure the session; its round trips and row-level security alone are measured by `tenancy`."""
    for callers in pace.callers(1, 16):
        async with _clients(lab, callers) as calls:
            samples = await interleave(pace, **{name: Callers(lab, callers, call) for name, call in calls.items()})
        for floor, name in (("bare", "a bare transaction of the same client"), ("plain", "psycopg with set_config")):
            yield compare(NAME, f"session against {name}, callers: {callers}", samples, figure="session", floor=floor)


async def round_trips(lab: Lab, benchmark: str) -> list[Row]:
    """Count how often a session and its floors speak to the server."""
    counts: dict[str, Spread] = {}
    async with counting(lab.urls.app_url, lab.folder) as counter, _clients(lab, 1, lab.folder) as calls:
        for name, call in calls.items():
            for _ in range(10):  # the fifth time psycopg prepares
                await call()
            counter.round_trips = 0
            for _ in range(50):
                await call()
            counts[name] = Spread.of([counter.round_trips / 50])
    detail = "counted by a relay on the socket: each time the client speaks after the server did"
    return [
        Row(
            benchmark,
            f"round trips of a session against {name}",
            "",
            counts["session"],
            counts[floor],
            Spread.of([counts["session"].middle / counts[floor].middle]),
            Target("≤", 1),
            detail,
        )
        for floor, name in (("bare", "a bare transaction"), ("plain", "psycopg with set_config"))
    ]


async def policy(lab: Lab, pace: Pace, benchmark: str, name: str, query: LiteralString, target: Target) -> Row:
    """Send the same statement as a login that the policies bind and as one that they do not."""
    tenant = str(lab.tenant.tenant_id)
    names = {"tenant_id": f"'{tenant}'", "product_id": "#product", "number": ":product"}
    script = f"\\draw product {PRODUCTS}\n{_filled(query, names)};"
    inside = SEARCH_PATH | {"app.current_tenant_id": tenant}
    samples = await interleave(
        pace,
        policy=Load(lab, script, settings=inside),
        none=Load(lab, script, settings=inside, url=lab.superuser_url),
    )
    row = compare(
        benchmark,
        f"{name} with policy against none, by pgbench",
        samples,
        figure="policy",
        floor="none",
        target=target,
    )
    buffers = [_buffers(url, tenant, query) for url in (lab.urls.app_url, lab.superuser_url)]
    return replace(row, detail=f"{row.detail}; buffers {buffers[0]} with policy, {buffers[1]} without")


def _filled(query: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        query = query.replace(f"%({name})s", value)
    return query.strip()


def _buffers(url: str, tenant: str, query: LiteralString) -> int:
    """Return how many buffers the statement touches once its catalogue is warm."""
    values = {"tenant_id": tenant, "product_id": numbered(7), "number": str(numbered(7))[-12:]}
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query
    with psycopg.connect(url) as connection:
        connection.execute("SELECT set_config('app.current_tenant_id', %s, true)", [tenant])
        connection.execute(explain, values)
        (explained,) = connection.execute(explain, values).fetchall()[0]
    plan = explained[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
