"""A worker's share of a projection: it claims lanes, applies what comes in them, and gives them back.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import logging
from collections.abc import Callable

from cloudlab.errors import CloudLabError, LeaseLost
from cloudlab.events.applying import apply_next
from cloudlab.events.lanes import LEASE_SECONDS, Holder, Lane
from cloudlab.events.projections import Projection, Stores
from cloudlab.events.watch import POLL_SECONDS, Interest, Watch

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0


class Follower:
    """One projection of one shard in one worker."""

    def __init__(self, holder: Holder, stores: Stores, watch: Watch, applied: Callable[[int], None]) -> None:
        """Take what to follow, and whom to tell how many events each batch had."""
        self._holder = holder
        self._stores = stores
        self._watch = watch
        self._applied = applied
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lanes: dict[int, Lane] = {}
        self._surplus: set[int] = set()
        self._lost = asyncio.Event()
        self.failures = 0
        self.last_failure: CloudLabError | None = None

    @property
    def lanes(self) -> set[int]:
        """The lanes this worker is at work on."""
        return set(self._tasks)

    async def run(self) -> None:
        """Follow until cancelled, then give every lane back."""
        try:
            while True:
                try:
                    await self._share()
                except CloudLabError as error:
                    log.warning("no lanes claimed", extra=self._about(error))
                await self._until_next_claim()
        finally:
            await self._end(list(self._tasks))
            try:
                await self._holder.leave()
            except CloudLabError as error:
                log.warning("lanes not given back; their leases will end", extra=self._about(error))

    def _about(self, error: Exception) -> dict[str, str]:
        return {"projection": self._holder.projection.name, "error": repr(error)}

    async def _until_next_claim(self) -> None:
        try:
            async with asyncio.timeout(LEASE_SECONDS / 4):
                await self._lost.wait()
        except TimeoutError:
            return
        self._lost.clear()
        await asyncio.sleep(POLL_SECONDS)

    async def _share(self) -> None:
        """Bring the lanes at work in line with those the server says this worker has."""
        mine = {lane.lane: lane for lane in await self._holder.claim()}
        gone = [
            number
            for number, task in self._tasks.items()
            if number not in mine or mine[number].lease_epoch != self._lanes[number].lease_epoch or task.done()
        ]
        await self._end(gone)
        self._surplus = {number for number, lane in mine.items() if lane.is_surplus}
        for number, lane in mine.items():
            if number not in self._tasks:
                self._lanes[number] = lane
                self._tasks[number] = asyncio.create_task(self._listen(lane))

    async def _end(self, numbers: list[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _rest(self) -> None:
        projection = self._holder.projection
        if isinstance(projection, Projection) and not self._watch.hurries:
            await asyncio.sleep(projection.rest_seconds)

    async def _listen(self, lane: Lane) -> None:
        with self._watch.interest(self._holder.projection, lane.lane) as interest:
            await self._follow(lane, interest)

    async def _follow(self, lane: Lane, interest: Interest) -> None:
        """Apply batch after batch of one lane, until the lane is lost or there are workers enough without this one."""
        seen, pause = -1, 0.0
        while lane.lane not in self._surplus:
            try:
                await interest.beyond(seen)
                if (horizon := self._watch.horizon) == seen:
                    continue
                batch = await apply_next(self._holder, self._stores, lane)
            except LeaseLost:
                self._lost.set()
                return
            except CloudLabError as error:
                # Logged and put on record where it happened; here it only slows this lane down.
                self.failures += 1
                self.last_failure = error
                pause = min(max(pause * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
                continue
            pause, self.failures = 0.0, 0
            if batch.upto == batch.after or batch.upto >= horizon:
                seen = max(batch.upto, horizon)
            self._applied(batch.event_count)
            if batch.event_count:
                await self._rest()
        await self._holder.release(lane)
        self._lost.set()
