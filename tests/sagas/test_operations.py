"""What operators see and do: each action is on record, and whoever ran the saga can write no more.

Standard: §3.3 Saga State Management
"""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from cloudlab.config import Config
from cloudlab.errors import IllegalTransition, InvalidInput, NotFound, OutOfStock
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.sagas import Call, Running, Saga, Step, operations
from cloudlab.sagas.archive import archive_finished
from cloudlab.sagas.operations import Action
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money, uuid7
from fixtures.commands import cloudlab, write_config
from sagas.making import QUICK, begin, failing, make_table, mark, marking, marks, running


async def broken(s: Session, saga: Running) -> None:
    if saga.attempt < 3:
        raise OutOfStock


STUCK = Saga("stuck", marking("a", pivot=True), Step("b", do=broken, attempts=2, backoff=QUICK), marking("c"))


async def steer(platform: Platform, tenant: Tenant, saga_id: object, action: Action, **more: str) -> str:
    async with platform.session(tenant) as s:
        return await operations.steer(s, saga_id, action, actor="ada", reason="because", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "status", "left"),
    [
        ("retry", "completed", ["a", "c"]),
        ("skip", "completed", ["a", "c"]),
        ("undo", "compensated", ["a", "una"]),
    ],
)
async def test_a_saga_that_needs_a_human_gets_one(config: Config, action: Action, status: str, left: list[str]):
    await make_table(config)
    async with Platform.open(config, sagas=[STUCK]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            saga_id = await begin(platform, acme, STUCK)
            assert (await platform.sagas.ended(acme, saga_id)).status == "failed"
            with pytest.raises(IllegalTransition, match="passed its pivot"):
                await steer(platform, acme, saga_id, "cancel")
            await steer(platform, acme, saga_id, action, **({"step": "b"} if action == "skip" else {}))
            assert (await platform.sagas.ended(acme, saga_id)).status == status
        assert await marks(platform, acme, saga_id) == left
        async with platform.session(acme) as s:
            timeline = await operations.timeline(s, saga_id)
        assert [(each.action, each.actor, each.reason) for each in timeline.actions] == [(action, "ada", "because")]
        with pytest.raises(IllegalTransition, match="already"):
            await steer(platform, acme, saga_id, "retry")


async def test_a_compensation_that_is_stuck_can_be_skipped(config: Config):
    await make_table(config)
    stuck = Step("b", do=mark("b"), undo=failing(OutOfStock()), undo_attempts=2, backoff=QUICK)
    saga = Saga("trip", marking("a"), stuck, Step("no", do=failing(OutOfStock())))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            saga_id = await begin(platform, acme, saga)
            assert (await platform.sagas.ended(acme, saga_id)).status == "failed"
            await steer(platform, acme, saga_id, "skip", step="b")
            assert (await platform.sagas.ended(acme, saga_id)).status == "compensated"
        assert await marks(platform, acme, saga_id) == ["a", "b", "una"]


async def test_cancelling_fences_whoever_runs_the_saga(config: Config):
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(call: Call, saga: Running) -> None:
        begun.set()
        await go.wait()

    await make_table(config)
    saga = Saga("trip", marking("a"), Step("wait", do=wait, external=True), marking("c"))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme, lease_seconds=60):
            saga_id = await begin(platform, acme, saga)
            await begun.wait()
            assert await steer(platform, acme, saga_id, "cancel") == "compensating"
            go.set()
            state = await platform.sagas.ended(acme, saga_id, within_seconds=5)
        assert state.status == "compensated"
        assert state.compensation_data == {"action": "cancel", "actor": "ada", "reason": "because"}
        assert await marks(platform, acme, saga_id) == ["a", "una"]
        with pytest.raises(NotFound):
            await steer(platform, acme, acme.tenant_id, "retry")


def test_the_command_line_shows_and_steers(config: Config, tmp_path: Path):
    write_config(config, tmp_path)

    async def until_failed() -> str:
        await make_table(config)
        async with Platform.open(config, sagas=[STUCK]) as platform:
            acme = await platform.create_tenant("acme")
            async with running(platform, acme):
                saga_id = await begin(platform, acme, STUCK)
                await platform.sagas.ended(acme, saga_id)
            return str(saga_id)

    saga_id = asyncio.run(until_failed())
    listed = cloudlab(tmp_path, "saga", "list", "--json")
    assert listed.returncode == 1, listed.stderr
    (row,) = json.loads(listed.stdout)
    assert (row["saga_id"], row["status"], row["tenant_name"]) == (saga_id, "failed", "acme")
    assert row["last_error"].startswith("OutOfStock")
    shown = json.loads(cloudlab(tmp_path, "saga", "show", saga_id, "--tenant", "acme", "--json").stdout)
    taken = [(step["step_type"], step["attempt"], step["status"]) for step in shown["steps"]]
    assert taken == [("a", 1, "completed"), ("b", 1, "failed"), ("b", 2, "failed")]
    assert all(step["seconds"] >= 0 for step in shown["steps"])
    table = cloudlab(tmp_path, "saga", "show", saga_id, "--tenant", "acme", COLUMNS="200").stdout
    assert "OutOfStock: There is not enough stock." in table
    done = cloudlab(tmp_path, "saga", "retry", saga_id, "--tenant", "acme", "--reason", "restocked", "--actor", "ada")
    assert (done.returncode, "is running" in done.stderr) == (0, True), done.stderr
    (tally,) = json.loads(cloudlab(tmp_path, "saga", "stats", "--json").stdout)
    assert (tally["status"], tally["sagas"], tally["due"]) == ("running", 1, 1)
    shown = cloudlab(tmp_path, "saga", "show", saga_id, "--tenant", "acme").stdout
    assert "retry by ada: restocked" in shown


