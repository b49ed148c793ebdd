"""What a platform can do with its sagas: running them on a shard, and waiting for one to end.

Standard: §3.3 Saga State Management
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID
from weakref import WeakSet

from cloudlab.config import Config
from cloudlab.errors import ConfigError, TimedOut
from cloudlab.postgres.pool import Pools
from cloudlab.sagas import operations
from cloudlab.sagas.archive import archive_finished
from cloudlab.sagas.definition import Saga
from cloudlab.sagas.driver import At, nowhere
from cloudlab.sagas.journal import Sessions
from cloudlab.sagas.operations import Listed, Tally
from cloudlab.sagas.runner import LEASE_SECONDS, SLOTS, Runner
from cloudlab.sagas.starting import SagaState, Start, find, start_each
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Cause, uuid7

_LOOK_SECONDS = 0.02


class Sagas:
    """The sagas that a platform was opened with."""

    def __init__(self, config: Config, pools: Pools, sessions: Sessions, definitions: Sequence[Saga]) -> None:
        named = {(saga.name, saga.version) for saga in definitions}
        if len(named) != len(definitions):
            raise ConfigError("two sagas have the same name and version", hint="Raise the version of the newer one.")
        self.definitions = tuple(definitions)
        self.worker_id = uuid7()
        self._config, self._pools, self._sessions = config, pools, sessions
        self._runners: dict[str, WeakSet[Runner]] = {}

    def runner(
        self, shard: str, *, lease_seconds: float = LEASE_SECONDS, slots: int = SLOTS, at: At = nowhere
    ) -> Runner:
        """Return what runs the sagas of one shard in this process; see Runner for the arguments."""
        url = shard_config(self._config, shard).urls.worker_url
        runner = Runner(
            self._pools, url, self._sessions, self.definitions, self.worker_id,
            lease_seconds=lease_seconds, slots=slots, at=at,
        )  # fmt: skip
        self._runners.setdefault(shard, WeakSet()).add(runner)
        return runner

    async def start(
        self, tenant: Tenant, saga: Saga, data: object, *, key: str | None = None, cause: Cause | None = None
    ) -> UUID:
        """Start a saga in a transaction of its own, shared with others that are started meanwhile.

        Arguments, result and errors are those of `sagas.start`.
        """
        runners = {each: each.owner_of(tenant.tenant_id, saga) for each in self._runners.get(tenant.shard, ())}
        runner, owner = next(((each, owner) for each, owner in runners.items() if owner), (None, None))
        started = await self._sessions.combine(tenant, start_each, Start(saga, data, key, cause or Cause(), owner))
        if runner and started.claimed:
            runner.adopt(started.claimed)
        else:
            for each in runners:
                each.wake()
        return started.saga_id

    async def ended(self, tenant: Tenant, saga_id: UUID, *, within_seconds: float = 60.0) -> SagaState:
        """Wait until a saga has ended, and return how. A worker must be running.

        Raises:
            TimedOut: It has not ended by then; it goes on nevertheless.
            NotFound: There is no such saga.
        """
        try:
            async with asyncio.timeout(within_seconds):
                while True:
                    async with self._sessions.session(tenant) as s:
                        state = await find(s, saga_id)
                    if state.has_ended:
                        return state
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise TimedOut(f"saga {saga_id} has not ended within {within_seconds:g} s") from None

    async def archive(self, shard: str, *, older_than: timedelta) -> int:
        """Put away the sagas of one shard that ended well so long ago; return how many. See `archive_finished`."""
        url = shard_config(self._config, shard).urls.worker_url
        return await archive_finished(self._pools, url, before=datetime.now(UTC) - older_than)

    async def listed(
        self, shard: str, *, statuses: Sequence[str] = (), tenant_id: UUID | None = None, limit: int = 100
    ) -> list[Listed]:
        """Return sagas of one shard, of any definition, newest first. See `operations.listed`."""
        url = shard_config(self._config, shard).urls.worker_url
        return await operations.listed(self._pools, url, statuses=statuses, tenant_id=tenant_id, limit=limit)

    async def tallies(self, shard: str) -> list[Tally]:
        """Count the sagas of one shard, of any definition. See `operations.tallies`."""
        return await operations.tallies(self._pools, shard_config(self._config, shard).urls.worker_url)
