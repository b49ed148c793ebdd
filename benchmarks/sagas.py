"""Sagas of four local steps, against the five commits of whoever runs them one by one; claims; a killed worker."""

import asyncio
import multiprocessing
import multiprocessing.process
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from benchmarks.client import Callers
from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Spread, Target, compare, interleave
from benchmarks.pgbench import Load
from cloudlab import sagas
from cloudlab.config import Config, Limits
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.sagas import Running, Saga, Step
from cloudlab.sagas.runner import LEASE_SECONDS, SLOTS
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import uuid7

NAME = "sagas"
METHOD = (
    "sagas/s from the start of each to its end, four local steps of one INSERT each, by one process that starts, runs "
    "and awaits so many at a time; floor: five single-row commits by pgbench -M prepared, as many clients (16 at most)"
)
_MOST_CLIENTS = 16
_ROW = "INSERT INTO bench.marks (tenant_id, saga_id, mark) VALUES (:tenant::uuid, gen_random_uuid(), 'a');\n"
_FINISHED = """
    INSERT INTO cloudlab.saga_instances (tenant_id, saga_type, saga_key, saga_data, status, next_at, epoch)
    SELECT %(tenant_id)s::uuid, 'trip', n::text, '{}', 'completed', NULL, 1
    FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
"""


async def _mark(s: Session, saga: Running) -> None:
    s.queue(
        """
        INSERT /* bench.mark */ INTO bench.marks (tenant_id, saga_id, mark)
        VALUES (%(tenant_id)s::uuid, %(saga_id)s::uuid, 'a')
        """,
        tenant_id=s.tenant_id,
        saga_id=saga.saga_id,
    )


async def _dawdle(s: Session, saga: Running) -> None:
    await asyncio.sleep(0.05)


TRIP = Saga("trip", *(Step(name, do=_mark) for name in "abcd"))
LONG = Saga("long", *(Step(f"step-{number}", do=_dawdle) for number in range(100)))


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure sagas one at a time and many at once, claims with a long history, and a takeover."""
    lab.run(
        "CREATE SCHEMA bench",
        """
        CREATE TABLE bench.marks (
            tenant_id uuid NOT NULL, mark_id uuid DEFAULT uuidv7() PRIMARY KEY, saga_id uuid NOT NULL,
            mark text NOT NULL)
        """,
        "GRANT ALL ON ALL TABLES IN SCHEMA bench TO cloudlab_app",
        "GRANT USAGE ON SCHEMA bench TO cloudlab_app",
    )
    try:
        for callers in pace.callers(1, 16, 64):
            yield await _trips(lab, pace, callers)
        async for row in _claims(lab, pace):
            yield row
        yield await _takeover(lab)
    finally:
        lab.run("DROP SCHEMA bench CASCADE")


@asynccontextmanager
async def _platform(lab: Lab) -> AsyncGenerator[Platform]:
    config = replace(lab.config, limits=Limits(pool_max_size=_MOST_CLIENTS))
    async with Platform.open(config, sagas=[TRIP, LONG]) as platform:
        yield platform


async def _trips(lab: Lab, pace: Pace, callers: int) -> Row:
    ends, ended = dict[UUID, asyncio.Event](), set[UUID]()

    def at(point: str, saga_id: UUID) -> None:
        if point == "journaled:do:d":
            ended.add(saga_id)
            if saga_id in ends:
                ends[saga_id].set()

    async with _platform(lab) as platform:

        async def trip() -> None:
            end = asyncio.Event()
            saga_id = await platform.sagas.start(lab.tenant, TRIP, {"n": 1})
            if saga_id not in ended:
                ends[saga_id] = end
                await end.wait()
                del ends[saga_id]
            ended.discard(saga_id)

        runner = asyncio.create_task(platform.sagas.runner(lab.tenant.shard, at=at, slots=2 * SLOTS).run())
        try:
            clients = min(callers, _MOST_CLIENTS)
            variables = {"tenant": str(lab.tenant.tenant_id)}
            samples = await interleave(
                pace,
                saga=Callers(lab, callers, trip),
                floor=Load(lab, 5 * _ROW, clients=clients, variables=variables),
            )
        finally:
            runner.cancel()
            await asyncio.wait([runner])
    target = Target("≥", 0.5) if callers >= 16 else None
    return compare(NAME, f"4 local steps, in flight: {callers}", samples, figure="saga", floor="floor", target=target)


async def _claims(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Claim batches of new sagas beside ever more finished ones."""
    async with _platform(lab) as platform:
        lab.run("VACUUM ANALYZE cloudlab.saga_instances")
        bare = await _claim_ms(lab, platform)
        finished = 0
        for wanted in (10_000,) if pace.quick else (100_000, 1_000_000):
            lab.run(_FINISHED, tenant_id=lab.tenant.tenant_id, first=finished, last=wanted - 1)
            lab.run("VACUUM ANALYZE cloudlab.saga_instances")
            finished = wanted
            among = await _claim_ms(lab, platform)
            ratio = Spread.of([among.middle / bare.middle])
            what = f"claim of 32 sagas beside {wanted:,} finished ones"
            yield Row(NAME, what, "ms", among, bare, ratio, Target("≤", 1.3), "floor: the same with none")


