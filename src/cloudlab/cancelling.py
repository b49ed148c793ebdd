"""Cancellations that a library has lost are found again.

Python 3.11's `asyncio.wait_for` returns a result that comes together with a cancellation, and the cancellation is gone:
a task that was told to end goes on for ever. Of what we build on, the pool of connections and the client of the cache
wait like that.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


def times_asked() -> int:
    """Return how often the current task was told to end; 0 outside of a task."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


@contextmanager
def not_lost() -> Generator[None]:
    """Raise the cancellation that arrived while the block ran, whatever the block made of it."""
    before = times_asked()
    try:
        yield
    finally:
        if times_asked() > before:
            raise asyncio.CancelledError
