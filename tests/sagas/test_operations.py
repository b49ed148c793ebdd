"""What operators see and do: each action is on record, and whoever ran the saga can write no more.

Standard: §3.3 Saga State Management
"""

import asyncio
import json
from pathlib import Path

import pytest

from cloudlab.config import Config
from cloudlab.errors import IllegalTransition, NotFound, OutOfStock
from cloudlab.platform import Platform
from cloudlab.sagas import Call, Running, Saga, Step, operations
from cloudlab.sagas.operations import Action
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
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