async def _claim_ms(lab: Lab, platform: Platform, times: int = 40) -> Spread:
    """Return how long a claim of 32 takes, on a connection whose plans were made long ago."""
    spent: list[float] = []
    async with Pools(lab.config.limits) as pools:
        for number in range(times + 10):
            async with platform.session(lab.tenant) as s:
                for _ in range(32):
                    await sagas.start(s, TRIP, {})
            before = time.perf_counter()
            async with pools.transaction(lab.urls.worker_url) as transaction:
                result = await transaction.execute(
                    """
                    SELECT /* bench.claim */ c.saga_id FROM cloudlab.claim_sagas(
                        %(worker)s::uuid, '1 hour', ARRAY['trip']::varchar[], ARRAY[1], 64, '{}', '{}') AS c
                    """,
                    worker=uuid7(),
                )
            assert len(result.tuples()) == 32
            if number >= 10:
                spent.append(1000 * (time.perf_counter() - before))
            lab.run("UPDATE cloudlab.saga_instances SET status = 'completed', next_at = NULL WHERE next_at IS NOT NULL")
    return Spread.of(spent)


def work(config: Config, shard: str) -> None:
    """Run sagas until killed: what a worker process does."""

    async def forever() -> None:
        async with Platform.open(config, sagas=[LONG]) as platform:
            await platform.sagas.runner(shard).run()

    asyncio.run(forever())


async def _takeover(lab: Lab) -> Row:
    """Kill a worker in the middle of a saga and see when the other one goes on."""
    async with _platform(lab) as platform:
        tenant: Tenant = lab.tenant
        workers = [_spawned(lab.config, tenant.shard)]
        try:
            async with platform.session(tenant) as s:
                saga_id = await sagas.start(s, LONG, {})
            while await _steps(platform, tenant, saga_id) < 5:
                await asyncio.sleep(0.02)
            workers.append(_spawned(lab.config, tenant.shard))
            await asyncio.sleep(1.5)
            workers[0].kill()
            killed, reached = time.monotonic(), await _steps(platform, tenant, saga_id)
            while await _steps(platform, tenant, saga_id) <= reached + 1:
                await asyncio.sleep(0.02)
            seconds = Spread.of([time.monotonic() - killed])
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
    detail = f"until the next step after the takeover is committed; the lease is {LEASE_SECONDS:g} s"
    return Row(
        NAME, "takeover after kill -9", "s", seconds, target=Target("≤", LEASE_SECONDS + 1, "figure"), detail=detail
    )


def _spawned(config: Config, shard: str) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=work, args=(config, shard), daemon=True)
    process.start()
    return process


async def _steps(platform: Platform, tenant: Tenant, saga_id: UUID) -> int:
    async with platform.session(tenant) as s:
        ((steps,),) = await s.fetch_tuples(
            "SELECT /* bench.steps */ count(*) FROM saga_steps WHERE saga_id = %(saga_id)s::uuid", saga_id=saga_id
        )
    return steps
