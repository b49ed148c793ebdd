"""Emptying a shard, and spreading tenants evenly: first as a plan, then as moves one after the other.

Tenants stay in their region, and one that is alone on its shard stays so.

Standard: §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudlab.config import Config
from cloudlab.errors import Conflict
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy import moves, tenants
from cloudlab.tenancy.moves import Move
from cloudlab.tenancy.moving import Moves
from cloudlab.tenancy.tenants import Tenant, shard_config

Moved = Callable[[int, int, Move], None]
"""Told after each move: how many are done, how many there are, and which it was."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """A shard as the directory knows it: how many tenants it holds, and who is on the way to it or from it."""

    name: str
    region: str
    is_active: bool
    tenants: int
    arriving: int
    leaving: int


@dataclass(frozen=True, slots=True)
class Step:
    """One move of a plan."""

    tenant_name: str
    source: str
    target: str


async def list_shards(pools: Pools, config: Config) -> list[ShardState]:
    """Return every shard by name. Cost: one round trip to the control database."""
    async with pools.transaction(config.control.app_url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* balance.list_shards */ s.shard_name AS name, s.region, s.is_active,
                   (SELECT count(*) FROM cloudlab.placements AS p WHERE p.shard_id = s.shard_id) AS tenants,
                   count(m.move_id) FILTER (WHERE m.target_shard_id = s.shard_id) AS arriving,
                   count(m.move_id) FILTER (WHERE m.source_shard_id = s.shard_id) AS leaving
            FROM cloudlab.shards AS s
            LEFT JOIN cloudlab.moves AS m ON s.shard_id IN (m.source_shard_id, m.target_shard_id)
                 AND m.state = ANY (%(states)s::text[]) AND m.source_shard_id <> m.target_shard_id
            GROUP BY s.shard_id ORDER BY s.shard_name
            """,
            states=[state.value for state in moves.UNDER_WAY],
        )
        return result.rows(ShardState)


async def set_active(pools: Pools, config: Config, shard: str, *, is_active: bool) -> None:
    """Say whether new tenants may be placed on a shard."""
    shard_config(config, shard)
    async with pools.transaction(config.control.owner_url) as transaction:
        transaction.queue(
            "UPDATE /* balance.set_active */ cloudlab.shards SET is_active = %(is_active)s::boolean"
            " WHERE shard_name = %(shard)s",
            is_active=is_active,
            shard=shard,
        )


async def plan_drain(pools: Pools, config: Config, shard: str) -> list[Step]:
    """Say where every tenant of a shard would go: the emptiest of its region each time.

    Raises:
        ConfigError: There is no such shard.
        Conflict: There is no other active shard in its region.
    """
    region = shard_config(config, shard).region
    counts = await _counts(pools, config, region)
    counts.pop(shard, None)
    steps: list[Step] = []
    for tenant in await tenants.list_all(pools, config):
        if tenant.shard != shard:
            continue
        target = _emptiest(counts, region, tenant)
        counts[target] += 1
        steps.append(Step(tenant.tenant_name, shard, target))
    return steps


def _emptiest(counts: dict[str, int], region: str, tenant: Tenant) -> str:
    free = {name: count for name, count in counts.items() if not (tenant.placement == "database" and count)}
    if not free:
        raise Conflict(
            f"no other shard of {region} can take tenant {tenant.tenant_name}", hint="Add a shard in that region first."
        )
    return min(free, key=lambda name: (free[name], name))


async def _counts(pools: Pools, config: Config, region: str) -> dict[str, int]:
    """Count the tenants of the active shards of a region that others may be put on."""
    known = {shard.name for shard in config.shards}
    alone = {tenant.shard for tenant in await tenants.list_all(pools, config) if tenant.placement == "database"}
    return {
        shard.name: shard.tenants
        for shard in await list_shards(pools, config)
        if shard.region == region and shard.is_active and shard.name in known - alone
    }


async def plan_rebalance(pools: Pools, config: Config) -> list[Step]:
    """Say which tenants would go where so that no shard of a region has two more than another."""
    everybody = await tenants.list_all(pools, config)
    steps: list[Step] = []
    for region in sorted({shard.region for shard in config.shards}):
        counts = await _counts(pools, config, region)
        here = {name: [t for t in everybody if t.shard == name] for name in counts}
        while counts and max(counts.values()) - min(counts.values()) > 1:
            fullest, emptiest = (pick(counts, key=lambda name: (counts[name], name)) for pick in (max, min))
            tenant = here[fullest].pop()
            steps.append(Step(tenant.tenant_name, fullest, emptiest))
            counts[fullest] -= 1
            counts[emptiest] += 1
    return steps


async def carry_out(pools: Pools, config: Config, steps: Sequence[Step], moved: Moved | None = None) -> list[Move]:
    """Make the moves of a plan, one after the other. After an interruption, plan again: what is done is done."""
    done: list[Move] = []
    for step in steps:
        tenant = await tenants.find(pools, config, step.tenant_name)
        done.append(await Moves(config, pools).move(tenant, to_shard=step.target))
        if moved:
            moved(len(done), len(steps), done[-1])
    return done
