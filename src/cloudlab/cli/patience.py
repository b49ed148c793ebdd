"""Work that outlasts an outage, and work spread over many tasks."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar
from uuid import UUID

from cloudlab.errors import CloudLabError, CommitUnknown
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant

T = TypeVar("T")
Item = TypeVar("Item")

PATIENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


class Patient:
    """Runs work in sessions of one tenant, again and again while a server is away.

    A commit whose outcome is unknown is repeated too, so all work given to it must find what it has done already.
    """

    def __init__(self, platform: Platform, tenant_id: UUID, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._platform = platform
        self._tenant_id = tenant_id
        self._patience_seconds = patience_seconds

    async def committed(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Return what `work(session)` returned in the session that was committed.

        Raises:
            Unavailable: A server was away for longer than the patience lasts.
            CloudLabError: Whatever waiting does not mend.
        """

        async def attempt() -> T:
            async with self._platform.session(await self.tenant()) as s:
                return await work(s)

        return await self.patiently(attempt)

    async def tenant(self) -> Tenant:
        """Return the tenant, looked up again after it has moved."""
        return await self._platform.tenant(self._tenant_id)

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt that changes nothing when it is repeated, while a server is away."""
        deadline, pause = 0.0, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await attempt()
            except CloudLabError as error:
                if not error.retryable and not isinstance(error, CommitUnknown):
                    raise
                deadline = deadline or time.monotonic() + self._patience_seconds
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  jitter, not a secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of so many; the last may be shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def spread(
    items: Iterable[Item] | AsyncIterator[Item], work: Callable[[Item], Awaitable[None]], concurrency: int
) -> None:
    """Do work on every item, so many at a time, begun in their order; the first error ends all of it and is raised."""
    queue: asyncio.Queue[tuple[Item] | None] = asyncio.Queue(2 * concurrency)

    async def follow() -> None:
        while (entry := await queue.get()) is not None:
            await work(entry[0])

    async def fill() -> None:
        if isinstance(items, AsyncIterator):
            async for item in items:
                await queue.put((item,))
        else:
            for item in items:
                await queue.put((item,))
        for _ in range(concurrency):
            await queue.put(None)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fill())
            for _ in range(concurrency):
                tasks.create_task(follow())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
