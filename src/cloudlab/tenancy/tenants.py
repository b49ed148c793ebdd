"""Tenants: creating them so that none is left half made, and finding where they live.

The directory stands in the control database; the shard's own row (`tenant_local`) is the truth.

Standard: §4.1 Tenant-Specific Schemas, §4.2 Tenant Configuration
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID

from cloudlab.config import Config, ShardConfig
from cloudlab.errors import ConfigError, Duplicate, InvalidInput, NotFound
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.schema import fanout
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.tenancy import shards
from cloudlab.tenancy.settings import TenantSettings, parse
from cloudlab.values import uuid7

_NAME = re.compile(r"[a-z][a-z0-9-]{0,47}")


class Placement(StrEnum):
    """How a tenant lives on its shard."""

    ROW = "row"
    SCHEMA = "schema"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the platform and where it lives; `epoch` rises with every move."""

    tenant_id: UUID
    tenant_name: str
    schema_name: str
    placement: str
    region: str
    shard: str
    epoch: int
    is_active: bool
    state: str
    pending: str | None = None
    drop_after: datetime | None = None
    stored_settings: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    @property
    def settings(self) -> TenantSettings:
        """Its settings, as the directory had them when it was asked."""
        return parse(self.stored_settings)


async def find(pools: Pools, config: Config, name: str | UUID) -> Tenant:
    """Look a tenant up by name or id. Cost: one round trip to the control database.

    Raises:
        NotFound: There is no such tenant.
    """
    async with pools.transaction(config.control.app_url) as transaction:
        tenants = await _look_up(transaction, name)
    if not tenants:
        raise NotFound(f"there is no tenant {name}", hint="`cloudlab tenant list` names them.")
    return tenants[0]


async def list_all(pools: Pools, config: Config) -> list[Tenant]:
    """Return all tenants by name."""
    async with pools.transaction(config.control.app_url) as transaction:
        return await _look_up(transaction, None)


async def _look_up(transaction: Transaction, name: str | UUID | None) -> list[Tenant]:
    query: LiteralString = """
        SELECT /* tenants.find */ t.tenant_id, t.tenant_name, t.schema_name, p.placement, s.region,
               s.shard_name AS shard, p.epoch, t.is_active, p.state, t.pending, t.drop_after,
               t.settings AS stored_settings
        FROM cloudlab.tenants AS t
        JOIN cloudlab.placements AS p ON p.tenant_id = t.tenant_id
        JOIN cloudlab.shards AS s ON s.shard_id = p.shard_id
        WHERE (%(name)s::text IS NULL OR t.tenant_name = %(name)s::text)
          AND (%(tenant_id)s::uuid IS NULL OR t.tenant_id = %(tenant_id)s::uuid)
        ORDER BY t.tenant_name
        """
    by_id = isinstance(name, UUID)
    result = await transaction.execute(query, name=None if by_id else name, tenant_id=name if by_id else None)
    return result.rows(Tenant)


async def create(
    pools: Pools,
    config: Config,
    name: str,
    *,
    region: str | None = None,
    placement: Placement | str = Placement.ROW,
) -> Tenant:
    """Create a tenant: first the intent in the directory, then its place on the shard, then the directory again.

    A crash between two of these leaves a tenant in state `creating`; the same call finishes it.

    Args:
        pools: The connections of this process.
        config: Where the databases are; the owner logins are used.
        name: 1 to 48 of a-z, 0-9 and '-', beginning with a letter.
        region: Where its data must stay; by default the region of the emptiest shard.
        placement: `row` of the shared tables, or a `schema` of its own.

    Raises:
        Duplicate: There is a finished tenant of that name.
        InvalidInput: The name or the placement is not acceptable.
        NotFound: No shard stands in that region.
    """
    check_name(name)
    if placement not in set(Placement):
        raise InvalidInput(f"{placement!r} is not a placement", hint=f"Choose one of {', '.join(Placement)}.")
    await shards.register(pools, config)
    tenant = await _intend(pools, config, name, region, Placement(placement))
    await _settle(pools, shard_config(config, tenant.shard), tenant)
    async with pools.transaction(config.control.owner_url) as transaction:
        await transaction.execute(
            "UPDATE /* tenants.create */ cloudlab.placements SET state = 'open' WHERE tenant_id = %(tenant_id)s::uuid",
            tenant_id=tenant.tenant_id,
        )
    return await find(pools, config, tenant.tenant_id)


