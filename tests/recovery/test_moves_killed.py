"""kill -9 of the mover at every point of a move, and of the servers in the middle: resumed or aborted, nothing lost.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

import cloudlab
from cloudlab.config import Config
from cloudlab.embedded import stack
from cloudlab.errors import Conflict
from cloudlab.platform import Platform
from cloudlab.shop import catalog, readmodels
from cloudlab.tenancy.moves import MoveState
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker
from fixtures.commands import write_config
from fixtures.moving import fill, fingerprints, leftovers, move
from recovery.conftest import Installation

EAST, WEST = "us_east_001", "eu_west_001"
MOVER = Path(__file__).parent / "mover.py"
BEFORE = (
    "preparing: target cleared",
    "preparing: room made",
    "preparing: log kept",
    "left planned",
    "copying: chunk",
    "left copying",
    "following: caught up",
    "following: verified",
    "fenced",
    "before the flip",
)
BEHIND = ("flipped", "opened", "published", "left following", "settling: log dropped", "left published")
ABORTING = ("aborting: log dropped", "aborting: cleared")


def test_every_point_is_killed_at():
    source = Path(cloudlab.__file__).parent / "tenancy" / "move.py"
    points = set(re.findall(r'self\._at\(f?"([^"{]+)"\)', source.read_text()))
    assert points == {point for point in (*BEFORE, *BEHIND, *ABORTING) if not point.startswith("left ")}


async def killed_at(config: Config, folder: Path, tenant: Tenant, point: str, *more: str) -> None:
    """Run a mover until it kills itself at a point."""
    write_config(config, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLAB_")}
    mover = await asyncio.create_subprocess_exec(
        sys.executable, MOVER, tenant.tenant_name, EAST, point, *more,
        cwd=folder, env=environment, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(mover.communicate(), 60)
    assert mover.returncode == -signal.SIGKILL, said.decode()


async def sells(platform: Platform, tenant: Tenant) -> None:
    """Change something, as every client does who knows the tenant from before."""

    async def add(s) -> None:
        await catalog.add(s, sku=uuid4().hex, name="Lamp", price=Money("10", "EUR"), stock=1)

    await platform.run(tenant, add)


@pytest.mark.parametrize("point", BEFORE)
async def test_before_the_flip_the_source_serves_on_and_the_move_goes_on(
    config: Config, platform: Platform, tmp_path: Path, point: str
):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    await killed_at(config, tmp_path, tenant, point)
    await asyncio.wait_for(sells(platform, tenant), 5)
    assert (await platform.tenant("acme")).shard == WEST
    before = await fingerprints(platform, tenant)
    assert (await move(platform, tenant, EAST)).state is MoveState.GRACE
    assert await fingerprints(platform, await platform.tenant("acme")) == before


@pytest.mark.parametrize("point", BEHIND)
async def test_behind_the_flip_there_is_only_forward(config: Config, platform: Platform, tmp_path: Path, point: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    await killed_at(config, tmp_path, tenant, point)
    if point != "left published":
        with pytest.raises(Conflict, match="point of no return"):
            await platform.moves.abort(tenant)
        waiting = asyncio.create_task(platform.run(tenant, lambda s: s.execute("SELECT FROM orders")))
        assert (await move(platform, tenant, EAST)).state is MoveState.GRACE
        assert await waiting == 3
    platform.forget(tenant)
    assert await fingerprints(platform, await platform.tenant("acme")) == before
    await sells(platform, tenant)


async def test_a_worker_goes_on_behind_the_flip_and_clears_the_source(
    config: Config, platform: Platform, tmp_path: Path
):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    await killed_at(config, tmp_path, tenant, "flipped")
    soon = replace(config, housekeeping=replace(config.housekeeping, move_grace_hours=0.0))
    async with Platform.open(soon, projections=readmodels.ALL) as behind:
        working = asyncio.create_task(Worker(behind).run())
        try:
            async with asyncio.timeout(40):
                while not await behind.moves.list(tenant, MoveState.FINISHED):
                    await asyncio.sleep(0.1)
        finally:
            working.cancel()
            await asyncio.wait([working])
    platform.forget(tenant)
    moved = await platform.tenant("acme")
    assert (moved.shard, await fingerprints(platform, moved)) == (EAST, before)
    assert await leftovers(platform, moved, WEST) == 0
    await sells(platform, tenant)


@pytest.mark.parametrize("point", [*BEFORE[2:5], *BEFORE[-2:]])
async def test_what_was_killed_before_the_flip_can_be_aborted(
    config: Config, platform: Platform, tmp_path: Path, point: str
):
    tenant = await platform.create_tenant("acme", region="eu-west-1")
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    await killed_at(config, tmp_path, tenant, point)
    for aborting in ABORTING:
        await killed_at(config, tmp_path, tenant, aborting, "abort")
    assert (await platform.moves.abort(tenant)).state is MoveState.ABORTED
    assert await fingerprints(platform, tenant) == before
    assert await leftovers(platform, tenant, EAST) == 0
    await sells(platform, tenant)
    assert (await move(platform, tenant, EAST)).state is MoveState.GRACE


@pytest.mark.parametrize("point", ["preparing: log kept", "copying: chunk", "following: verified", "fenced", "flipped"])
async def test_the_mover_outlasts_a_kill_of_source_target_and_control_database(installation: Installation, point: str):
    async with Platform.open(installation.config, projections=readmodels.ALL) as platform:
        tenant = await platform.create_tenant(f"outlasts-{uuid4().hex[:8]}", region="eu-west-1")
        await fill(platform, tenant)
        before = await fingerprints(platform, tenant)
        killed: list[asyncio.Task[object]] = []

        def at(reached: str) -> None:
            if reached == point and not killed:
                runtime = json.loads((installation.state_dir / "runtime.json").read_text())
                os.kill(runtime["servers"]["postgres"]["pid"], signal.SIGKILL)
                killed.append(asyncio.create_task(stack.up(installation.state_dir)))

        done = await platform.moves.move(tenant, to_shard=EAST, may_leave_region=True, at=at)
        await killed[0]
        assert done.state is MoveState.GRACE
        platform.forget(tenant)
        assert await fingerprints(platform, await platform.tenant(tenant.tenant_id)) == before
