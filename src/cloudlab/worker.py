"""The worker: the loops that run behind the requests.

Any number of workers may run; each projection of each shard is advanced by one of them at a time.

Standard: §3.1 Eventual Consistency (AP from CAP), §7.1 Time-Based Partitioning
"""

import asyncio
import logging
from collections.abc import Callable

from cloudlab.errors import CloudLabError
from cloudlab.events.projections import Projection
from cloudlab.platform import Platform

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_PARTITIONS_EVERY_SECONDS = 3600.0
_LONGEST_BACKOFF_SECONDS = 30.0
_FAILURES_BEFORE_GIVING_UP = 5


class Worker:
    """Runs the asynchronous projections that the platform was opened with, on every shard."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def run(self) -> None:
        """Work until cancelled. A failing projection is retried with growing pauses and holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for shard in self._platform.config.shards:
                tasks.create_task(self._keep_partitions(shard.name))
                for projection in self._platform.projections:
                    tasks.create_task(self._follow(shard.name, projection))

    async def run_until_caught_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Apply everything committed so far and return how many events were read.

        Args:
            progress: Told the number of events read in each batch.

        Raises:
            CloudLabError: A projection failed five times in a row; its checkpoint stands before the batch that failed.
        """
        runs = [
            self._drain(shard.name, projection, progress)
            for shard in self._platform.config.shards
            for projection in self._platform.projections
        ]
        return sum(await asyncio.gather(*runs))

    async def _drain(self, shard: str, projection: Projection, progress: Callable[[int], None] | None) -> int:
        total = failures = 0
        while True:
            try:
                count = await self._platform.run_projection(shard, projection)
            except CloudLabError:
                failures += 1
                if failures == _FAILURES_BEFORE_GIVING_UP:
                    raise
                await asyncio.sleep(0.1 * 2**failures)
                continue
            failures = 0
            total += count
            if progress and count:
                progress(count)
            if not count:
                if await self._lag(shard, projection) == 0:
                    return total
                await asyncio.sleep(_POLL_SECONDS / 5)  # another worker holds it, or a writer is still open

    async def _lag(self, shard: str, projection: Projection) -> int:
        known = {item.projection_name: item.lag_events for item in await self._platform.progress(shard)}
        return known.get(projection.name, 1)

    async def _follow(self, shard: str, projection: Projection) -> None:
        pause = _POLL_SECONDS
        while True:
            try:
                count = await self._platform.run_projection(shard, projection)
                pause = 0.0 if count else _POLL_SECONDS
            except CloudLabError:
                # Logged and put on record where it happened; here it only slows this projection down.
                pause = min(max(pause, _POLL_SECONDS) * 2, _LONGEST_BACKOFF_SECONDS)
            await asyncio.sleep(pause)

    async def _keep_partitions(self, shard: str) -> None:
        while True:
            try:
                made = await self._platform.ensure_partitions(shard)
                log.info("partitions ensured", extra={"shard": shard, "made": made})
            except CloudLabError as error:
                log.warning("partitions not ensured", extra={"shard": shard, "error": repr(error)})
            await asyncio.sleep(_PARTITIONS_EVERY_SECONDS)
