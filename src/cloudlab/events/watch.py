"""Watching the feed of one shard for all readers of a process, and waking those for whom there is something to read.

One look for all of them: it says which lanes and types have new events, so a commit costs the lanes it matters to, and
an idle shard a few tiny queries a second, however many its lanes.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import contextlib
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cloudlab.errors import CloudLabError
from cloudlab.events.projections import Following
from cloudlab.postgres.doorbell import FEED, rings
from cloudlab.postgres.pool import Pools

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
_IDLE_SECONDS = 1.0

_News = tuple[int, int | None, str | None]


@dataclass(slots=True, eq=False)
class Interest:
    """What one lane waits for; `horizon` is how far the feed could be read when there last was something for it."""

    lane: int
    lanes: int
    event_types: frozenset[str]
    horizon: int
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, lane: int, event_type: str | None) -> bool:
        """Return whether events of one lane of 256 and a type are for this one."""
        return lane & (self.lanes - 1) == self.lane and event_type in self.event_types

    def wake(self, horizon: int) -> None:
        """Tell of something to read."""
        self.horizon = horizon
        self._woken.set()

    async def beyond(self, position: int) -> None:
        """Wait for something to read behind a position, a second at most: then checkpoints may follow the feed."""
        self._woken.clear()
        if self.horizon <= position:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._woken.wait()


class Watch:
    """Knows how far the feed of one shard can be read, and wakes the lanes that have something to read there."""

    def __init__(self, pools: Pools, url: str, *, hurries: bool) -> None:
        """Take the feed, and whether every checkpoint must follow at once: then all lanes wake and none rests."""
        self.horizon = -1
        self.hurries = hurries
        self._pools = pools
        self._url = url
        self._interests: set[Interest] = set()

    async def run(self) -> None:
        """Look at every ring of the doorbell, and by itself in between, until cancelled."""
        async with contextlib.aclosing(rings(self._url, FEED, POLL_SECONDS)) as ringing:
            async for _ in ringing:
                try:
                    await self.look()
                except CloudLabError as error:
                    log.warning("the feed cannot be read", extra={"error": repr(error)})

    @contextmanager
    def interest(self, projection: Following, lane: int) -> Generator[Interest]:
        """Be woken for a lane of a projection meanwhile; what is there already counts as something to read."""
        interest = Interest(lane, projection.lanes, projection.event_types, self.horizon)
        self._interests.add(interest)
        try:
            yield interest
        finally:
            self._interests.discard(interest)

    async def look(self) -> None:
        """Ask once. Cost: one round trip and COMMIT."""

        def row(horizon: int, lane: int | None, event_type: str | None) -> _News:
            return horizon, lane, event_type

        async with self._pools.transaction(self._url) as transaction:
            result = await transaction.execute(
                """
                SELECT /* watch.look */ n.horizon, n.lane, n.event_type FROM cloudlab.feed_news(%(after)s::bigint) AS n
                """,
                after=self.horizon,
            )
        self._tell(result.rows(row))

    def _tell(self, news: list[_News]) -> None:
        if (horizon := news[0][0]) == self.horizon:
            return
        is_first, self.horizon = self.horizon < 0, horizon
        everything = self.hurries or is_first or any(lane is None for _, lane, _ in news)
        for interest in self._interests:
            if everything or any(interest.matches(lane, kind) for _, lane, kind in news if lane is not None):
                interest.wake(horizon)
