"""The runner: it claims due sagas of one shard and drives many of them at once.

A claim is a lease, renewed while the worker lives, and an epoch, which every write of the saga is checked against: a
dead worker's sagas are taken over when the lease ends, a hung one cannot commit late.

Standard: §3.3 Saga State Management
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from cloudlab.errors import CloudLabError, LeaseLost
from cloudlab.postgres.doorbell import SAGAS, rings
from cloudlab.postgres.pool import Pools
from cloudlab.sagas.definition import Saga
from cloudlab.sagas.driver import At, Driver, nowhere
from cloudlab.sagas.history import Claimed
from cloudlab.sagas.journal import Sessions
from cloudlab.sagas.starting import Owner

log = logging.getLogger(__name__)

LEASE_SECONDS = 5.0
SLOTS = 128
_POLL_SECONDS = 0.25


class Runner:
    """The sagas of one shard in one worker."""

    def __init__(
        self,
        pools: Pools,
        url: str,
        sessions: Sessions,
        definitions: Sequence[Saga],
        worker_id: UUID,
        *,
        lease_seconds: float = LEASE_SECONDS,
        slots: int = SLOTS,
        at: At = nowhere,
    ) -> None:
        """Take what to run.

        Args:
            pools: The connections of this process.
            url: The worker's login of the shard.
            sessions: Opens sessions; a step runs in one of its saga's tenant.
            definitions: All versions that this worker can run; sagas of others are left to others.
            worker_id: This process among the workers.
            lease_seconds: After so long without a sign of life, another worker takes over.
            slots: How many sagas are driven at once, at most.
            at: Is told each point at which a worker could die.
        """
        self._pools, self._url, self._sessions = pools, url, sessions
        self._definitions = {(saga.name, saga.version): saga for saga in definitions}
        self._worker_id, self._lease_seconds, self._slots, self._at = worker_id, lease_seconds, slots, at
        self._held: dict[UUID, tuple[Claimed, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()
        self._may_have_more = False

    @property
    def held(self) -> int:
        """How many sagas this worker is at work on."""
        return len(self._held)

    def wake(self) -> None:
        """Look for work now: somebody in this process has started a saga."""
        self._wake.set()

    def owner_of(self, tenant_id: UUID, saga: Saga) -> Owner | None:
        """Return this worker if it can go on at once with a saga that its process starts.

        Half of the places are kept for what is claimed, and a tenant gets no more than half of the rest this way.
        """
        mine = sum(claimed.tenant_id == tenant_id for claimed, _ in self._held.values())
        has_room = self.held < self._slots // 2 and mine < max(1, self._slots // 4)
        if self._tasks is None or not has_room or (saga.name, saga.version) not in self._definitions:
            return None
        return Owner(self._worker_id, self._lease_seconds)

    def adopt(self, claimed: Claimed) -> None:
        """Drive a saga that was started for this worker; one that has stopped since leaves it to its lease."""
        if self._tasks is not None:
            self._held[claimed.saga_id] = claimed, self._tasks.create_task(self._drive(claimed))

    async def run(self) -> None:
        """Claim and drive until cancelled, then give back what is under way."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._listen())
                tasks.create_task(self._keep_renewing())
                try:
                    await self._keep_claiming(tasks)
                finally:
                    self._tasks = None  # nothing can be adopted any more
        finally:
            held = [claimed for claimed, _ in self._held.values()]
            try:
                await self._renew(held, 0.0)
            except CloudLabError as error:
                log.warning("sagas not given back; their leases will end", extra={"error": repr(error)})

    async def _listen(self) -> None:
        async for _ in rings(self._url, SAGAS, _POLL_SECONDS):
            self._wake.set()

    async def _keep_claiming(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            try:
                claimed = await self._claim()
            except CloudLabError as error:
                log.warning("no sagas claimed", extra={"error": repr(error)})
                claimed = []
            for each in claimed:
                if each.saga_id in self._held:  # steered by an operator, or its lease ended while it was driven here
                    await self._stop(each.saga_id)
                self._held[each.saga_id] = each, tasks.create_task(self._drive(each))
            self._may_have_more = bool(claimed)
            await self._wake.wait()

    async def _claim(self) -> list[Claimed]:
        """Take due sagas, as many as there are places for. Cost: one round trip and COMMIT."""
        if self.held >= self._slots or not self._definitions:
            return []
        busy = Counter(claimed.tenant_id for claimed, _ in self._held.values())
        async with self._pools.transaction(self._url) as transaction:
            result = await transaction.execute(
                """
                SELECT /* runner.claim */ c.tenant_id, c.saga_id, c.saga_type, c.definition_version, c.status,
                       c.saga_data, c.epoch, c.deadline_at, c.resumed_at, c.correlation_id, c.causation_id,
                       c.started_by, c.journal
                FROM cloudlab.claim_sagas(
                    %(worker_id)s::uuid, make_interval(secs => %(lease)s::float8), %(types)s::varchar[],
                    %(versions)s::integer[], %(slots)s::integer, %(busy)s::uuid[], %(counts)s::integer[]) AS c
                """,
                worker_id=self._worker_id,
                lease=self._lease_seconds,
                types=[name for name, _ in self._definitions],
                versions=[version for _, version in self._definitions],
                slots=self._slots,
                busy=list(busy),
                counts=list(busy.values()),
            )
            return result.rows(Claimed)

    async def _drive(self, claimed: Claimed) -> None:
        definition = self._definitions[claimed.saga_type, claimed.definition_version]
        try:
            await Driver(self._sessions, definition, claimed, self._at).run()
        except LeaseLost:
            log.info("saga lost to another owner", extra=_about(claimed))
        except CloudLabError as error:
            log.warning("saga left to its lease", extra=_about(claimed) | {"error": repr(error)})
        except Exception:
            log.exception("saga left to its lease", extra=_about(claimed))
        del self._held[claimed.saga_id]
        if self._may_have_more and self.held <= self._slots // 4:
            self._may_have_more = False
            self._wake.set()

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                lost = await self._renew([claimed for claimed, _ in self._held.values()], self._lease_seconds)
            except CloudLabError as error:
                log.warning("leases of sagas not renewed", extra={"error": repr(error)})
                continue
            for saga_id in lost:
                if saga_id in self._held:
                    await self._stop(saga_id)

    async def _stop(self, saga_id: UUID) -> None:
        claimed, task = self._held[saga_id]
        log.info("saga lost to another owner", extra=_about(claimed))
        task.cancel()
        # Not by awaiting it: its cancellation and our own would look the same, and ours must not be lost.
        await asyncio.wait([task])
        self._held.pop(saga_id, None)

    async def _renew(self, held: Sequence[Claimed], seconds: float) -> list[UUID]:
        if not held:
            return []
        async with self._pools.transaction(self._url) as transaction:
            result = await transaction.execute(
                """
                SELECT /* runner.renew */ cloudlab.renew_sagas(
                    %(worker_id)s::uuid, make_interval(secs => %(lease)s::float8), %(tenant_ids)s::uuid[],
                    %(saga_ids)s::uuid[], %(epochs)s::integer[]) AS lost
                """,
                worker_id=self._worker_id,
                lease=seconds,
                tenant_ids=[each.tenant_id for each in held],
                saga_ids=[each.saga_id for each in held],
                epochs=[each.epoch for each in held],
            )
            ((lost,),) = result.tuples()
            return lost


def _about(claimed: Claimed) -> dict[str, str]:
    return {"saga": claimed.saga_type, "saga_id": str(claimed.saga_id), "tenant_id": str(claimed.tenant_id)}
