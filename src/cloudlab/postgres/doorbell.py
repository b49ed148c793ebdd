"""The doorbells of a shard, one for its feed, one for its sagas: whoever looks by himself waits less with them.

They ring after the commit, from a transaction of their own: NOTIFY inside the appending transaction makes all commits
of the server wait for one another. Many appends within a few milliseconds ring once.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from typing import Final, Literal, LiteralString

import psycopg

from cloudlab.errors import CloudLabError
from cloudlab.postgres.pool import Pools, secure
from cloudlab.postgres.wire import Connection

log = logging.getLogger(__name__)

Bell = Literal["cloudlab_feed", "cloudlab_sagas"]
FEED: Final[Bell] = "cloudlab_feed"
SAGAS: Final[Bell] = "cloudlab_sagas"
_LISTEN: Final[dict[Bell, LiteralString]] = {FEED: "LISTEN cloudlab_feed", SAGAS: "LISTEN cloudlab_sagas"}
_QUIET_SECONDS = 0.005


class Doorbell:
    """Rings on the shards of one process."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._ringing: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, set[Bell]] = {}

    def ring(self, url: str, bells: Iterable[Bell]) -> None:
        """Wake whoever listens on this database, soon; never waits and never fails."""
        self._wanted.setdefault(url, set()).update(bells)
        if url not in self._ringing:
            self._ringing[url] = asyncio.create_task(self._ring(url))

    async def close(self) -> None:
        """Ring what is still to be rung."""
        await asyncio.gather(*self._ringing.values())

    async def _ring(self, url: str) -> None:
        try:
            while bells := self._wanted.pop(url, None):
                try:
                    async with self._pools.transaction(url) as transaction:
                        for bell in sorted(bells):
                            # It takes a transaction number and so writes to the log, but nobody needs it there.
                            transaction.queue(
                                """
                                SELECT /* doorbell.ring */ set_config('synchronous_commit', 'off', true),
                                       pg_notify(%(bell)s, '')
                                """,
                                bell=bell,
                            )
                except CloudLabError as error:
                    log.warning("the doorbell did not ring; readers look by themselves", extra={"error": repr(error)})
                    return
                await asyncio.sleep(_QUIET_SECONDS)
        finally:
            del self._ringing[url]


async def rings(url: str, bell: Bell, poll_seconds: float) -> AsyncGenerator[None]:
    """Yield at every ring, and at least every so many seconds; a lost connection is replaced, polling goes on."""
    while True:
        try:
            async with await Connection.connect(secure(url), autocommit=True) as connection:
                await connection.execute(_LISTEN[bell])
                while True:
                    yield
                    async for _ in connection.notifies(timeout=poll_seconds, stop_after=1):
                        pass
        except psycopg.OperationalError as error:
            log.warning("not listening for the doorbell; looking instead", extra={"error": repr(error)})
            await asyncio.sleep(poll_seconds)
            yield
