"""kill -9 of the source, the target and the control database, each alone, at every state of a move.

Three servers, so that the others live on. A tenant goes to and fro; each time its server dies at another point.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import psutil
import pytest

from cloudlab.config import Config, ShardConfig
from cloudlab.embedded import postgres as embedded
from cloudlab.embedded.accounts import unprivileged
from cloudlab.embedded.postgres import PostgresServer, find_binaries
from cloudlab.embedded.runtime import DEFAULT_SHARDS
from cloudlab.platform import Platform
from cloudlab.schema import migrate
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.shop import catalog, readmodels
from cloudlab.tenancy.moves import MoveState
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from fixtures.installation import MASTER_KEY
from fixtures.moving import catch_up, fill, fingerprints
from fixtures.postgres import SETTINGS, TEMPLATES, Cluster, running

CONTROL = "control"
# What was committed must be there after a kill, though not after a power failure.
KILLED = SETTINGS | {"synchronous_commit": "on"}
# One in each state, and those in which something is half done.
POINTS = (
    "preparing: room made",
    "preparing: log kept",
    "left planned",
    "copying: chunk",
    "left copying",
    "following: verified",
    "fenced",
    "before the flip",
    "flipped",
    "opened",
    "published",
    "left following",
    "settling: log dropped",
)


# Enough for one in each state; which server it is matters less in between.
FEWER = POINTS[1::2]


@dataclass
class Servers:
    """An installation whose databases stand on servers of their own, which can be killed."""

    config: Config
    clusters: dict[str, Cluster]

    def kill(self, name: str) -> "asyncio.Task[PostgresServer]":
        """Kill a server, and start it again beside whatever is going on."""
        cluster = self.clusters[name]
        postmaster = psutil.Process(cluster.server.mark.pid)
        postmaster.kill()
        psutil.wait_procs([postmaster], timeout=10)  # it dies a moment after the signal
        return asyncio.create_task(asyncio.to_thread(self._start, cluster))

    def _start(self, cluster: Cluster) -> PostgresServer:
        old = cluster.server
        cluster.server = embedded.start(
            cluster.binaries,
            old.data_dir,
            socket_dir=old.socket_dir,
            log=old.socket_dir / "log",
            port=old.port,
            account=unprivileged(),
            password=old.password,
            volatile=True,
            settings=KILLED,
        )
        return cluster.server


@pytest.fixture
def servers(valkey_url: str, clickhouse_url: str) -> Iterator[Servers]:
    names = (CONTROL, *(name for name, _ in DEFAULT_SHARDS))
    with contextlib.ExitStack() as stack:
        clusters = {name: stack.enter_context(running(find_binaries(), KILLED)) for name in names}
        for cluster in clusters.values():
            stack.callback(lambda cluster=cluster: embedded.stop(cluster.server.data_dir, cluster.server.mark))
        asyncio.run(migrated(clusters))
        shards = tuple(
            ShardConfig(name, region, clusters[name].urls(TEMPLATES["shard"])) for name, region in DEFAULT_SHARDS
        )
        control = clusters[CONTROL].urls(TEMPLATES["control"])
        config = Config(control, shards, valkey_url, clickhouse_url, master_keys={1: MASTER_KEY})
        yield Servers(config, clusters)


async def migrated(clusters: dict[str, Cluster]) -> None:
    async def up(name: str) -> None:
        if name == CONTROL:
            await migrate.up(clusters[name].url(TEMPLATES["control"]), load_tree(Tree.CONTROL), PLATFORM_SCHEMA)
        else:
            await migrate.up(clusters[name].url(TEMPLATES["shard"]), load_tree(Tree.SHARD), PLATFORM_SCHEMA)
            await migrate.up(clusters[name].url(TEMPLATES["shard"]), load_tree(Tree.TENANT), SHOP_SCHEMA)

    await asyncio.gather(*map(up, clusters))


@pytest.mark.parametrize("victim", ["source", "target", CONTROL])
async def test_a_move_outlasts_a_kill_of_one_server_at_every_state(servers: Servers, victim: str):
    async with Platform.open(servers.config, projections=readmodels.ALL) as platform:
        tenant = await platform.create_tenant("acme")
        await fill(platform, tenant)
        for point in POINTS if victim == "source" else FEWER:
            before = await fingerprints(platform, tenant)
            target = next(shard.name for shard in servers.config.shards if shard.name != tenant.shard)
            dies = {"source": tenant.shard, "target": target}.get(victim, CONTROL)
            await moved_while(servers, platform, tenant, target, point, dies)
            platform.forget(tenant)
            tenant = await platform.tenant(tenant.tenant_id)
            assert tenant.shard == target, point
            assert await fingerprints(platform, tenant) == before, point
            async with platform.session(tenant) as s:
                await catalog.add(s, sku=uuid4().hex, name="Lamp", price=Money("1", "EUR"), stock=1)
            await catch_up(platform)


async def moved_while(servers: Servers, platform: Platform, tenant: Tenant, target: str, point: str, dies: str) -> None:
    """Move a tenant; once, when the mover comes to a point, a server is killed, and comes back while it goes on."""
    killed: list[asyncio.Task[PostgresServer]] = []

    def at(reached: str) -> None:
        if reached == point and not killed:
            killed.append(servers.kill(dies))

    done = await platform.moves.move(tenant, to_shard=target, may_leave_region=True, at=at)
    assert killed, point
    await killed[0]
    assert done.state is MoveState.GRACE, point
