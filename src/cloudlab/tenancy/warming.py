"""Getting to know a shard before a tenant arrives there: connections opened, statements prepared and planned.

A fresh connection answers its first order ten times slower than its hundredth, and a pool opens one after the other.
When a tenant is about to move, its shard says so to whoever works in it (a notice of `enter_tenant`); what happens then
happens beside the work, and nothing depends on it.

Standard: §5.3 Connection Pooling, §7.2 Tenant-Based Sharding
"""

import asyncio
import logging
import re
import time
from typing import Final

import psycopg
from psycopg.errors import Diagnostic

from cloudlab.config import Config, DatabaseUrls
from cloudlab.errors import CloudLabError
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.wire import Command, Connection, exchange
from cloudlab.tenancy.tenants import shard_config

log = logging.getLogger(__name__)

LEAVING: Final = "CL004"
_AGAIN_SECONDS = 30.0
_MOST_STATEMENTS = 100
_NUMBER = re.compile(rb"\$(\d+)")
_CONTROL = (b"BEGIN", b"COMMIT", b"ROLLBACK", b"SAVEPOINT")
_BEGIN = Command(b"BEGIN READ ONLY")
_ROLLBACK = Command(b"ROLLBACK")


class Warming:
    """Listens to the shards of one process for tenants that are about to leave, and makes the next shard ready."""

    def __init__(self, pools: Pools, config: Config) -> None:
        self._pools = pools
        self._config = config
        self._begun: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        pools.hear(self._heard)

    def _heard(self, url: str, notice: Diagnostic) -> None:
        if notice.sqlstate != LEAVING or not notice.message_detail:
            return
        place = url, notice.message_detail
        if time.monotonic() - self._begun.get(place, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            return
        self._begun[place] = time.monotonic()
        task = asyncio.create_task(self._warm(*place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _warm(self, url: str, told: str) -> None:
        shard, schema = told.split()
        try:
            there = _same_duty(self._config, url, shard_config(self._config, shard).urls)
            if there is None or there == url:
                return
            async with self._pools.connection(url) as known:
                statements = [each for each in known.prepared if not each.sql.startswith(_CONTROL)]
            wanted = self._pools.size(url)
            await self._pools.grow(there, wanted)
            for _ in range(wanted):
                async with self._pools.connection(there) as connection:
                    if not connection.prepared:
                        await rehearse(connection, statements[:_MOST_STATEMENTS], schema)
        except (psycopg.Error, CloudLabError) as error:
            log.info("a shard was not made ready", extra={"shard": shard, "error": repr(error)})


def _same_duty(config: Config, url: str, there: DatabaseUrls) -> str | None:
    for shard in config.shards:
        for mine, theirs in ((shard.urls.app_url, there.app_url), (shard.urls.readonly_url, there.readonly_url)):
            if url == mine:
                return theirs
    return None


async def rehearse(connection: Connection, statements: list[Command], schema: str) -> None:
    """Prepare statements and run each for no tenant, with NULLs, read only: it finds nothing, but is planned then.

    Cost: two round trips a statement.
    """
    context = Command(
        b"SELECT /* warming.rehearse */ set_config('search_path', $1, true),"
        b" set_config('statement_timeout', '1s', true)",
        (f"{schema}, cloudlab, pg_temp".encode(),),
    )
    for each in statements:
        many = max((int(number) for number in _NUMBER.findall(each.sql)), default=0)
        try:
            await exchange(connection, [_BEGIN, context, Command(each.sql, (None,) * many, each.schema)])
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            pass  # it wanted to write, or a tenant
        await exchange(connection, [_ROLLBACK])
