"""What a platform does with whole tenants, and its memory of where they live.

Standard: §4.2 Tenant Configuration
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from cloudlab.config import Config
from cloudlab.crypto import Keyring
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy import lifecycle, lookups, tenants
from cloudlab.tenancy.export import export
from cloudlab.tenancy.limiter import SettingsBook
from cloudlab.tenancy.replicas import Replicas
from cloudlab.tenancy.tenants import Placement, Tenant, shard_config


class TenantVerbs:
    """The part of a platform that makes, changes and finds tenants."""

    config: Config
    _pools: Pools
    _keyring: Keyring
    _settings: SettingsBook
    _replicas: Replicas
    _routes: dict[str | UUID, Tenant]

    async def create_tenant(
        self, name: str, *, region: str | None = None, placement: Placement | str = Placement.ROW
    ) -> Tenant:
        """Create a tenant; see `tenancy.tenants.create` for its rules. A half-made one of that name is finished."""
        return await tenants.create(self._pools, self.config, name, region=region, placement=placement)

    async def suspend_tenant(self, tenant: Tenant) -> Tenant:
        """Refuse every new session of a tenant, in every process; see `tenancy.lifecycle.suspend`."""
        return self._learnt(await lifecycle.suspend(self._pools, self.config, tenant.tenant_id))

    async def resume_tenant(self, tenant: Tenant) -> Tenant:
        """Serve a suspended or dropped tenant again; see `tenancy.lifecycle.resume`."""
        return self._learnt(await lifecycle.resume(self._pools, self.config, tenant.tenant_id))

    async def rename_tenant(self, tenant: Tenant, new_name: str) -> Tenant:
        """Give a tenant another name; see `tenancy.lifecycle.rename`."""
        self.forget(tenant)
        return self._learnt(await lifecycle.rename(self._pools, self.config, tenant.tenant_id, new_name))

    async def drop_tenant(self, tenant: Tenant, *, grace: timedelta = timedelta(days=30)) -> Tenant:
        """Stop serving a tenant; its data may be deleted after the grace; see `tenancy.lifecycle.drop`."""
        return self._learnt(await lifecycle.drop(self._pools, self.config, tenant.tenant_id, grace=grace))

    async def change_settings(self, tenant: Tenant, **changes: object) -> Tenant:
        """Change settings of a tenant, those of `TenantSettings`; None takes one back to its default."""
        found = await lifecycle.change_settings(self._pools, self.config, tenant.tenant_id, changes)
        return self._learnt(found)

    async def finish_tenants(self) -> int:
        """Carry out what verbs on tenants have intended and were kept from; return on how many tenants."""
        return len([self._learnt(tenant) for tenant in await lifecycle.finish_all(self._pools, self.config)])

    def last_write(self, tenant: Tenant) -> str | None:
        """Return what another process passes as `after` to read what this one has written; None when it has not.

        Only shards with a `replica_url` are told of.
        """
        return self._replicas.last_write(tenant.tenant_id)

    async def export_tenant(self, tenant: Tenant, folder: Path) -> dict[str, int]:
        """Write all of a tenant into a new folder, suspended or not; see `tenancy.export.export`."""
        return await export(shard_config(self.config, tenant.shard), tenant, folder)

    def _learnt(self, tenant: Tenant) -> Tenant:
        self._settings.note(tenant)
        self._routes[tenant.tenant_id] = self._routes[tenant.tenant_name] = tenant
        return tenant

    async def tenant(self, name: str | UUID) -> Tenant:
        """Return a tenant by name or id, from this process's memory when it was asked for before.

        Raises:
            NotFound: There is no such tenant.
        """
        if name not in self._routes:
            self._learnt(await tenants.find(self._pools, self.config, name))
        return self._routes[name]

    async def tenants(self) -> list[Tenant]:
        """Return all tenants by name."""
        return await tenants.list_all(self._pools, self.config)

    def forget(self, tenant: Tenant) -> None:
        """Ask the directory again the next time this tenant is looked up."""
        self._routes.pop(tenant.tenant_id, None)
        self._routes.pop(tenant.tenant_name, None)

    async def claim_domain(self, tenant: Tenant, domain: str) -> None:
        """Note that an e-mail domain belongs to a tenant; see `tenancy.lookups.claim_domain`."""
        await lookups.claim_domain(self._pools, self.config, self._keyring, tenant.tenant_id, domain)

    async def release_domain(self, tenant: Tenant, domain: str) -> bool:
        """Note that an e-mail domain belongs to a tenant no more; False when it did not."""
        return await lookups.release_domain(self._pools, self.config, self._keyring, tenant.tenant_id, domain)

    async def find_tenants(self, *, domain: str | None = None, order_number: str | None = None) -> Sequence[Tenant]:
        """Return the tenants that an e-mail domain or an order number belongs to; see `tenancy.lookups.find`."""
        found = await lookups.find(self._pools, self.config, self._keyring, domain=domain, order_number=order_number)
        return [await self.tenant(tenant_id) for tenant_id in found]
