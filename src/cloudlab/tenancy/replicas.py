"""Reading from replicas, never behind one's own writes.

A process remembers how far the log was when each tenant was last written by it, and how far each replica has replayed.
A session that reads goes to the replica when that has replayed the tenant's last write, and to the primary otherwise;
so does one whose replica has not answered within a second. Who writes in one process and reads in another hands the
position on.

Standard: §5.3 Connection Pooling
"""

import asyncio
import time
from uuid import UUID

from cloudlab.config import ShardConfig
from cloudlab.errors import InvalidInput, Unavailable
from cloudlab.postgres.pool import Pools

# So long an answer is good for, and so long it is waited for.
_FRESH_SECONDS = 1.0
# So long a replica that did not answer is not asked again.
_REST_SECONDS = 5.0
# A replica that lags is asked at most so often.
_PAUSE_SECONDS = 0.01


def position(text: str) -> int:
    """Read a position of the log as PostgreSQL writes it, `16/B374D848`; InvalidInput when it is none."""
    high, slash, low = text.partition("/")
    try:
        if not slash:
            raise ValueError
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a position of the log", hint="Pass what `last_write` returned.") from None


class Replicas:
    """What one process knows of the writes of tenants and of how far the replicas of its shards are."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._written: dict[UUID, str] = {}
        self._replayed: dict[str, int] = {}
        self._answered_at: dict[str, float] = {}
        self._ask_again_at: dict[str, float] = {}

    def note_write(self, tenant_id: UUID, lsn: str) -> None:
        """Remember that a transaction of the tenant has committed before this position."""
        self._written[tenant_id] = lsn

    def last_write(self, tenant_id: UUID) -> str | None:
        """Return the position behind this process's last write of a tenant, None when there was none."""
        return self._written.get(tenant_id)

    async def url(self, shard: ShardConfig, tenant_id: UUID, after: str | None = None) -> str:
        """Return where a reading session of a tenant goes: the replica, or the primary's readonly login.

        Cost: none while the replica is known to be far enough; else, and once a second, one round trip to it.
        """
        if not shard.replica_url:
            return shard.urls.readonly_url
        wanted = [position(lsn) for lsn in (after, self._written.get(tenant_id)) if lsn]
        needed = max(wanted, default=0)
        is_known = time.monotonic() < self._answered_at.get(shard.name, 0) + _FRESH_SECONDS
        if (is_known and needed <= self._replayed[shard.name]) or await self._catches_up(shard, needed):
            return shard.replica_url
        return shard.urls.readonly_url

    def doubt(self, shard: ShardConfig) -> None:
        """Ask the replica of a shard before the next session that reads: one has failed."""
        self._answered_at.pop(shard.name, None)

    async def _catches_up(self, shard: ShardConfig, needed: int) -> bool:
        now = time.monotonic()
        if now < self._ask_again_at.get(shard.name, 0):
            return False
        try:
            async with asyncio.timeout(_FRESH_SECONDS), self._pools.transaction(shard.replica_url) as transaction:
                result = await transaction.execute(
                    """
                    SELECT /* replicas.catches_up */ coalesce(pg_last_wal_replay_lsn(),
                        CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END, '0/0')::text
                    """
                )
            ((replayed,),) = result.tuples()
        except (Unavailable, TimeoutError):
            self._ask_again_at[shard.name] = now + _REST_SECONDS
            self.doubt(shard)
            return False
        self._answered_at[shard.name], self._replayed[shard.name] = now, position(str(replayed))
        if self._replayed[shard.name] >= needed:
            return True
        self._ask_again_at[shard.name] = now + _PAUSE_SECONDS
        return False
