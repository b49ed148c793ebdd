"""Rebuilding a projection beside the live one, and swapping the two.

The copy has its own tables and checkpoints, so a rebuild that was killed goes on where it stood. Readers of the live
tables wait only for the swap itself, and never fail.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from cloudlab.analytics import Analytics
from cloudlab.config import ShardConfig
from cloudlab.errors import InvalidInput, LeaseLost, ProjectionFailed, TimedOut
from cloudlab.events.applying import REBUILD, apply_next
from cloudlab.events.lanes import Holder, Lane
from cloudlab.events.projections import LANES, Following, InlineProjection, Projection, ReadModel, Stores
from cloudlab.events.steering import ParkedEvent, parked, progress
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction

Told = Callable[[int, int], None]
"""Told how many positions of the feed a rebuild has passed and how many there are, over all lanes and shards."""

_LEASE_SECONDS = 30.0
_RENEW_SECONDS = 5.0
_TELL_SECONDS = 0.2
_SWAP_TRIES = 100
_FAILURES_BEFORE_GIVING_UP = 5
_PAUSE_SECONDS = 0.05
_LOCK_MILLISECONDS = "50"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One rebuild: of which projection, with what it is done, and who does it."""

    pools: Pools
    shards: tuple[ShardConfig, ...]
    stores: Stores
    projection: Following | InlineProjection
    worker_id: UUID
    told: Told | None = None

    async def run(self) -> float:
        """Build the copy, swap, and drop what was replaced; return for how many seconds the swap kept others waiting.

        Raises:
            InvalidInput: The projection names no tables, or something else refers to one of them.
            ProjectionFailed: An event could not be applied; what was built stays, the next rebuild goes on from it.
        """
        projection = self.projection
        if not projection.tables:
            raise InvalidInput(
                f"projection {projection.name} names no tables", hint="Give its tables=(…) to let it be rebuilt."
            )
        async with self._analytics_copy() as analytics:
            stores = replace(self.stores, analytics=analytics)
            for shard in self.shards:
                await self._begin(shard)
            await self._catch_up(stores)
            if isinstance(projection, InlineProjection):
                for shard in self.shards:
                    await self._refuse_parked(shard)
                waits = [await self._swap(shard, stores) for shard in self.shards]
            else:
                waits = await self._swap_paused(stores)
        for shard in self.shards:
            await self._clear(shard)
        return max(waits)

    @property
    def _is_inline(self) -> bool:
        return isinstance(self.projection, InlineProjection)

    @property
    def _tables(self) -> tuple[str, ...]:
        """The tables in PostgreSQL; those of a Projection are ClickHouse's."""
        return () if isinstance(self.projection, Projection) else self.projection.tables

    def _copy(self) -> Following:
        projection = self.projection
        if isinstance(projection, InlineProjection):
            return ReadModel(projection.name + REBUILD, projection.event_types, projection.apply, projection.tables)
        return replace(projection, name=projection.name + REBUILD)

    async def _begin(self, shard: ShardConfig) -> None:
        if self._is_inline and await self._parked(shard):
            await self._clear(shard)  # it lacks what it has parked, and nothing else would bring that back
        async with self.pools.transaction(shard.urls.owner_url) as transaction:
            transaction.queue(
                """
                SELECT /* rebuild.begin */ cloudlab.begin_rebuild(
                    %(name)s::varchar, %(tables)s::text[], %(lanes)s::integer)
                """,
                name=self.projection.name,
                tables=list(self._tables),
                lanes=LANES if isinstance(self.projection, InlineProjection) else self.projection.lanes,
            )

    async def _clear(self, shard: ShardConfig) -> None:
        async with self.pools.transaction(shard.urls.owner_url) as transaction:
            transaction.queue(
                "SELECT /* rebuild.clear */ cloudlab.clear_rebuild(%(name)s::varchar)", name=self.projection.name
            )

    async def _catch_up(self, stores: Stores) -> None:
        """Apply everything that is there when it begins, on all shards; what comes meanwhile would never end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for shard in self.shards:
                    tasks.create_task(self._catch_up_on(shard, stores))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _catch_up_on(self, shard: ShardConfig, stores: Stores, *, beyond_horizon: bool = False) -> None:
        holder = Holder(self.pools, shard.urls.worker_url, self._copy(), self.worker_id)
        target = await _last_position(self.pools, shard.urls.worker_url)
        lanes = await holder.claim(_LEASE_SECONDS)
        renewing = asyncio.create_task(_renew(holder))
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane in lanes:
                    tasks.create_task(self._drain(holder, stores, lane, target, beyond_horizon=beyond_horizon))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await holder.leave()
        await self._tell()

    async def _drain(self, holder: Holder, stores: Stores, lane: Lane, target: int, *, beyond_horizon: bool) -> None:
        upto, told, failures = lane.event_position, time.monotonic(), 0
        while upto < target:
            try:
                batch = await apply_next(holder, stores, lane, beyond_horizon=beyond_horizon)
            except LeaseLost as error:
                raise ProjectionFailed(
                    f"projection {self.projection.name} is being rebuilt by somebody else too",
                    hint="Wait for that rebuild to end.",
                ) from error
            except ProjectionFailed:
                failures += 1
                if failures == _FAILURES_BEFORE_GIVING_UP:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS * 2**failures)
                continue
            failures = 0
            if batch.upto == batch.after:
                return  # a writer is still open below what is left; what is above cannot be read yet
            upto = batch.upto
            if time.monotonic() - told > _TELL_SECONDS and not beyond_horizon:
                await self._tell()
                told = time.monotonic()

    async def _tell(self) -> None:
        if self.told is None:
            return
        done = total = 0
        for shard in self.shards:
            for item in await progress(self.pools, shard.urls.worker_url):
                if item.projection_name == self._copy().name:
                    done += item.event_position
                    total += item.event_position + item.lag_events
        self.told(done, total)

    async def _swap_paused(self, stores: Stores) -> list[float]:
        """Hold the live projection while the copy passes it, then swap; it goes on as the copy."""
        try:
            for shard in self.shards:
                await self._set_state(shard, "live", "swapping")
            await self._catch_up(stores)
            if isinstance(self.projection, Projection):
                await self._exchange(stores.analytics)
            return [await self._swap(shard, stores) for shard in self.shards]
        finally:
            for shard in self.shards:
                await self._set_state(shard, "swapping", "live")

    async def _set_state(self, shard: ShardConfig, earlier: str, state: str) -> None:
        """Change the state unless it is another: a projection that somebody has paused stays paused."""
        async with self.pools.transaction(shard.urls.owner_url) as transaction:
            transaction.queue(
                """
                UPDATE /* rebuild.set_state */ cloudlab.projections
                SET state = %(state)s WHERE projection_name = %(name)s AND state = %(earlier)s
                """,
                name=self.projection.name,
                earlier=earlier,
                state=state,
            )
            transaction.queue(
                """
                UPDATE /* rebuild.set_state */ cloudlab.projection_checkpoints
                SET owner_id = NULL, leased_until = NULL, lease_epoch = lease_epoch + 1
                WHERE projection_name = %(name)s
                """,
                name=self.projection.name,
            )

    async def _swap(self, shard: ShardConfig, stores: Stores) -> float:
        """Swap on one shard; return for how many seconds others had to wait."""
        for attempt in range(_SWAP_TRIES):
            try:
                async with self.pools.transaction(shard.urls.owner_url) as transaction:
                    return await self._swap_in(transaction, shard, stores)
            except TimedOut:
                if attempt == _SWAP_TRIES - 1:
                    raise
                # Somebody is at work on the tables: those behind us must not wait with us, so we come again.
                await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311  jitter, not a secret
        raise AssertionError("unreachable")

    async def _swap_in(self, transaction: Transaction, shard: ShardConfig, stores: Stores) -> float:
        transaction.queue(
            "SELECT /* rebuild.swap */ set_config('lock_timeout', %(milliseconds)s, true)",
            milliseconds=_LOCK_MILLISECONDS,
        )
        await transaction.execute(
            "SELECT /* rebuild.swap */ cloudlab.lock_live_tables(%(tables)s::text[])", tables=list(self._tables)
        )
        started = time.monotonic()
        if self._is_inline:
            # Whoever wrote to the live tables has committed, or we would not have them; whoever has appended and not
            # yet written waits for us and then writes to the new ones. So what is visible now is what was missing.
            await self._catch_up_on(shard, stores, beyond_horizon=True)
            await self._refuse_parked(shard)
        await transaction.execute(
            """
            SELECT /* rebuild.swap */ cloudlab.finish_rebuild(
                %(name)s::varchar, %(tables)s::text[], %(inline)s::boolean)
            """,
            name=self.projection.name,
            tables=list(self._tables),
            inline=self._is_inline,
        )
        await transaction.commit()
        return time.monotonic() - started

    async def _refuse_parked(self, shard: ShardConfig) -> None:
        """Keep the live tables of an inline projection: it parks nothing, so what the copy has parked would be lost."""
        for event in await self._parked(shard):
            raise ProjectionFailed(
                f"projection {self.projection.name} cannot apply event {event.event_position} ({event.event_type}) of "
                f"{event.aggregate_id}: {event.last_error}",
                hint="The live tables are as they were. Mend the projection and rebuild it again.",
            )

    async def _parked(self, shard: ShardConfig) -> list[ParkedEvent]:
        return await parked(self.pools, shard.urls.worker_url, self._copy().name, limit=1)

    @asynccontextmanager
    async def _analytics_copy(self) -> AsyncGenerator[Analytics]:
        """Give the copy a database of its own in ClickHouse, with empty tables like the live ones."""
        if not isinstance(self.projection, Projection):
            yield self.stores.analytics
            return
        copy, is_new = await self.stores.analytics.shadow(self.projection.name, self.projection.tables)
        try:
            if is_new:
                # Checkpoints of a copy that is gone: its tables are empty, so it begins at the beginning.
                for shard in self.shards:
                    await self._clear(shard)
            yield copy
        finally:
            await copy.close()

    async def _exchange(self, copy: Analytics) -> None:
        assert isinstance(self.projection, Projection)
        await self.stores.analytics.exchange(copy, self.projection.tables)


async def _last_position(pools: Pools, worker_url: str) -> int:
    def position(position: int) -> int:
        return position

    async with pools.transaction(worker_url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* rebuild.last_position */ coalesce(max(e.event_position), 0) AS position FROM cloudlab.events AS e
            """
        )
        return result.rows(position)[0]


async def _renew(holder: Holder) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await holder.claim(_LEASE_SECONDS)
