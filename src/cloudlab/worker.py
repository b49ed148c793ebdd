"""The worker: the loops that run behind the requests.

Any number of workers may run: they divide the lanes of each projection of each shard among themselves.

Standard: §3.1 Eventual Consistency (AP from CAP), §7.1 Time-Based Partitioning
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from cloudlab.errors import CloudLabError, ProjectionFailed
from cloudlab.events.follower import Follower
from cloudlab.events.steering import Progress
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.03
_PARTITIONS_EVERY_SECONDS = 3600.0
_ARCHIVE_EVERY_SECONDS = 3600.0
_TENANTS_EVERY_SECONDS = 10.0
_FAILURES_BEFORE_GIVING_UP = 5


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be looked after for every tenant again and again; `work` says how much there was to do.

    Every worker does every chore, so it must bear that others do it at the same time.
    """

    name: str
    every_seconds: float
    work: Callable[[Platform, Tenant], Awaitable[int]]


class Worker:
    """Runs the asynchronous projections and the sagas that the platform was opened with, on every shard, and chores."""

    def __init__(self, platform: Platform, *, chores: Sequence[Chore] = ()) -> None:
        self._platform = platform
        self._chores = tuple(chores)
        self._applied = 0
        self._followers: dict[tuple[str, str], Follower] = {}

    @property
    def lanes(self) -> dict[tuple[str, str], set[int]]:
        """The lanes this worker is at work on, by shard and projection."""
        return {place: follower.lanes for place, follower in self._followers.items()}

    async def run(self) -> None:
        """Work until cancelled. A failing lane is retried with growing pauses and holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for shard in self._platform.config.shards:
                tasks.create_task(self._keep_partitions(shard.name))
                tasks.create_task(self._keep_archiving(shard.name))
                if self._platform.sagas.definitions:
                    tasks.create_task(self._platform.sagas.runner(shard.name).run())
            for chore in self._chores:
                tasks.create_task(self._keep_doing(chore))
            tasks.create_task(self._keep_tenants())
            tasks.create_task(self._follow_all())

    async def run_until_caught_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Apply everything committed so far and return how many events were applied.

        Args:
            progress: Told how many positions of the feed were passed since the last time, over all lanes.

        Raises:
            ProjectionFailed: A lane failed five times in a row; its checkpoint stands before the batch that failed.
        """
        before = self._applied
        following = asyncio.create_task(self._follow_all(hurries=True))
        try:
            left: int | None = None
            while left != 0:
                await asyncio.wait([following], timeout=_LOOK_SECONDS)
                if following.done():
                    following.result()
                self._check_failures()
                now = await self._left()
                if progress and left is not None and now is not None and now < left:
                    progress(left - now)
                left = now
        finally:
            following.cancel()
            await asyncio.wait([following])
        return self._applied - before

    async def _left(self) -> int | None:
        """Return how many positions are still to be passed, None while a projection is not known yet."""
        names = {projection.name for projection in self._platform.readers.projections}
        left = 0
        for shard in self._platform.config.shards:
            progress = await self._platform.readers.progress(shard.name)
            lanes = [item for item in progress if item.projection_name in names]
            if {item.projection_name for item in lanes} != names:
                return None
            for item in lanes:
                _refuse_paused(shard.name, item)
                left += item.lag_events
        return left

    def _check_failures(self) -> None:
        for follower in self._followers.values():
            if follower.failures >= _FAILURES_BEFORE_GIVING_UP and follower.last_failure:
                raise follower.last_failure

    def _count(self, events: int) -> None:
        self._applied += events

    async def _follow_all(self, *, hurries: bool = False) -> None:
        readers = self._platform.readers
        async with asyncio.TaskGroup() as tasks:
            for shard in self._platform.config.shards:
                watch = readers.watch(shard.name, hurries=hurries)
                tasks.create_task(watch.run())
                for projection in readers.projections:
                    follower = readers.follower(shard.name, projection, watch, self._count)
                    self._followers[shard.name, projection.name] = follower
                    tasks.create_task(follower.run())

    async def _keep_partitions(self, shard: str) -> None:
        while True:
            try:
                made = await self._platform.ensure_partitions(shard)
                log.info("partitions ensured", extra={"shard": shard, "made": made})
            except CloudLabError as error:
                log.warning("partitions not ensured", extra={"shard": shard, "error": repr(error)})
            await asyncio.sleep(_PARTITIONS_EVERY_SECONDS)

    async def _keep_archiving(self, shard: str) -> None:
        keep = timedelta(days=self._platform.config.housekeeping.saga_days)
        while True:
            try:
                if moved := await self._platform.sagas.archive(shard, older_than=keep):
                    log.info("sagas archived", extra={"shard": shard, "sagas": moved})
            except CloudLabError as error:
                log.warning("sagas not archived", extra={"shard": shard, "error": repr(error)})
            await asyncio.sleep(_ARCHIVE_EVERY_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311  jitter

    async def _keep_tenants(self) -> None:
        """Finish what others were kept from: verbs on tenants, moves behind their flip, what is kept no longer."""
        grace = timedelta(hours=self._platform.config.housekeeping.move_grace_hours)
        while True:
            try:
                finished = await self._platform.finish_tenants()
                moved = await self._platform.moves.carry_on(grace=grace)
                purged = await self._platform.purges.carry_on()
                if finished or moved or purged:
                    log.info("tenants looked after", extra={"verbs": finished, "moves": moved, "purged": purged})
            except CloudLabError as error:
                log.warning("tenants not looked after", extra={"error": repr(error)})
            await asyncio.sleep(_TENANTS_EVERY_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311  jitter

    async def _keep_doing(self, chore: Chore) -> None:
        """Do a chore for one tenant after the other, then pause; what fails for one keeps no other from it."""
        while True:
            try:
                tenants = [tenant for tenant in await self._platform.tenants() if tenant.is_active]
            except CloudLabError as error:
                log.warning("chore not begun", extra={"chore": chore.name, "error": repr(error)})
                tenants = []
            for tenant in tenants:
                about = {"chore": chore.name, "tenant": tenant.tenant_name}
                try:
                    if done := await chore.work(self._platform, tenant):
                        log.info("chore done", extra=about | {"done": done})
                except CloudLabError as error:
                    log.warning("chore not done", extra=about | {"error": repr(error)})
            await asyncio.sleep(chore.every_seconds * random.uniform(0.75, 1.25))  # noqa: S311  jitter, not a secret


def _refuse_paused(shard: str, item: Progress) -> None:
    """Refuse to wait for a lane that will not move."""
    if item.state == "paused" and item.lag_events:
        raise ProjectionFailed(
            f"projection {item.projection_name} is paused on {shard}",
            hint="`cloudlab projection resume` lets it go on.",
        )
