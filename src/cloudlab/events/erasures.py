"""The ledger of erasures: in the control database, so that it outlives the restore of a shard.

It is written before anything is erased. Whatever happens in between, a crash or a restore to an earlier time, applying
the ledger again finishes the erasure.

Standard: §9.1 Encryption at Rest
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloudlab.config import Config
from cloudlab.postgres.pool import Pools


@dataclass(frozen=True, slots=True)
class Erasure:
    """Who is to be erased, and since when."""

    tenant_id: UUID
    subject_id: UUID
    requested_at: datetime


async def request(pools: Pools, config: Config, tenant_id: UUID, subject_id: UUID) -> None:
    """Write down that a person is to be erased; again changes nothing. Cost: two round trips."""
    async with pools.transaction(config.control.app_url) as transaction:
        await transaction.execute(
            """
            INSERT /* erasures.request */ INTO cloudlab.erasures (tenant_id, subject_id)
            VALUES (%(tenant_id)s::uuid, %(subject_id)s::uuid)
            ON CONFLICT DO NOTHING
            """,
            tenant_id=tenant_id,
            subject_id=subject_id,
        )


async def requested(pools: Pools, config: Config, tenant_id: UUID | None = None) -> list[Erasure]:
    """Return the ledger, oldest first, of one tenant or of all. Cost: two round trips."""
    async with pools.transaction(config.control.app_url) as transaction:
        found = await transaction.execute(
            """
            SELECT /* erasures.requested */ e.tenant_id, e.subject_id, e.requested_at
            FROM cloudlab.erasures AS e
            WHERE %(tenant_id)s::uuid IS NULL OR e.tenant_id = %(tenant_id)s::uuid
            ORDER BY e.requested_at, e.tenant_id, e.subject_id
            """,
            tenant_id=tenant_id,
        )
        return found.rows(Erasure)