async def test_old_sagas_that_ended_well_are_archived_and_still_shown(config: Config):
    await make_table(config)
    fine = Saga("fine", marking("a"), marking("b"))
    undone = Saga("undone", marking("a"), Step("no", do=failing(OutOfStock())))
    async with Platform.open(config, sagas=[fine, undone, STUCK]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            ids = [await begin(platform, acme, saga) for saga in (fine, undone, STUCK) for _ in range(3)]
            ended = [(await platform.sagas.ended(acme, saga_id)).status for saga_id in ids]
        waiting = await begin(platform, acme, fine)

        async def timelines() -> list[operations.Timeline]:
            async with platform.session(acme, readonly=True) as s:
                return [await operations.timeline(s, saga_id) for saga_id in ids]

        before = await timelines()
        assert await platform.sagas.archive(acme.shard, older_than=timedelta(hours=1)) == 0
        counts = await asyncio.gather(*(platform.sagas.archive(acme.shard, older_than=timedelta(0)) for _ in range(4)))
        assert sum(counts) == 6  # several workers at once move each of them once
        assert await timelines() == before
        assert [(await platform.sagas.ended(acme, saga_id)).status for saga_id in ids] == ended
        left = await platform.sagas.listed(acme.shard)
        assert {each.saga_id for each in left} == {*ids[6:], waiting}
        async with platform.session(acme) as s:
            counted = await s.fetch_tuples(
                """
                SELECT /* test */ (SELECT count(*) FROM saga_steps_archive), (SELECT count(*) FROM saga_steps AS j
                    WHERE NOT EXISTS (SELECT FROM saga_instances AS i WHERE i.saga_id = j.saga_id))
                """
            )
        assert counted == [(3 * 2 + 3 * 3, 0)]


async def test_batches_of_the_archive_are_bounded(config: Config):
    await make_table(config)
    saga = Saga("fine", marking("a"))
    async with Platform.open(config, sagas=[saga]) as platform, Pools(config.limits) as pools:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            ids = [await begin(platform, acme, saga) for _ in range(7)]
            for saga_id in ids:
                await platform.sagas.ended(acme, saga_id)
        url = shard_config(config, acme.shard).urls.worker_url
        assert await archive_finished(pools, url, before=datetime.now(UTC), batch=2) == 7
        assert await archive_finished(pools, url, before=datetime.now(UTC), batch=2) == 0


async def test_a_running_saga_is_moved_to_a_newer_definition(config: Config):
    await make_table(config)
    broken_step = Step("b", do=failing(OutOfStock()), attempts=1, backoff=QUICK)
    old = Saga("trip", marking("a", pivot=True), broken_step, marking("c"), version=1)
    new = Saga("trip", marking("a", pivot=True), marking("b"), marking("extra"), marking("c"), version=2)
    async with Platform.open(config, sagas=[old, new]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            saga_id = await begin(platform, acme, old)
            assert (await platform.sagas.ended(acme, saga_id)).status == "failed"
            async with platform.session(acme) as s:
                moved = await operations.steer(s, saga_id, "migrate", actor="ada", reason="b was wrong", version=2)
            assert moved == "running"
            state = await platform.sagas.ended(acme, saga_id)
        assert (state.status, state.definition_version) == ("completed", 2)
        assert await marks(platform, acme, saga_id) == ["a", "b", "extra", "c"]
        async with platform.session(acme) as s:
            assert [each.action for each in (await operations.timeline(s, saga_id)).actions] == ["migrate"]


@dataclass(frozen=True)
class Trip:
    trip_id: UUID
    price: Money
    stops: list[str]
    note: str | None = None


async def test_data_and_results_may_be_dataclasses(config: Config):
    wanted = Trip(uuid7(), Money("12.30", "EUR"), ["Ulm", "Bonn"])

    async def turn(s: Session, saga: Running) -> Trip:
        return replace(saga.input(Trip), stops=saga.input(Trip).stops[::-1])

    async def look(call: Call, saga: Running) -> None:
        assert saga.input(Trip) == wanted
        assert saga.result("turn", Trip) == replace(wanted, stops=["Bonn", "Ulm"])

    saga = Saga("trip", Step("turn", do=turn), Step("look", do=look, external=True))
    async with Platform.open(config, sagas=[saga]) as platform:
        acme = await platform.create_tenant("acme")
        async with running(platform, acme):
            saga_id = await platform.sagas.start(acme, saga, wanted)
            state = await platform.sagas.ended(acme, saga_id)
            assert state.status == "completed", state
            other = await platform.sagas.start(acme, saga, {"trip_id": "none"})
            assert "missing" in str((await platform.sagas.ended(acme, other)).compensation_data)
        with pytest.raises(InvalidInput, match="mappings and dataclasses"):
            await platform.sagas.start(acme, saga, ["a list"])
        with pytest.raises(InvalidInput, match="price"):
            await platform.sagas.start(acme, saga, replace(wanted, price="12"))  # type: ignore[arg-type]
