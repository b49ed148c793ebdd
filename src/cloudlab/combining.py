"""Calls that wait at the same time share one transaction, each with an outcome of its own.

Natural batching: while one batch is on its way, whoever comes waits for the next, so a batch is as large as the load is
and nobody ever waits for a timer.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from cloudlab.errors import CloudLabError, CommitUnknown

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_TOGETHER = 256
_IN_FLIGHT = 2  # while one commits, the next runs; more only make the batches smaller


class Combiner(Generic[Item, Result]):
    """Runs items in batches by `run`, which returns a result or an error for each, in their order.

    A batch that fails as a whole for a reason that may lie in one of its items is repeated item by item, so that nobody
    fails for another's fault.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | CloudLabError]]],
        *,
        most: int = MOST_TOGETHER,
        key: Callable[[Item], Hashable] | None = None,
    ) -> None:
        """Take what runs a batch, how many may be in one, and the key whose items go one after the other, in order."""
        self._run = run
        self._most = most
        self._key = key
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._busy: set[Hashable] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._running

    async def submit(self, item: Item) -> Result:
        """Run an item together with others that wait now, and return its own result or raise its own error.

        A caller that is cancelled while its batch is on its way no longer hears what became of its item.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running < _IN_FLIGHT:
            self._running += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def close(self) -> None:
        """Stop at once; whoever still waits is cancelled."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    await self._do(batch)
                finally:
                    for item, future in batch:
                        future.cancel()  # only if it has no outcome yet: this task itself was cancelled
                        if self._key:
                            self._busy.discard(self._key(item))
        finally:
            self._running -= 1

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """Take what may go now; items whose key is on its way stay for whoever has that on its way."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        later: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._most:
            entry = self._waiting.popleft()
            if entry[1].cancelled():
                continue
            if self._key:
                key = self._key(entry[0])
                if key in self._busy:
                    later.append(entry)
                    continue
                self._busy.add(key)
            batch.append(entry)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _do(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            outcomes = await self._run([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  handed to the callers, who raise it
            if len(batch) == 1 or _says_nothing_of_one(error):
                outcomes = [error] * len(batch)
            else:
                for entry in batch:
                    await self._do([entry])
                return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _says_nothing_of_one(error: Exception) -> bool:
    """Return whether the server was the reason, or whether the batch may be committed already."""
    return isinstance(error, CloudLabError) and (error.retryable or isinstance(error, CommitUnknown))
