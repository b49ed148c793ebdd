"""Tenancy: what isolation costs a read, and what a thousand schemas of their own cost the server."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from psycopg import AsyncConnection, sql

from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Spread, Target
from benchmarks.sessions import PAGE, POINT, policy, round_trips
from cloudlab.embedded.postgres import find_binaries
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant

NAME = "tenancy"
METHOD = (
    "round trips and row-level security: the session as `sessions` measures it, for its throughput see there; schemas: "
    "one backend reads one row of `orders` in each tenant's schema in turn; memory is what pg_backend_memory_contexts "
    "adds up to; planning from EXPLAIN (SUMMARY), the first time a backend meets a schema, floor: the second time; "
    "pg_dump of everything, floor: of the shared schema alone"
)
_AT_ONCE = 4
_DUMPED_TOGETHER = 100
_MEMORY = "SELECT sum(total_bytes)::float8 / 1048576 FROM pg_backend_memory_contexts"


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure reads under policy, then a growing number of schemas."""
    for row in await round_trips(lab, NAME):
        yield row
    yield await policy(lab, pace, NAME, "point read", POINT, Target("≥", 1 / 1.1))
    yield await policy(lab, pace, NAME, "page of 20 rows", PAGE, Target("≥", 1 / 1.1))
    made: list[Tenant] = []
    for many in (20,) if pace.quick else (1000, 5000) if pace.full else (200, 1000):
        began = time.perf_counter()
        before = len(made)
        async with Platform.open(lab.config) as platform:
            made += await _make(platform, lab, range(before, many))
        took = (time.perf_counter() - began) / (many - before)
        yield Row(NAME, f"schema made and migrated, up to {many:,}", "ms", Spread.of([1000 * took]), None, None, None)
        async for row in _schemas(lab, made):
            yield row


async def _make(platform: Platform, lab: Lab, numbers: Sequence[int]) -> list[Tenant]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> Tenant:
        async with turns:
            return await platform.create_tenant(f"schema-{number}", region=lab.tenant.region, placement="schema")

    return await asyncio.gather(*map(one, numbers))


async def _schemas(lab: Lab, made: list[Tenant]) -> AsyncGenerator[Row]:
    tenants = [tenant for tenant in made if tenant.shard == made[0].shard]
    many = len(tenants)
    async with await AsyncConnection.connect(lab.superuser_url, autocommit=True) as connection:
        empty = await _memory(connection)
        first = [await _planning_ms(connection, tenant.schema_name) for tenant in tenants]
        full = await _memory(connection)
        again = [await _planning_ms(connection, tenant.schema_name) for tenant in tenants]
    yield Row(
        NAME, f"memory of a backend that met {many:,} schemas", "MB", Spread.of([full]), Spread.of([empty]),
        Spread.of([full / empty]), None, f"{1024 * (full - empty) / many:.0f} kB a schema",
    )  # fmt: skip
    ratio = Spread.of([a / b for a, b in zip(first, again, strict=True)])
    yield Row(NAME, f"planning in one of {many:,} schemas", "ms", Spread.of(first), Spread.of(again), ratio, None)
    yield await _dump(lab, tenants)


async def _memory(connection: AsyncConnection) -> float:
    ((found,),) = await (await connection.execute(_MEMORY)).fetchall()
    return found


async def _planning_ms(connection: AsyncConnection, schema: str) -> float:
    explain = sql.SQL("EXPLAIN (SUMMARY, FORMAT JSON) SELECT order_id FROM {} WHERE tenant_id = {} LIMIT 1").format(
        sql.Identifier(schema, "orders"), sql.Literal("00000000-0000-0000-0000-000000000000")
    )
    ((explained,),) = await (await connection.execute(explain)).fetchall()
    return explained[0]["Planning Time"]


async def _dump(lab: Lab, tenants: Sequence[Tenant]) -> Row:
    """Dump everything; in groups where one transaction cannot hold a lock on so many tables."""
    shared, _ = await _pg_dump(lab, "--schema=shop", "--schema=cloudlab")
    whole, said = await _pg_dump(lab)
    if said:
        whole = shared
        for at in range(0, len(tenants), _DUMPED_TOGETHER):
            names = [f"--schema={tenant.schema_name}" for tenant in tenants[at : at + _DUMPED_TOGETHER]]
            took, failed = await _pg_dump(lab, *names)
            if failed:
                raise RuntimeError(failed)
            whole += took
    detail = f"{_DUMPED_TOGETHER} at a time: max_locks_per_transaction is too low for all at once" if said else ""
    return Row(
        NAME, f"pg_dump with {len(tenants):,} schemas", "s", Spread.of([whole]), Spread.of([shared]),
        Spread.of([whole / shared]), None, detail,
    )  # fmt: skip


async def _pg_dump(lab: Lab, *arguments: str) -> tuple[float, str]:
    """Return how many seconds a dump to nowhere takes, and why it failed if it did."""
    binaries, began = find_binaries(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        binaries.program("pg_dump"), "--format=plain", "--file=/dev/null", f"--dbname={lab.superuser_url}", *arguments,
        env=binaries.environment(), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    return time.perf_counter() - began, "" if process.returncode == 0 else f"FAILED: {said.decode()[-200:].strip()}"