def check_name(name: str) -> None:
    """Refuse what cannot name a tenant; InvalidInput says what can."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot name a tenant", hint="Use 1 to 48 of a-z, 0-9 and '-', a letter first.")


def shard_config(config: Config, shard: str) -> ShardConfig:
    """Return the addresses of a shard that the directory names.

    Raises:
        ConfigError: This process does not know the shard.
    """
    for candidate in config.shards:
        if candidate.name == shard:
            return candidate
    known = ", ".join(candidate.name for candidate in config.shards)
    raise ConfigError(f"the directory names shard {shard}, the configuration only {known}")


async def _intend(pools: Pools, config: Config, name: str, region: str | None, placement: Placement) -> Tenant:
    schema = SHOP_SCHEMA if placement is Placement.ROW else f"tenant_{name.replace('-', '_')}"
    async with pools.transaction(config.control.owner_url) as transaction:
        # One creation of a name at a time; the lock ends with the transaction.
        await transaction.execute(
            "SELECT /* tenants.create */ pg_advisory_xact_lock(20543, hashtext(%(name)s))", name=name
        )
        found = await _look_up(transaction, name)
        if found:
            return _resumable(found[0], region, placement)
        shard_id, _, _ = await shards.choose(transaction, region)
        tenant_id = uuid7()
        taken = await transaction.execute(
            "SELECT /* tenants.create */ FROM cloudlab.tenants AS t WHERE t.schema_name = %(schema)s", schema=schema
        )
        if placement is Placement.SCHEMA and taken.row_count:
            # Of a tenant that has been renamed since: its schema keeps the name.
            schema = f"{schema[:46]}_{tenant_id.hex[-12:]}"
        await transaction.execute(
            """
            INSERT /* tenants.create */ INTO cloudlab.tenants (tenant_id, tenant_name, schema_name)
            VALUES (%(tenant_id)s::uuid, %(name)s, %(schema)s)
            """,
            tenant_id=tenant_id,
            name=name,
            schema=schema,
        )
        await transaction.execute(
            """
            INSERT /* tenants.create */ INTO cloudlab.placements (tenant_id, shard_id, placement)
            VALUES (%(tenant_id)s::uuid, %(shard_id)s::uuid, %(placement)s)
            """,
            tenant_id=tenant_id,
            shard_id=shard_id,
            placement=placement.value,
        )
        return (await _look_up(transaction, tenant_id))[0]


def _resumable(tenant: Tenant, region: str | None, placement: Placement) -> Tenant:
    if tenant.state == "creating" and tenant.placement == placement and region in (None, tenant.region):
        return tenant
    raise Duplicate(f"there is a tenant {tenant.tenant_name}: placement {tenant.placement} in {tenant.region}")


async def _settle(pools: Pools, shard: ShardConfig, tenant: Tenant) -> None:
    if tenant.placement == Placement.SCHEMA:
        (made,) = await fanout.up(shard.urls.owner_url, load_tree(Tree.TENANT), [tenant.schema_name])
        if made.error:
            raise made.error
    async with pools.transaction(shard.urls.owner_url) as transaction:
        await transaction.execute(
            """
            INSERT /* tenants.create */ INTO cloudlab.tenant_local (tenant_id, tenant_name, schema_name, epoch)
            VALUES (%(tenant_id)s::uuid, %(name)s, %(schema)s, %(epoch)s::integer)
            ON CONFLICT DO NOTHING
            """,
            tenant_id=tenant.tenant_id,
            name=tenant.tenant_name,
            schema=tenant.schema_name,
            epoch=tenant.epoch,
        )
