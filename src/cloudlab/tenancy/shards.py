"""Shards: which databases hold tenants, and in which region each stands.

Standard: §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding
"""

from uuid import UUID

from cloudlab.config import Config, ShardConfig
from cloudlab.errors import ConfigError, NotFound
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction


async def register(pools: Pools, config: Config) -> None:
    """Enter every shard of the configuration in the directory, and tell each shard who it is.

    It may be repeated. Cost: two round trips to the control database and two to each shard.

    Raises:
        ConfigError: A database was set up as another shard, or a shard under another region: data must not change
            its region by an edit of the configuration.
    """
    async with pools.transaction(config.control.owner_url) as transaction:
        for shard in config.shards:
            await _enter(transaction, shard)
    for shard in config.shards:
        async with pools.transaction(shard.urls.owner_url) as transaction:
            await _identify(transaction, shard)


async def _enter(transaction: Transaction, shard: ShardConfig) -> None:
    found = await transaction.execute(
        """
        INSERT /* shards.register */ INTO cloudlab.shards AS s (shard_name, region)
        VALUES (%(name)s, %(region)s)
        ON CONFLICT (shard_name) DO UPDATE SET shard_name = excluded.shard_name
        RETURNING s.region
        """,
        name=shard.name,
        region=shard.region,
    )
    _same_region(shard, found.rows(_region)[0])


async def _identify(transaction: Transaction, shard: ShardConfig) -> None:
    await transaction.execute(
        """
        INSERT /* shards.register */ INTO cloudlab.shard_identity (shard_name, region)
        VALUES (%(name)s, %(region)s)
        ON CONFLICT DO NOTHING
        """,
        name=shard.name,
        region=shard.region,
    )
    found = await transaction.execute(
        "SELECT /* shards.register */ i.shard_name, i.region FROM cloudlab.shard_identity AS i"
    )
    ((name, region),) = found.rows(_identity)
    if name != shard.name:
        raise ConfigError(f"the database given for shard {shard.name} was set up as shard {name}")
    _same_region(shard, region)


def _same_region(shard: ShardConfig, region: str) -> None:
    if region != shard.region:
        raise ConfigError(f"shard {shard.name} was set up in region {region}, the configuration says {shard.region}")


def _region(region: str) -> str:
    return region


def _identity(shard_name: str, region: str) -> tuple[str, str]:
    return shard_name, region


async def choose(transaction: Transaction, region: str | None) -> tuple[UUID, str, str]:
    """Return id, name and region of the shard with the fewest tenants in a region, or in any.

    Raises:
        NotFound: There is no active shard in that region; the message names the regions there are.
    """
    result = await transaction.execute(
        """
        SELECT /* shards.choose */ s.shard_id, s.shard_name, s.region
        FROM cloudlab.shards AS s
        LEFT JOIN cloudlab.placements AS p ON p.shard_id = s.shard_id
        WHERE s.is_active
        GROUP BY s.shard_id
        HAVING count(*) FILTER (WHERE p.placement = 'database') = 0
        ORDER BY count(p.tenant_id), s.shard_name
        """
    )
    found = result.rows(_candidate)
    for candidate in found:
        if region in (None, candidate[2]):
            return candidate
    regions = ", ".join(sorted({candidate[2] for candidate in found})) or "none"
    raise NotFound(f"there is no shard in region {region}", hint=f"Regions with a shard: {regions}.")


def _candidate(shard_id: UUID, shard_name: str, region: str) -> tuple[UUID, str, str]:
    return shard_id, shard_name, region
