"""Local steps that follow one another share a transaction; nobody can tell, but by the time it takes.

Standard: §3.3 Saga State Management
"""

import asyncio
from uuid import UUID

import pytest

from cloudlab.config import Config
from cloudlab.errors import OutOfStock, Unavailable
from cloudlab.platform import Platform
from cloudlab.sagas import Running, Saga, Step, stretches
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
from sagas.making import QUICK, failing, journal, make_table, mark, marking, marks, note, running

LEASE = 0.3


async def transactions(platform: Platform, tenant: Tenant, saga_id: UUID) -> list[int]:
    """Return how many transactions wrote the marks of a saga, and how many its journal."""
    async with platform.session(tenant) as s:
        ((wrote, journaled),) = await s.fetch_tuples(
            """
            SELECT /* test */
                (SELECT count(DISTINCT m.xmin::text) FROM saga_marks AS m WHERE m.saga_id = %(saga_id)s::uuid),
                (SELECT count(DISTINCT j.xmin::text) FROM saga_steps AS j WHERE j.saga_id = %(saga_id)s::uuid)
            """,
            saga_id=saga_id,
        )
    return [wrote, journaled]


async def test_short_steps_share_one_transaction_and_each_has_its_row(config: Config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stretches, "SHORT_SECONDS", 60)  # however slow this machine is

    async def sees(s: Session, saga: Running) -> dict[str, object]:
        rows = await s.fetch_tuples(
            "SELECT /* test */ count(*) FROM saga_marks WHERE saga_id = %(id)s::uuid", id=saga.saga_id
        )
        return {"earlier": rows[0][0], "results": sorted(saga.results)}

    saga = Saga("trip", marking("a"), marking("b"), Step("look", do=sees), marking("d"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        await make_table(config)
        async with running(platform, acme):
            saga_id = await platform.sagas.start(acme, saga, {})
            state = await platform.sagas.ended(acme, saga_id)
        assert state.status == "completed"
        assert await marks(platform, acme, saga_id) == ["a", "b", "d"]
        assert await transactions(platform, acme, saga_id) == [1, 1]
        assert [(name, status) for name, _, _, status in await journal(platform, acme, saga_id)] == [
            (name, "completed") for name in ("a", "b", "look", "d")
        ]
        async with platform.session(acme) as s:
            ((result,),) = await s.fetch_tuples("SELECT /* test */ result FROM saga_steps WHERE step_type = 'look'")
        assert result == {"earlier": 2, "results": ["a", "b"]}


async def test_long_steps_do_not_keep_a_transaction_open_for_one_another(config: Config):
    def slow(name: str) -> Step:
        async def do(s: Session, saga: Running) -> None:
            note(s, saga.saga_id, name)
            await asyncio.sleep(0.02)

        return Step(name, do=do)

    saga = Saga("trip", *map(slow, "abcd"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        await make_table(config)
        async with running(platform, acme):
            saga_id = await platform.sagas.start(acme, saga, {})
            assert (await platform.sagas.ended(acme, saga_id)).status == "completed"
        assert await transactions(platform, acme, saga_id) == [4, 4]


@pytest.mark.parametrize(
    ("error", "status", "left", "tries"),
    [
        (OutOfStock(), "compensated", ["a", "b", "unb", "una"], [(1, "failed")]),
        (Unavailable(), "completed", ["a", "b", "d"], [(1, "failed"), (2, "failed"), (3, "completed")]),
    ],
)
async def test_a_failure_is_journaled_once_and_keeps_what_went_before(
    config: Config, error: Exception, status: str, left: list[str], tries: list[tuple[int, str]]
):
    saga = Saga("trip", marking("a"), marking("b"), Step("c", do=failing(error, times=2), backoff=QUICK), marking("d"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        await make_table(config)
        async with running(platform, acme):
            saga_id = await platform.sagas.start(acme, saga, {})
            assert (await platform.sagas.ended(acme, saga_id)).status == status
        assert await marks(platform, acme, saga_id) == left
        rows = await journal(platform, acme, saga_id)
        assert [(attempt, what) for name, _, attempt, what in rows if name == "c"] == tries


async def test_one_saga_that_fails_spoils_nothing_of_those_that_share_its_transaction(config: Config):
    async def odd_fails(s: Session, saga: Running) -> None:
        note(s, saga.saga_id, "c")
        if saga.data["n"] % 2:
            raise OutOfStock

    saga = Saga("trip", marking("a"), marking("b"), Step("c", do=odd_fails, undo=mark("unc")), marking("d"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        await make_table(config)
        async with running(platform, acme):
            ids = await asyncio.gather(*(platform.sagas.start(acme, saga, {"n": n}) for n in range(40)))
            states = await asyncio.gather(*(platform.sagas.ended(acme, saga_id) for saga_id in ids))
        for n, state in enumerate(states):
            wanted = ["a", "b", "unb", "una"] if n % 2 else ["a", "b", "c", "d"]
            assert (state.status, await marks(platform, acme, state.saga_id)) == (
                "compensated" if n % 2 else "completed",
                wanted,
            )


async def test_who_starts_a_saga_goes_on_with_it_unless_it_dies_first(config: Config):
    """A worker that has stopped between the start and its first step leaves the saga to its lease."""
    saga = Saga("trip", marking("a"), marking("b"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        await make_table(config)
        runner = platform.sagas.runner(acme.shard, lease_seconds=LEASE)
        task = asyncio.create_task(runner.run())
        while runner.owner_of(acme.tenant_id, saga) is None:
            await asyncio.sleep(0.01)
        first = await platform.sagas.start(acme, saga, {}, key="k")
        assert (await platform.sagas.ended(acme, first)).status == "completed"
        assert await platform.sagas.start(acme, saga, {}, key="k") == first

        starting = asyncio.create_task(platform.sagas.start(acme, saga, {}))
        await asyncio.sleep(0)  # it has been told who goes on with it
        task.cancel()
        await asyncio.wait([task])
        orphan = await starting
        async with running(platform, acme, lease_seconds=LEASE):
            state = await platform.sagas.ended(acme, orphan, within_seconds=5)
        assert state.status == "completed"
        assert await marks(platform, acme, orphan) == ["a", "b"]


async def test_one_tenant_cannot_take_all_places_by_starting(config: Config):
    gate = asyncio.Event()

    async def wait(s: Session, saga: Running) -> None:
        if saga.data["waits"]:
            await gate.wait()

    saga = Saga("trip", Step("wait", do=wait))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme", region="eu-west-1")
        runner = platform.sagas.runner(acme.shard, slots=8)
        task = asyncio.create_task(runner.run())
        while runner.owner_of(acme.tenant_id, saga) is None:
            await asyncio.sleep(0.01)
        ids = [await platform.sagas.start(acme, saga, {"waits": True}) for _ in range(20)]
        assert runner.owner_of(acme.tenant_id, saga) is None
        other = await platform.create_tenant("other", region="eu-west-1")
        quick = await platform.sagas.start(other, saga, {"waits": False})
        assert (await platform.sagas.ended(other, quick, within_seconds=5)).status == "completed"
        gate.set()
        for saga_id in ids:
            assert (await platform.sagas.ended(acme, saga_id)).status == "completed"
        task.cancel()
        await asyncio.wait([task])
