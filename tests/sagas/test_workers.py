"""Many workers: killed at any point, hung, stopped; turns between tenants; versions; claims beside a long history.

Standard: §3.3 Saga State Management
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import OutOfStock
from cloudlab.platform import Platform
from cloudlab.sagas import Call, Parallel, Running, Saga, Step
from cloudlab.sagas.driver import At, nowhere
from cloudlab.sagas.runner import LEASE_SECONDS
from cloudlab.session import Session
from cloudlab.tenancy.tenants import shard_config
from cloudlab.worker import Worker
from sagas.making import Outside, begin, failing, journal, make_table, mark, marking, marks, running

LEASE = 0.3


def forked(work: Callable[[], object]) -> int:
    """Do something in a process of its own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001  whatever it was, this process ends here
        os._exit(1)


def waited(pid: int) -> int:
    """Wait for a process; return its exit code, negative the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def started(config: Config, saga: Saga) -> UUID:
    async with Platform.open(config, sagas=[saga]) as platform:
        tenants = {tenant.tenant_name: tenant for tenant in await platform.tenants()}
        acme = tenants.get("acme") or await platform.create_tenant("acme")
        return await begin(platform, acme, saga)


async def finished(config: Config, saga: Saga, saga_id: UUID, at: At = nowhere) -> tuple[str, Sequence[str]]:
    """Run sagas until this one has ended; return how, and its marks."""
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.tenant("acme")
        async with running(platform, acme, lease_seconds=LEASE, at=at):
            state = await platform.sagas.ended(acme, saga_id, within_seconds=15)
        return state.status, await marks(platform, acme, saga_id)


def killer(number: int) -> At:
    """Kill this process at so many points from now."""
    left = [number]

    def at(point: str, saga_id: UUID) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def killed_at(number: int, config: Config, saga: Saga, saga_id: UUID) -> int:
    """Run a saga in a process that is killed at one of its points; return that process's exit code."""
    return waited(forked(lambda: asyncio.run(finished(config, saga, saga_id, killer(number)))))


@pytest.mark.parametrize("ending", ["completed", "compensated"])
def test_killed_at_any_point_it_ends_and_nothing_happens_twice(config: Config, tmp_path: Path, ending: str):
    outside = Outside(tmp_path / "ledger")
    steps = [marking("a"), outside.step("pay"), Parallel("both", [marking("b"), outside.step("c")])]
    last = marking("d") if ending == "completed" else Step("no", do=failing(OutOfStock()))
    saga = Saga("trip", *steps, last)
    asyncio.run(make_table(config))
    for number in range(1, 100):
        outside.path.write_text("")
        saga_id = asyncio.run(started(config, saga))
        code = killed_at(number, config, saga, saga_id)
        status, left = asyncio.run(finished(config, saga, saga_id))
        assert status == ending, number
        if ending == "completed":
            assert sorted(left) == ["a", "b", "d"], number
            assert outside.done() == ["pay", "c"], number
        else:
            assert sorted(left) == ["a", "b", "una", "unb"], number
            assert left[0] == "a", number
            assert left[-1] == "una", number
            assert outside.done() == ["pay", "c", "unc", "unpay"], number
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert number > (10 if ending == "completed" else 20)  # so many points there were


def test_a_hung_worker_cannot_commit_late(config: Config, tmp_path: Path):
    hung = tmp_path / "hung"

    async def hang(s: Session, saga: Running) -> None:
        await mark("slow")(s, saga)
        if not hung.exists():
            hung.touch()
            time.sleep(4 * LEASE)  # nothing else of this process goes on either: no lease is renewed

    saga = Saga("trip", Step("slow", do=hang))
    asyncio.run(make_table(config))
    saga_id = asyncio.run(started(config, saga))
    pid = forked(lambda: asyncio.run(finished(config, saga, saga_id)))
    while not hung.exists():
        time.sleep(0.01)
    before = time.monotonic()
    assert asyncio.run(finished(config, saga, saga_id)) == ("completed", ["slow"])
    assert time.monotonic() - before < 4 * LEASE
    assert waited(pid) == 0
    assert asyncio.run(finished(config, saga, saga_id)) == ("completed", ["slow"])


def test_another_worker_takes_over_within_the_lease_and_a_second(config: Config):
    async def dawdle(s: Session, saga: Running) -> None:
        await asyncio.sleep(0.05)

    saga = Saga("trip", *(Step(f"s{number}", do=dawdle) for number in range(60)))
    saga_id = asyncio.run(started(config, saga))

    async def work() -> None:
        async with Platform.open(config, sagas=[saga]) as platform:
            await Worker(platform).run()

    async def steps(platform: Platform) -> int:
        return len(await journal(platform, await platform.tenant("acme"), saga_id))

    async def watch() -> float:
        async with Platform.open(config, sagas=[saga]) as platform:
            while await steps(platform) < 3:
                await asyncio.sleep(0.02)
            worker = asyncio.create_task(Worker(platform).run())
            await asyncio.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
            killed, reached = time.monotonic(), await steps(platform)
            while await steps(platform) <= reached + 1:
                assert not worker.done()
                await asyncio.sleep(0.02)
            seconds = time.monotonic() - killed
            worker.cancel()
            await asyncio.wait([worker])
            return seconds

    pid = forked(lambda: asyncio.run(work()))
    seconds = asyncio.run(watch())
    assert waited(pid) == -signal.SIGKILL
    assert LEASE_SECONDS / 2 < seconds < LEASE_SECONDS + 1


