"""Projections: what reads the feed and keeps something else in step with it.

An inline projection writes in the transaction of the event. An asynchronous one reads the feed behind a checkpoint that
moves in the transaction in which its batch was read; what it writes elsewhere must be idempotent, because a crash
between the two repeats the batch. A batch that fails is tried again, with its error on record, and never skipped.

Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cloudlab.analytics import Analytics
from cloudlab.cache import Cache
from cloudlab.errors import ProjectionFailed
from cloudlab.events.feed import read_feed
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.session import Session
from cloudlab.values import Event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """What an asynchronous projection may write to."""

    cache: Cache
    analytics: Analytics


@dataclass(frozen=True, slots=True)
class InlineProjection:
    """A read model kept in the transaction of its events: `apply(session, events)` runs before COMMIT."""

    name: str
    event_types: frozenset[str]
    apply: Callable[[Session, Sequence[Event]], Awaitable[None]]

    async def __call__(self, s: Session, events: Sequence[Event]) -> None:
        """Apply those of the events this projection asked for."""
        wanted = [event for event in events if event.event_type in self.event_types]
        if wanted:
            await self.apply(s, wanted)


@dataclass(frozen=True, slots=True)
class Projection:
    """A reader of the feed: `apply(stores, events)` must give the same result when a batch comes again."""

    name: str
    event_types: frozenset[str]
    apply: Callable[[Stores, Sequence[Event]], Awaitable[None]]
    batch_size: int = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a projection has read one shard; `lag_events` counts what is committed and not yet applied."""

    projection_name: str
    event_position: int
    failed_attempts: int
    last_error: str | None
    updated_at: datetime
    lag_events: int


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    event_position: int
    epoch: int


async def run_batch(pools: Pools, worker_url: str, stores: Stores, projection: Projection) -> int:
    """Apply the next batch of one shard's feed to one projection; return how many events it read.

    0 means that there is nothing to read, or that another worker holds this projection. Cost: three round trips.

    Raises:
        ProjectionFailed: From whatever `apply` raised, put on record; the checkpoint has not moved.
    """
    try:
        async with pools.transaction(worker_url) as transaction:
            return await _advance(transaction, stores, projection)
    except Exception as error:
        log.warning("projection failed", extra={"projection": projection.name, "error": repr(error)})
        await _record_failure(pools, worker_url, projection, error)
        raise ProjectionFailed(f"projection {projection.name}: {error!r}") from error


async def _advance(transaction: Transaction, stores: Stores, projection: Projection) -> int:
    found = await transaction.execute(
        """
        SELECT /* projections.run_batch */ c.event_position, i.epoch
        FROM cloudlab.projection_checkpoints AS c CROSS JOIN cloudlab.shard_identity AS i
        WHERE c.projection_name = %(name)s
        FOR UPDATE OF c SKIP LOCKED
        """,
        name=projection.name,
    )
    checkpoints = found.rows(_Checkpoint)
    if not checkpoints:
        await _begin(transaction, projection)
        return 0
    (checkpoint,) = checkpoints
    events = await read_feed(transaction, after=checkpoint.event_position, limit=projection.batch_size)
    if not events:
        return 0
    wanted = [replace(event, epoch=checkpoint.epoch) for event in events if event.event_type in projection.event_types]
    if wanted:
        await projection.apply(stores, wanted)
    transaction.queue(
        """
        UPDATE /* projections.run_batch */ cloudlab.projection_checkpoints
        SET event_position = %(position)s::bigint, epoch = %(epoch)s::integer, failed_attempts = 0, last_error = NULL
        WHERE projection_name = %(name)s
        """,
        position=events[-1].event_position,
        epoch=checkpoint.epoch,
        name=projection.name,
    )
    return len(events)


async def _begin(transaction: Transaction, projection: Projection) -> None:
    await transaction.execute(
        """
        INSERT /* projections.run_batch */ INTO cloudlab.projection_checkpoints (projection_name)
        VALUES (%(name)s)
        ON CONFLICT DO NOTHING
        """,
        name=projection.name,
    )


async def _record_failure(pools: Pools, worker_url: str, projection: Projection, error: Exception) -> None:
    async with pools.transaction(worker_url) as transaction:
        await transaction.execute(
            """
            UPDATE /* projections.run_batch */ cloudlab.projection_checkpoints
            SET failed_attempts = failed_attempts + 1, last_error = %(error)s
            WHERE projection_name = %(name)s
            """,
            error=repr(error)[:2000],
            name=projection.name,
        )


async def progress(pools: Pools, worker_url: str) -> list[Progress]:
    """Return how far each projection of one shard has read. Cost: two round trips; counts the events behind."""
    async with pools.transaction(worker_url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* projections.progress */ c.projection_name, c.event_position, c.failed_attempts, c.last_error,
                   c.updated_at,
                   (SELECT count(*) FROM cloudlab.events AS e WHERE e.event_position > c.event_position) AS lag_events
            FROM cloudlab.projection_checkpoints AS c
            ORDER BY c.projection_name
            """
        )
        return result.rows(Progress)
