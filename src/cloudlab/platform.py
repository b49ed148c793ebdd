"""The platform: it opens the stores and hands out sessions.

    request ─ platform.session(tenant) ─ shard ─ BEGIN, tenant set ─ verb ─ events.append ─ COMMIT

Standard: §1.1 Technology Stack
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from cloudlab import config as configuration
from cloudlab.analytics import Analytics
from cloudlab.cache import Cache
from cloudlab.combining import MOST_TOGETHER, Combiner
from cloudlab.config import Config
from cloudlab.crypto import Keyring, MasterKeys
from cloudlab.errors import CloudLabError, SerializationFailed, TenantSuspended, Unavailable, WrongShard
from cloudlab.events import feed
from cloudlab.events.projections import Following, InlineProjection, Stores
from cloudlab.events.readers import Readers
from cloudlab.events.together import StreamAppend, append_each
from cloudlab.postgres.doorbell import Doorbell
from cloudlab.postgres.pool import Pools
from cloudlab.sagas.definition import Saga
from cloudlab.sagas.running import Sagas
from cloudlab.sagas.waiting import waker
from cloudlab.session import Scope, Session, open_session
from cloudlab.tenancy import tenants
from cloudlab.tenancy.limiter import Limiter, SettingsBook, limited
from cloudlab.tenancy.moves import Move, Told
from cloudlab.tenancy.moving import Moves
from cloudlab.tenancy.purging import Purges
from cloudlab.tenancy.replicas import Replicas
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.tenancy.verbs import TenantVerbs
from cloudlab.tenancy.warming import Warming
from cloudlab.values import NO_CAUSE, Cause, Event, Stream

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")

_ATTEMPTS = 5


class Platform(TenantVerbs):
    """A whole installation, as one process holds it: pools, cache, analytics, and the directory's answers."""

    def __init__(
        self,
        config: Config,
        pools: Pools,
        stores: Stores,
        projections: Sequence[InlineProjection | Following],
        doorbell: Doorbell,
        combiners: dict[tuple[UUID, object], Combiner[Any, Any]],
        sagas: Sequence[Saga] = (),
    ) -> None:
        self.config = config
        self.cache = stores.cache
        self.analytics = stores.analytics
        wakes = waker(sagas)
        self.readers = Readers(config, pools, stores, [*projections, wakes] if wakes else projections)
        self.sagas = Sagas(config, pools, self, sagas)
        self.moves = Moves(config, pools)
        self.purges = Purges(config, pools, stores.cache, stores.analytics)
        self._pools = pools
        self._doorbell = doorbell
        self._inline = tuple(item for item in projections if isinstance(item, InlineProjection))
        self._keyring = stores.keyring
        self._routes: dict[str | UUID, Tenant] = {}
        self._combiners = combiners
        self._replicas = Replicas(pools)
        self._warming = Warming(pools, config)
        self._limiter = Limiter(config.limits.pool_timeout_seconds)
        self._settings = SettingsBook(lambda tenant_id: tenants.find(pools, config, tenant_id))

    def __repr__(self) -> str:
        return f"<Platform of {', '.join(shard.name for shard in self.config.shards)}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: Config | str | Path | None = None,
        *,
        projections: Sequence[InlineProjection | Following] = (),
        sagas: Sequence[Saga] = (),
        master_keys: MasterKeys | None = None,
    ) -> AsyncGenerator["Platform"]:
        """Open the stores of an installation; leaving the block closes every connection.

        Args:
            config: A configuration, the path of a `cloudlab.toml`, or None for what is found here.
            projections: Inline ones run in every session of this platform; a worker runs the others.
            sagas: What a worker of this platform can run: every version of which one may still be under way.
            master_keys: A KMS that hands out the master keys; asked once, its keys are added to the configured ones.

        Raises:
            ConfigError: There is no usable configuration.

        Cost: none; every store is connected when first used.
        """
        loaded = config if isinstance(config, Config) else configuration.load(config)
        async with AsyncExitStack() as stack:
            keys = {**loaded.master_keys, **(await master_keys.load() if master_keys else {})}
            pools = await stack.enter_async_context(Pools(loaded.limits))
            cache = Cache.connect(loaded.cache_url)
            stack.push_async_callback(cache.close)
            analytics = Analytics(loaded.analytics_url)
            stack.push_async_callback(analytics.close)
            combiners: dict[tuple[UUID, object], Combiner[Any, Any]] = {}
            stack.push_async_callback(_close_all, combiners)
            doorbell = Doorbell(pools)
            stack.push_async_callback(doorbell.close)
            stores = Stores(cache, analytics, Keyring(keys))
            platform = cls(loaded, pools, stores, projections, doorbell, combiners, sagas)
            stack.push_async_callback(platform._settings.close)
            stack.push_async_callback(platform._warming.close)
            yield platform

    async def move_tenant(
        self,
        tenant: Tenant,
        *,
        to_shard: str | None = None,
        placement: str | None = None,
        may_leave_region: bool = False,
        gentle: bool = True,
        told: Told | None = None,
    ) -> Move:
        """Move a tenant online, or go on with its interrupted move; see `tenancy.moving.Moves.move` for the rules."""
        try:
            return await self.moves.move(
                tenant, to_shard=to_shard, placement=placement,
                may_leave_region=may_leave_region, gentle=gentle, told=told,
            )  # fmt: skip
        finally:
            self.forget(tenant)

    @asynccontextmanager
    async def session(
        self,
        tenant: Tenant,
        *,
        user_id: UUID | None = None,
        readonly: bool = False,
        cause: Cause | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[Session]:
        """Open a session: one tenant, one shard, exactly one transaction.

        Leaving the block commits; an exception rolls everything back. Nothing is sent before the first statement.

        Args:
            tenant: Whose data.
            user_id: Of that, only what this user owns.
            readonly: Refuse every write; uses the login that cannot write, and the shard's replica if that is up to it.
            cause: Who asked and what led to it; stands in the metadata of every event appended in the session.
            after: With `readonly`, see at least what was written before this: `last_write` of another process. What
                this process has written is seen anyway.

        Raises:
            TenantSuspended: The tenant is suspended.
            WrongShard: It has moved since the directory was asked; `run` looks again and repeats.
            TimedOut: It has used up its limits, see `TenantSettings`, for longer than `pool_timeout_seconds`.
        """
        if not tenant.is_active:
            raise TenantSuspended(f"tenant {tenant.tenant_name} is suspended")
        shard = shard_config(self.config, tenant.shard)
        scope = Scope(tenant.tenant_id, tenant.epoch, tenant.schema_name, user_id, readonly, cause or NO_CAUSE)
        url = await self._replicas.url(shard, tenant.tenant_id, after) if readonly else shard.urls.app_url
        tells = bool(shard.replica_url) and not readonly
        settings = self._settings.of(tenant)
        limits = limited(self.config.limits, settings)
        try:
            async with (
                self._limiter.session(tenant.tenant_id, settings),
                open_session(self._pools, url, scope, limits, self._inline, self._keyring, tell_position=tells) as s,
            ):
                try:
                    yield s
                finally:
                    self._limiter.count(tenant.tenant_id, s.rows_touched)
            if s.position:
                self._replicas.note_write(tenant.tenant_id, s.position)
            if s.bells:
                self._doorbell.ring(url, s.bells)
        except WrongShard as error:
            self._reroute(tenant, error.details)
            raise
        except Unavailable:
            self._replicas.doubt(shard)
            raise

    def _reroute(self, tenant: Tenant, told: str) -> None:
        """Believe what the shard said of where the tenant lives now; without that, ask the directory the next time."""
        self.forget(tenant)
        if len(words := told.split()) == len(("shard", "schema", "epoch")):
            region = shard_config(self.config, words[0]).region
            now = replace(tenant, shard=words[0], schema_name=words[1], epoch=int(words[2]), region=region)
            self._routes[tenant.tenant_id] = self._routes[tenant.tenant_name] = now

    async def run(
        self,
        tenant: Tenant,
        work: Callable[[Session], Awaitable[T]],
        *,
        user_id: UUID | None = None,
        readonly: bool = False,
        cause: Cause | None = None,
    ) -> T:
        """Run `work(session)` and commit; repeat it when the transaction lost a race or the tenant has moved.

        `work` may run several times, so its only effects should be those of its session.

        Raises:
            SerializationFailed: It lost five times in a row.
            WrongShard: No shard has served it for as long as `lock_timeout_seconds`.
        """
        attempt, since = 0, time.monotonic()
        while True:
            try:
                async with self.session(tenant, user_id=user_id, readonly=readonly, cause=cause) as s:
                    return await work(s)
            except SerializationFailed:
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise
            except WrongShard as error:
                # Where a move was cut off behind its flip, the target opens when somebody has carried it on.
                attempt += not error.details
                if time.monotonic() - since > self.config.limits.lock_timeout_seconds:
                    raise
                tenant = await self.tenant(tenant.tenant_id)
            pause = 0.01 * 2 ** min(attempt, _ATTEMPTS)
            await asyncio.sleep(random.uniform(0, pause) if attempt else 0)  # noqa: S311  jitter, not a secret

    async def combine(
        self,
        tenant: Tenant,
        work: Callable[[Session, Sequence[Item]], Awaitable[Sequence[Result | CloudLabError]]],
        item: Item,
        *,
        key: Callable[[Item], Hashable] | None = None,
        most: int = MOST_TOGETHER,
    ) -> Result:
        """Run one item by a verb that takes many, in one transaction with the items other tasks bring meanwhile.

        For calls that are a transaction of their own. Each item has its own outcome: `work` returns a result or an
        error for every one, in their order. With nobody else about, it is a session with one item; there is no timer.

        Args:
            tenant: Whose items; those of different tenants are never mixed.
            work: The verb, such as `orders.place_all`. May be run again with the same items.
            item: What this caller wants done.
            key: What must differ among the items of one transaction.
            most: How many items go into one transaction.

        Raises:
            CloudLabError: What became of this item.

        Cost: two round trips for all items of a transaction together.
        """
        place = (tenant.tenant_id, work)
        combiner = self._combiners.get(place)
        if combiner is None:

            async def run(items: Sequence[Item]) -> Sequence[Result | CloudLabError]:
                return await self.run(await self.tenant(tenant.tenant_id), lambda s: work(s, items))

            combiner = self._combiners[place] = Combiner(run, key=key, most=most)
        try:
            return await combiner.submit(item)
        finally:
            if combiner.is_idle and self._combiners.get(place) is combiner:
                del self._combiners[place]

    async def append(
        self,
        tenant: Tenant,
        stream: Stream,
        events: Sequence[object],
        *,
        expected_version: int | None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Append to one stream in a transaction of its own, shared with appends of other tasks to other streams.

        Arguments, result and errors are those of `events.append`; one caller's conflict fails nobody else.

        Cost: two round trips and one commit for all appends that go together, up to 256.
        Standard: §3.2 Event Store Schema
        """
        why = Cause().as_metadata() | dict(metadata or {})
        return await self.combine(
            tenant, append_each, StreamAppend(stream, events, expected_version, why), key=_stream_of
        )

    async def read_feed(self, shard: str, *, after: int | None = None, limit: int = 100) -> list[Event]:
        """Return events of a shard's feed, of all its tenants: those behind a position, or the last ones there are."""
        url = shard_config(self.config, shard).urls.worker_url
        async with self._pools.transaction(url) as transaction:
            start = after if after is not None else await feed.position_before_last(transaction, limit)
            return await feed.read_feed(transaction, after=start, limit=limit)

    async def ensure_partitions(self, shard: str) -> int:
        """Make the partitions that this and the coming months need; return how many were missing."""
        url = shard_config(self.config, shard).urls.worker_url
        async with self._pools.transaction(url) as transaction:
            result = await transaction.execute(
                "SELECT /* platform.ensure_partitions */ cloudlab.ensure_event_partitions() AS made"
            )
            return sum(result.rows(int_column))


def _stream_of(append: StreamAppend) -> UUID:
    return append.stream.aggregate_id


async def _close_all(combiners: dict[tuple[UUID, object], Combiner[Any, Any]]) -> None:
    for combiner in list(combiners.values()):
        await combiner.close()


def int_column(made: int) -> int:
    """Take the one column of a row."""
    return made