async def test_a_worker_that_is_stopped_gives_back_at_once(config: Config):
    reached, go = asyncio.Event(), asyncio.Event()

    async def wait(call: Call, saga: Running) -> None:
        reached.set()
        await go.wait()

    saga = Saga("trip", Step("wait", do=wait, external=True))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        saga_id = await begin(platform, acme, saga)
        async with running(platform, acme, lease_seconds=60):
            await reached.wait()
        go.set()
        async with running(platform, acme, lease_seconds=60):
            assert (await platform.sagas.ended(acme, saga_id, within_seconds=3)).status == "completed"
        assert await journal(platform, acme, saga_id) == [
            ("wait", "do", 1, "unknown"), ("wait", "do", 2, "completed"),
        ]  # fmt: skip


async def test_a_step_longer_than_the_lease_keeps_its_saga(config: Config):
    attempts: list[int] = []

    async def dawdle(call: Call, saga: Running) -> None:
        attempts.append(saga.attempt)
        await asyncio.sleep(4 * LEASE)

    saga = Saga("trip", Step("slow", do=dawdle, external=True))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        saga_id = await begin(platform, acme, saga)
        async with running(platform, acme, lease_seconds=LEASE), running(platform, acme, lease_seconds=LEASE):
            assert (await platform.sagas.ended(acme, saga_id, within_seconds=5)).status == "completed"
    assert attempts == [1]


async def test_a_tenant_with_very_many_sagas_does_not_starve_another(config: Config):
    done: list[UUID] = []

    async def dawdle(call: Call, saga: Running) -> None:
        await asyncio.sleep(0.1)
        done.append(saga.tenant_id)

    saga = Saga("trip", Step("slow", do=dawdle, external=True))
    async with Platform.open(config, sagas=[saga]) as platform:
        big = await platform.create_tenant("big", region="eu-west-1")
        small = await platform.create_tenant("small", region="eu-west-1")
        await asyncio.gather(*(platform.sagas.start(big, saga, {}) for _ in range(1000)))
        async with running(platform, big, slots=8):
            await asyncio.sleep(0.5)
            begun = time.monotonic()
            saga_id = await begin(platform, small, saga)
            assert (await platform.sagas.ended(small, saga_id)).status == "completed"
            assert time.monotonic() - begun < 1
    assert done.count(small.tenant_id) == 1
    assert 0 < done.count(big.tenant_id) < 200


async def test_a_version_that_is_not_known_here_is_left_to_others(config: Config):
    old, new = Saga("trip", marking("a"), version=1), Saga("trip", marking("b"), version=2)
    await make_table(config)
    async with Platform.open(config, sagas=[old, new]) as both, Platform.open(config, sagas=[new]) as only_new:
        acme = await both.create_tenant("acme")
        first, second = await begin(both, acme, old), await begin(both, acme, new)
        async with running(only_new, acme):
            assert (await both.sagas.ended(acme, second)).status == "completed"
            await asyncio.sleep(0.5)
            (left,) = await both.sagas.listed(acme.shard, statuses=["running"])
            assert (left.saga_id, left.status, left.definition_version) == (first, "running", 1)
        async with running(both, acme):
            assert (await both.sagas.ended(acme, first)).status == "completed"
        assert [await marks(both, acme, each) for each in (first, second)] == [["a"], ["b"]]


async def test_the_sagas_of_a_suspended_tenant_wait(config: Config):
    saga = Saga("trip", marking("a"))
    await make_table(config)
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        saga_id = await begin(platform, acme, saga)
        owner_url = shard_config(config, acme.shard).urls.owner_url

        def put(state: str) -> None:
            with psycopg.connect(owner_url, autocommit=True) as connection:
                connection.execute("UPDATE cloudlab.tenant_local SET state = %s", [state])

        put("suspended")
        async with running(platform, acme):
            await asyncio.sleep(0.6)
            (left,) = await platform.sagas.listed(acme.shard)
            assert (left.status, left.current_step) == ("running", 0)
            put("open")
            assert (await platform.sagas.ended(acme, saga_id)).status == "completed"


async def test_a_claim_does_not_look_at_history(config: Config):
    saga = Saga("trip", marking("a"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        urls = shard_config(config, acme.shard).urls
        async with await psycopg.AsyncConnection.connect(urls.worker_url, autocommit=True) as worker:
            await worker.set_autocommit(True)

            async def pages() -> int:
                await platform.sagas.start(acme, saga, {})
                plan = await worker.execute(
                    """
                    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT saga_id FROM cloudlab.claim_sagas(
                        gen_random_uuid(), '1 hour', ARRAY['trip']::varchar[], ARRAY[1], 10, '{}', '{}')
                    """
                )
                row = await plan.fetchone()
                assert row
                assert row[0][0]["Plan"]["Actual Rows"] == 1
                return row[0][0]["Plan"]["Shared Hit Blocks"] + row[0][0]["Plan"]["Shared Read Blocks"]

            bare = [await pages() for _ in range(8)][-1]
            async with platform.session(acme) as s:
                await s.execute(
                    """
                    INSERT /* test */ INTO saga_instances (tenant_id, saga_type, saga_key, saga_data, status, next_at)
                    SELECT %(tenant_id)s::uuid, 'trip', n::text, '{}', 'completed', NULL
                    FROM generate_series(1, 20000) AS n
                    """,
                    tenant_id=acme.tenant_id,
                )
            assert await pages() < bare + 30
