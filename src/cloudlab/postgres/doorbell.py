"""The doorbell of the feed: it shortens the wait of readers, who look by themselves too.

It rings after the commit, from a transaction of its own: NOTIFY inside the appending transaction makes all commits of
the server wait for one another. Many appends within a few milliseconds ring once.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import logging
from collections.abc import AsyncGenerator

import psycopg

from cloudlab.errors import CloudLabError
from cloudlab.postgres.pool import Pools, secure
from cloudlab.postgres.wire import Connection

log = logging.getLogger(__name__)

_QUIET_SECONDS = 0.005


class Doorbell:
    """Rings on the shards of one process."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._ringing: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def ring(self, url: str) -> None:
        """Wake whoever listens on this database, soon; never waits and never fails."""
        if url in self._ringing:
            self._again.add(url)
        else:
            self._ringing[url] = asyncio.create_task(self._ring(url))

    async def close(self) -> None:
        """Ring what is still to be rung."""
        await asyncio.gather(*self._ringing.values())

    async def _ring(self, url: str) -> None:
        try:
            while True:
                self._again.discard(url)
                try:
                    async with self._pools.transaction(url) as transaction:
                        transaction.queue("SELECT /* doorbell.ring */ pg_notify('cloudlab_feed', '')")
                except CloudLabError as error:
                    log.warning("the doorbell did not ring; readers look by themselves", extra={"error": repr(error)})
                    return
                await asyncio.sleep(_QUIET_SECONDS)
                if url not in self._again:
                    return
        finally:
            del self._ringing[url]


async def rings(url: str, poll_seconds: float) -> AsyncGenerator[None]:
    """Yield at every ring, and at least every so many seconds; a lost connection is replaced, polling goes on."""
    while True:
        try:
            async with await Connection.connect(secure(url), autocommit=True) as connection:
                await connection.execute("LISTEN cloudlab_feed")
                while True:
                    yield
                    async for _ in connection.notifies(timeout=poll_seconds, stop_after=1):
                        pass
        except psycopg.OperationalError as error:
            log.warning("not listening for the doorbell; looking instead", extra={"error": repr(error)})
            await asyncio.sleep(poll_seconds)
            yield
