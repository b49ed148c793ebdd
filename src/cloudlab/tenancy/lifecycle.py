"""Suspending, resuming, renaming and dropping a tenant, so that directory and shard never disagree for good.

Two databases cannot commit as one. So every verb writes its intent into the directory first (`tenants.pending`), then
does it on the shard, then takes the intent away, while it holds the tenant's row: verbs follow one another. After a
crash at any point the intent is still there, and the same verb, another one, or `finish` brings both to the same state.

Standard: §4.2 Tenant Configuration
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cloudlab.config import Config
from cloudlab.errors import Conflict, InvalidInput, WrongShard
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.tenancy import settings, tenants
from cloudlab.tenancy.tenants import Tenant, check_name, shard_config


@dataclass(frozen=True, slots=True)
class _Intent:
    tenant_id: UUID
    tenant_name: str
    is_active: bool
    pending: str
    shard: str

    @property
    def is_open(self) -> bool:
        """Whether the tenant is served once the intent is carried out."""
        return self.pending == "resume" or (self.pending == "rename" and self.is_active)


async def suspend(pools: Pools, config: Config, name: str | UUID) -> Tenant:
    """Refuse every new session of a tenant, whoever asks; those that are open run to their end. It may be repeated."""
    tenant = await finish(pools, config, name)
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            """
            UPDATE /* lifecycle.suspend */ cloudlab.tenants SET pending = 'suspend', is_active = false
            WHERE tenant_id = %(tenant_id)s::uuid
            """,
            tenant_id=tenant.tenant_id,
        )
    return await finish(pools, config, tenant.tenant_id)


async def resume(pools: Pools, config: Config, name: str | UUID) -> Tenant:
    """Serve a suspended tenant again, one whose drop has been asked for too. It may be repeated.

    Raises:
        Conflict: Its data is being deleted already.
    """
    tenant = await finish(pools, config, name)
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            "SELECT /* lifecycle.resume */ FROM cloudlab.tenants WHERE tenant_id = %(tenant_id)s::uuid FOR UPDATE",
            tenant_id=tenant.tenant_id,
        )
        going = await control.execute(
            """
            SELECT /* lifecycle.resume */ FROM cloudlab.placements
            WHERE tenant_id = %(tenant_id)s::uuid AND state = 'dropping'
            """,
            tenant_id=tenant.tenant_id,
        )
        if going.row_count:
            raise Conflict(f"the data of tenant {tenant.tenant_name} is being deleted", hint="Restore its export.")
        await control.execute(
            """
            UPDATE /* lifecycle.resume */ cloudlab.tenants SET pending = 'resume', drop_after = NULL
            WHERE tenant_id = %(tenant_id)s::uuid
            """,
            tenant_id=tenant.tenant_id,
        )
    return await finish(pools, config, tenant.tenant_id)


async def rename(pools: Pools, config: Config, name: str | UUID, new_name: str) -> Tenant:
    """Give a tenant another name; its id, its schema and its data keep theirs. It may be repeated.

    Raises:
        Duplicate: There is a tenant of that name.
        InvalidInput: The name is not acceptable.
    """
    check_name(new_name)
    tenant = await finish(pools, config, name)
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            """
            UPDATE /* lifecycle.rename */ cloudlab.tenants SET pending = 'rename', tenant_name = %(name)s
            WHERE tenant_id = %(tenant_id)s::uuid
            """,
            tenant_id=tenant.tenant_id,
            name=new_name,
        )
    return await finish(pools, config, tenant.tenant_id)


async def drop(pools: Pools, config: Config, name: str | UUID, *, grace: timedelta) -> Tenant:
    """Stop serving a tenant, and note when its data may be deleted; until then `resume` brings it back whole.

    A second call leaves the time as it is. Nothing is deleted here.

    Raises:
        InvalidInput: The grace period is negative.
    """
    if grace < timedelta(0):
        raise InvalidInput(f"the grace period cannot be negative: {grace}")
    tenant = await finish(pools, config, name)
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            """
            UPDATE /* lifecycle.drop */ cloudlab.tenants
            SET pending = 'drop', is_active = false,
                drop_after = coalesce(drop_after, now() + make_interval(secs => %(seconds)s::double precision))
            WHERE tenant_id = %(tenant_id)s::uuid
            """,
            tenant_id=tenant.tenant_id,
            seconds=grace.total_seconds(),
        )
    return await finish(pools, config, tenant.tenant_id)


async def change_settings(pools: Pools, config: Config, name: str | UUID, changes: Mapping[str, object]) -> Tenant:
    """Change settings of a tenant; None takes one back to its default. Cost: two round trips.

    Other processes follow within half a minute.

    Raises:
        InvalidInput: A setting is not known, or its value is not of its kind; nothing is changed then.
    """
    stored = settings.checked(changes)
    tenant = await tenants.find(pools, config, name)
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            """
            UPDATE /* lifecycle.change_settings */ cloudlab.tenants
            SET settings = jsonb_strip_nulls(settings || %(changes)s::jsonb)
            WHERE tenant_id = %(tenant_id)s::uuid
            """,
            tenant_id=tenant.tenant_id,
            changes=json.dumps(stored),
        )
    return await tenants.find(pools, config, tenant.tenant_id)


async def finish(pools: Pools, config: Config, name: str | UUID) -> Tenant:
    """Carry out what a verb has intended and was kept from doing, if anything; return the tenant.

    Raises:
        NotFound: There is no such tenant.
        WrongShard: It is being moved; the verb may be repeated when that has ended.

    Cost: one round trip when nothing is pending.
    """
    tenant = await tenants.find(pools, config, name)
    if tenant.pending is None:
        return tenant
    async with pools.transaction(config.control.owner_url) as control:
        intent = await _locked(control, tenant.tenant_id)
        if intent:
            await _on_shard(pools, config, intent)
            await control.execute(
                """
                UPDATE /* lifecycle.finish */ cloudlab.tenants SET pending = NULL, is_active = %(is_open)s::boolean
                WHERE tenant_id = %(tenant_id)s::uuid
                """,
                tenant_id=intent.tenant_id,
                is_open=intent.is_open,
            )
    return await tenants.find(pools, config, tenant.tenant_id)


async def finish_all(pools: Pools, config: Config) -> list[Tenant]:
    """Carry out every intent that a crash has left behind; return the tenants concerned."""
    return [
        await finish(pools, config, tenant.tenant_id)
        for tenant in await tenants.list_all(pools, config)
        if tenant.pending
    ]


async def _locked(control: Transaction, tenant_id: UUID) -> _Intent | None:
    """Read the intent and hold the tenant's row until the end: another verb waits for this one."""
    found = await control.execute(
        """
        SELECT /* lifecycle.finish */ t.tenant_id, t.tenant_name, t.is_active, t.pending, s.shard_name AS shard
        FROM cloudlab.tenants AS t
        JOIN cloudlab.placements AS p ON p.tenant_id = t.tenant_id
        JOIN cloudlab.shards AS s ON s.shard_id = p.shard_id
        WHERE t.tenant_id = %(tenant_id)s::uuid AND t.pending IS NOT NULL
        FOR UPDATE OF t
        """,
        tenant_id=tenant_id,
    )
    intents = found.rows(_Intent)
    return intents[0] if intents else None


async def _on_shard(pools: Pools, config: Config, intent: _Intent) -> None:
    async with pools.transaction(shard_config(config, intent.shard).urls.owner_url) as shard:
        done = await shard.execute(
            """
            UPDATE /* lifecycle.finish */ cloudlab.tenant_local
            SET state = CASE WHEN %(is_open)s::boolean THEN 'open' ELSE 'suspended' END, tenant_name = %(name)s
            WHERE tenant_id = %(tenant_id)s::uuid AND state IN ('open', 'suspended')
            """,
            tenant_id=intent.tenant_id,
            name=intent.tenant_name,
            is_open=intent.is_open,
        )
    if not done.row_count:
        raise WrongShard(
            f"tenant {intent.tenant_name} is not served by shard {intent.shard} now",
            hint="It is being made or moved; repeat the command when that has ended.",
        )
