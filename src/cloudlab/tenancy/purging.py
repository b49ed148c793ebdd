"""Deleting dropped tenants once their grace is over: keys first, then rows, schema, cache, analytics, the directory.

One statement of the control database begins it and makes it final: `resume` is refused from then on. Everything behind
it finds what it has done already, in batches of a bounded size, so whoever comes next goes on where another was killed.
What stays is the record (`purges`), that of moves and erasures, and the block of positions a move has taken.

Standard: §4.2 Tenant Configuration, §8.2 Soft Deletion, §9.1 Encryption at Rest
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg

from cloudlab.analytics import Analytics
from cloudlab.cache import Cache
from cloudlab.config import Config
from cloudlab.errors import from_postgres
from cloudlab.postgres.pool import Pools, secure
from cloudlab.postgres.wire import Connection
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.tenancy import move_ends, move_places, moves
from cloudlab.tenancy.move_rows import connect
from cloudlab.tenancy.move_tables import discover
from cloudlab.tenancy.moves import At, MoveState, nowhere
from cloudlab.tenancy.tenants import shard_config

_KEYS: Final = ("tenant_keys", "subject_keys")
_MOVES_LOCK: Final = 20545


@dataclass(frozen=True, slots=True)
class Purge:
    """A dropped tenant whose data goes or has gone."""

    tenant_id: UUID
    tenant_name: str
    shard: str
    schema_name: str | None
    deleted_count: int
    created_at: datetime
    finished_at: datetime | None


class Purges:
    """The deletions of an installation; any number of processes may carry them on."""

    def __init__(self, config: Config, pools: Pools, cache: Cache, analytics: Analytics) -> None:
        self._config = config
        self._pools = pools
        self._cache = cache
        self._analytics = analytics

    async def carry_on(self, at: At = nowhere) -> int:
        """Delete every tenant whose grace is over, and go on with what was cut off; return how many are gone now.

        Args:
            at: Told each point at which the process could die.

        Raises:
            Unavailable: A server is away; the same call goes on.
        """
        await self._begin_due()
        done = 0
        for purge in await self.list():
            if purge.finished_at is None:
                async with self._alone(purge.tenant_id) as is_mine:
                    if is_mine:
                        await self._purge(purge, at)
                        done += 1
        return done

    async def list(self) -> list[Purge]:
        """Return all deletions, those that have ended too, oldest first."""
        async with self._pools.transaction(self._config.control.owner_url) as control:
            found = await control.execute(
                """
                SELECT /* purging.list */ p.tenant_id, p.tenant_name, p.shard_name AS shard, t.schema_name,
                       p.deleted_count, p.created_at, p.finished_at
                FROM cloudlab.purges AS p LEFT JOIN cloudlab.tenants AS t ON t.tenant_id = p.tenant_id
                ORDER BY p.created_at
                """
            )
            return found.rows(Purge)

    async def _begin_due(self) -> None:
        """Put on record who is due. The tenant's row is locked first, so `resume` comes before or is refused."""
        async with self._pools.transaction(self._config.control.owner_url) as control:
            control.queue(
                """
                WITH due AS (
                    SELECT t.tenant_id, t.tenant_name FROM cloudlab.tenants AS t
                    WHERE t.drop_after < now() AND t.pending IS NULL
                    FOR UPDATE SKIP LOCKED
                ), begun AS (
                    UPDATE cloudlab.placements AS p SET state = 'dropping' FROM due AS d, cloudlab.shards AS s
                    WHERE p.tenant_id = d.tenant_id AND s.shard_id = p.shard_id AND p.state = 'open'
                      AND NOT EXISTS (
                          SELECT FROM cloudlab.moves AS m WHERE m.tenant_id = d.tenant_id
                            AND m.state IN ('planned', 'copying', 'following', 'flipped', 'published'))
                    RETURNING d.tenant_id, d.tenant_name, s.shard_name
                )
                INSERT /* purging.begin */ INTO cloudlab.purges (tenant_id, tenant_name, shard_name)
                SELECT b.tenant_id, b.tenant_name, b.shard_name FROM begun AS b
                """
            )

    @asynccontextmanager
    async def _alone(self, tenant_id: UUID) -> AsyncGenerator[bool]:
        """Take the lock of the tenant's moves; False when another process has it."""
        url = self._config.control.owner_url
        try:
            async with await Connection.connect(secure(url), autocommit=True) as alone:
                found = await alone.execute(
                    "SELECT /* purging.alone */ pg_try_advisory_lock(%s, hashtext(%s))", [_MOVES_LOCK, str(tenant_id)]
                )
                yield (await found.fetchone() or (False,))[0]
        except psycopg.Error as error:
            raise from_postgres(error) from error

    async def _purge(self, purge: Purge, at: At) -> None:
        for move in await moves.find(self._pools, self._config.control.owner_url, purge.tenant_id, (MoveState.GRACE,)):
            left = await move_ends.clear_source(shard_config(self._config, move.source).urls.owner_url, move)
            await self._count(purge, left)
            await moves.advance(self._pools, self._config.control.owner_url, move, MoveState.FINISHED)
        at("sources cleared")
        await self._clear_shard(purge, at)
        await self._cache.forget([f"{{{purge.tenant_id}}}"])
        await self._analytics.forget_tenant(purge.tenant_id)
        at("copies gone")
        await self._forget(purge)

    async def _clear_shard(self, purge: Purge, at: At) -> None:
        url, schema = shard_config(self._config, purge.shard).urls.owner_url, purge.schema_name or SHOP_SCHEMA
        async with await connect(url, purge.tenant_id, writes_copies=True) as conn:
            tables = await discover(conn, schema, platform=True)
            # The keys go first: what they sealed is lost with them, whatever happens to the rest.
            tables.sort(key=lambda table: table.name not in _KEYS)
            await move_places.purge_archive(conn)
            for table in tables:
                if table.is_platform or schema == SHOP_SCHEMA:
                    await self._count(purge, await move_places.purge(conn, schema, [table], drop_schema=False))
                    at("table cleared")
            await move_places.purge(conn, schema, [], drop_schema=True)
            await conn.execute(
                "DELETE /* purging.clear_shard */ FROM cloudlab.parked_events WHERE tenant_id = %s", [purge.tenant_id]
            )
        # Where it lived before, a tombstone says where it went; those go too.
        for shard in self._config.shards:
            async with await connect(shard.urls.owner_url, purge.tenant_id) as conn:
                await conn.execute(
                    "DELETE /* purging.clear_shard */ FROM cloudlab.tenant_local WHERE tenant_id = %s",
                    [purge.tenant_id],
                )
        at("shard cleared")

    async def _count(self, purge: Purge, rows: int) -> None:
        async with self._pools.transaction(self._config.control.owner_url) as control:
            control.queue(
                """
                UPDATE /* purging.count */ cloudlab.purges SET deleted_count = deleted_count + %(rows)s::bigint
                WHERE tenant_id = %(tenant_id)s::uuid
                """,
                tenant_id=purge.tenant_id,
                rows=rows,
            )

    async def _forget(self, purge: Purge) -> None:
        """Take the tenant out of the directory, and say that nothing is left: one transaction."""
        async with self._pools.transaction(self._config.control.owner_url) as control:
            control.queue(
                "DELETE /* purging.forget */ FROM cloudlab.tenants WHERE tenant_id = %(tenant_id)s::uuid",
                tenant_id=purge.tenant_id,
            )
            control.queue(
                """
                UPDATE /* purging.forget */ cloudlab.purges SET finished_at = now()
                WHERE tenant_id = %(tenant_id)s::uuid
                """,
                tenant_id=purge.tenant_id,
            )
