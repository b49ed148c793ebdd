"""Entering order numbers into the control database, as digests, for whoever looks for their tenant.

Standard: §4.2 Tenant Configuration, §9.1 Encryption at Rest
"""

from collections.abc import Sequence

from cloudlab.config import Config
from cloudlab.events.projections import Projection, Stores
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy.lookups import as_hex, digests_of
from cloudlab.values import Event


def order_lookup(config: Config) -> Projection:
    """Return the projection that enters every order number, for `Platform.open(projections=...)` of a worker.

    One row of about a hundred bytes for each order, in batches; it lags while the control database is away, and
    orders go on. Cost: one connection for each batch.
    """

    async def apply(stores: Stores, events: Sequence[Event]) -> None:
        newest = stores.keyring.newest
        numbers = [(event.tenant_id, str(event.event_data["order_number"])) for event in events]
        async with Pools(config.limits) as pools, pools.transaction(config.control.owner_url) as control:
            control.queue(
                """
                INSERT /* lookups.order_lookup */ INTO cloudlab.tenant_lookups (kind, lookup_digest, tenant_id)
                SELECT 'order', n.digest, n.tenant_id
                FROM unnest(%(digests)s::bytea[], %(tenants)s::uuid[]) AS n (digest, tenant_id)
                JOIN cloudlab.tenants AS t ON t.tenant_id = n.tenant_id
                ON CONFLICT DO NOTHING
                """,
                digests=as_hex(digests_of(stores.keyring, "order", number)[newest] for _, number in numbers),
                tenants=[tenant_id for tenant_id, _ in numbers],
            )

    return Projection("order_lookup", frozenset({"OrderPlaced"}), apply)
