"""The readers of every shard's feed: running projections, seeing how far they are, steering them.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from cloudlab.config import Config
from cloudlab.errors import NotFound
from cloudlab.events import steering
from cloudlab.events.applying import apply_next
from cloudlab.events.follower import Follower
from cloudlab.events.lanes import Holder
from cloudlab.events.projections import Following, InlineProjection, Projection, Stores
from cloudlab.events.rebuild import Rebuild, Told
from cloudlab.events.steering import ParkedEvent, Progress
from cloudlab.events.watch import Watch
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy.tenants import shard_config
from cloudlab.values import uuid7


class Readers:
    """What a platform can do with its projections; `worker_id` is this process among those that share them."""

    def __init__(
        self, config: Config, pools: Pools, stores: Stores, projections: Sequence[Following | InlineProjection]
    ) -> None:
        self.projections = tuple(item for item in projections if not isinstance(item, InlineProjection))
        self._inline = tuple(item for item in projections if isinstance(item, InlineProjection))
        self.worker_id = uuid7()
        self._config = config
        self._pools = pools
        self._stores = stores

    def _url(self, shard: str) -> str:
        return shard_config(self._config, shard).urls.worker_url

    def any_named(self, name: str) -> Following | InlineProjection:
        """Return one of the platform's projections, an inline one too. NotFound as `named`."""
        return next((item for item in self._inline if item.name == name), None) or self.named(name)

    def named(self, name: str) -> Following:
        """Return one of the platform's projections that run behind the events.

        Raises:
            NotFound: The platform was opened without it.
        """
        for projection in self.projections:
            if projection.name == name:
                return projection
        known = ", ".join(sorted(projection.name for projection in self.projections)) or "none"
        raise NotFound(f"there is no projection {name} here", hint=f"There are: {known}.")

    def watch(self, shard: str, *, hurries: bool = False) -> Watch:
        """Return what wakes the followers of a shard; run it beside them. See `Watch`."""
        return Watch(self._pools, self._url(shard), hurries=hurries)

    def follower(self, shard: str, projection: Following, watch: Watch, applied: Callable[[int], None]) -> Follower:
        """Return what follows one projection on one shard in this process."""
        return Follower(self.holder(shard, projection), self._stores, watch, applied)

    def holder(self, shard: str, projection: Following) -> Holder:
        """Return this process's hold on one projection of one shard."""
        return Holder(self._pools, self._url(shard), projection, self.worker_id)

    async def run_once(self, shard: str, projection: Following) -> int:
        """Apply the next batch of every lane that no other worker has; return how many events were applied.

        Raises:
            ProjectionFailed: From whatever `apply` raised, put on record; the checkpoint has not moved.
        """
        holder = self.holder(shard, projection)
        applied = 0
        try:
            for lane in await holder.claim():
                applied += (await apply_next(holder, self._stores, lane)).event_count
        finally:
            await holder.leave()
        return applied

    async def progress(self, shard: str) -> list[Progress]:
        """Return how far each lane of each projection has read a shard's feed."""
        return await steering.progress(self._pools, self._url(shard))

    async def pause(self, shard: str, name: str) -> None:
        """Stop a projection on one shard at once; what it has applied stays. NotFound when it never ran there."""
        await steering.set_state(self._pools, self._url(shard), name, "paused")

    async def resume(self, shard: str, name: str) -> None:
        """Let a paused projection go on where it stood."""
        await steering.set_state(self._pools, self._url(shard), name, "live")

    async def rebuild(self, projection: Following | InlineProjection, told: Told | None = None) -> float:
        """Rebuild a projection from its events on all shards beside the live one, then swap the two.

        Returns:
            For how many seconds the swap kept others waiting, at most.

        Raises:
            InvalidInput: The projection names no tables.
            ProjectionFailed: An event could not be applied; the next rebuild goes on from there.
        """
        return await Rebuild(self._pools, self._config.shards, self._stores, projection, self.worker_id, told).run()

    async def restored(self, shard: str) -> list[str]:
        """Put right what ran ahead of a shard that was restored to an earlier time, outside of its database.

        The shard's epoch rises, the cache forgets its tenants, and the projections that keep tables in ClickHouse are
        rebuilt, for those may hold what has not happened. Running it again does no harm.

        Returns:
            The names of the projections that were rebuilt.

        Cost: a look at every key of the cache; a rebuild of each such projection on all shards.
        """
        tenant_ids = await steering.raise_epoch(self._pools, shard_config(self._config, shard).urls.owner_url)
        await self._stores.cache.forget(f"{{{tenant_id}}}" for tenant_id in tenant_ids)
        ahead = [each for each in self.projections if isinstance(each, Projection) and each.tables]
        for projection in ahead:
            await self.rebuild(projection)
        return [projection.name for projection in ahead]

    async def parked(self, shard: str, name: str | None = None) -> list[ParkedEvent]:
        """Return the parked events of one projection, or of all, oldest first."""
        return await steering.parked(self._pools, self._url(shard), name)

    async def retry_parked(self, shard: str, projection: Following, aggregate_id: UUID) -> int:
        """Apply the parked events of one stream, in order, all or none. See `steering.retry_stream`."""
        return await steering.retry_stream(self._pools, self._url(shard), self._stores, projection, aggregate_id)
