"""Steering projections: how far they are, pausing them, and what they have parked.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cloudlab.errors import CloudLabError, NotFound
from cloudlab.events.applying import enter
from cloudlab.events.projections import Following, Projection, ReadModel, SqlReadModel, Stores
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.session import Scope, Session
from cloudlab.values import Event


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a lane of a projection has read one shard.

    `lag_events` is how many positions it is behind the last event: an upper bound of the events it still has to read.
    """

    projection_name: str
    lane: int
    state: str
    event_position: int
    failed_attempts: int
    last_error: str | None
    owner_id: UUID | None
    leased_until: datetime | None
    updated_at: datetime
    parked_events: int
    lag_events: int


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that a projection could not apply, or one behind it in the same stream (`failed_attempts` 0)."""

    projection_name: str
    event_position: int
    tenant_id: UUID
    aggregate_id: UUID
    event_type: str
    failed_attempts: int
    last_error: str
    created_at: datetime


async def progress(pools: Pools, worker_url: str) -> list[Progress]:
    """Return how far each lane of each projection of one shard has read, by name. Cost: one round trip."""
    async with pools.transaction(worker_url) as transaction:
        result = await transaction.execute(
            """
            WITH last AS (SELECT coalesce(max(e.event_position), 0) AS event_position FROM cloudlab.events AS e),
            parked AS (SELECT k.projection_name, cloudlab.lane_of(k.aggregate_id, p.lane_count) AS lane,
                              count(*) AS events
                       FROM cloudlab.parked_events AS k
                       JOIN cloudlab.projections AS p ON p.projection_name = k.projection_name
                       GROUP BY k.projection_name, cloudlab.lane_of(k.aggregate_id, p.lane_count))
            SELECT /* steering.progress */ c.projection_name, c.lane, p.state, c.event_position, c.failed_attempts,
                   c.last_error, c.owner_id, c.leased_until, c.updated_at, coalesce(k.events, 0) AS parked_events,
                   greatest(l.event_position - c.event_position, 0) AS lag_events
            FROM cloudlab.projection_checkpoints AS c
            JOIN cloudlab.projections AS p ON p.projection_name = c.projection_name
            CROSS JOIN last AS l
            LEFT JOIN parked AS k ON k.projection_name = c.projection_name AND k.lane = c.lane
            ORDER BY c.projection_name, c.lane
            """
        )
        return result.rows(Progress)


async def set_state(pools: Pools, worker_url: str, name: str, state: str) -> None:
    """Pause a projection or let it go on; a pause takes the lanes away at once, so a batch under way is not kept.

    Raises:
        NotFound: No projection of that name has run on this shard.
    """
    async with pools.transaction(worker_url) as transaction:
        changed = await transaction.execute(
            """
            UPDATE /* steering.set_state */ cloudlab.projections
            SET state = %(state)s WHERE projection_name = %(name)s
            """,
            name=name,
            state=state,
        )
        if not changed.row_count:
            raise NotFound(f"no projection {name} has run here", hint="`cloudlab projection list` names them.")
        if state == "paused":
            transaction.queue(
                """
                UPDATE /* steering.set_state */ cloudlab.projection_checkpoints
                SET owner_id = NULL, leased_until = NULL, lease_epoch = lease_epoch + 1
                WHERE projection_name = %(name)s
                """,
                name=name,
            )


async def raise_epoch(pools: Pools, owner_url: str) -> list[UUID]:
    """Begin a new epoch of a shard that was restored to an earlier time; return the tenants it serves.

    From the next batch on, what projections write carries the new epoch.
    """

    def tenant(tenant_id: UUID) -> UUID:
        return tenant_id

    async with pools.transaction(owner_url) as transaction:
        transaction.queue("UPDATE /* steering.raise_epoch */ cloudlab.shard_identity SET epoch = epoch + 1")
        result = await transaction.execute(
            "SELECT /* steering.raise_epoch */ t.tenant_id FROM cloudlab.tenant_local AS t"
        )
        return result.rows(tenant)


async def parked(pools: Pools, worker_url: str, name: str | None = None, limit: int = 1000) -> list[ParkedEvent]:
    """Return what is parked, oldest first, of one projection or of all. Cost: one round trip."""
    async with pools.transaction(worker_url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* steering.parked */ k.projection_name, k.event_position, k.tenant_id, k.aggregate_id, k.event_type,
                   k.failed_attempts, k.last_error, k.created_at
            FROM cloudlab.parked_events AS k
            WHERE %(name)s::varchar IS NULL OR k.projection_name = %(name)s::varchar
            ORDER BY k.projection_name, k.event_position
            LIMIT %(limit)s::integer
            """,
            name=name,
            limit=limit,
        )
        return result.rows(ParkedEvent)


async def retry_stream(pools: Pools, worker_url: str, stores: Stores, projection: Following, aggregate_id: UUID) -> int:
    """Apply the parked events of one stream in their order, all or none, and let the stream go on.

    Returns:
        How many were applied; 0 when none is parked.

    Raises:
        CloudLabError: They cannot be applied yet; the attempt and its error are on record.
    """
    try:
        async with pools.transaction(worker_url) as transaction:
            events = await _parked_events(transaction, projection.name, aggregate_id)
            if events:
                await _apply(transaction, stores, projection, events)
                transaction.queue(
                    """
                    DELETE /* steering.retry_stream */ FROM cloudlab.parked_events
                    WHERE projection_name = %(name)s AND event_position = ANY (%(positions)s::bigint[])
                    """,
                    name=projection.name,
                    positions=[event.event_position for event in events],
                )
            return len(events)
    except Exception as error:
        await _record(pools, worker_url, projection.name, aggregate_id, error)
        if isinstance(error, CloudLabError):
            raise
        raise CloudLabError(f"projection {projection.name}: {error!r}") from error


async def _parked_events(transaction: Transaction, name: str, aggregate_id: UUID) -> list[Event]:
    result = await transaction.execute(
        """
        SELECT /* steering.retry_stream */ e.event_position, e.event_id, e.tenant_id, e.aggregate_type,
               e.aggregate_id, e.event_type, e.event_version, e.event_data, e.metadata, e.created_at, i.epoch
        FROM cloudlab.parked_events AS k
        JOIN cloudlab.events AS e ON e.event_position = k.event_position
        CROSS JOIN cloudlab.shard_identity AS i
        WHERE k.projection_name = %(name)s AND k.aggregate_id = %(aggregate_id)s::uuid
        ORDER BY k.event_position
        FOR UPDATE OF k
        """,
        name=name,
        aggregate_id=aggregate_id,
    )
    return result.rows(Event)


async def _apply(transaction: Transaction, stores: Stores, projection: Following, events: Sequence[Event]) -> None:
    if isinstance(projection, Projection):
        await projection.apply(stores, events)
        return
    tenant_id = events[0].tenant_id
    schema = await enter(transaction, tenant_id, projection.name)
    if schema is not None and isinstance(projection, ReadModel):
        await projection.apply(Session(Scope(tenant_id, 0, schema), transaction, (), stores.keyring), events)
    elif schema is not None and isinstance(projection, SqlReadModel):
        for event in events:
            _queue_one(transaction, projection.statement, projection, event)
    transaction.use_schema("")


def _queue_one(transaction: Transaction, statement: LiteralString, projection: SqlReadModel, event: Event) -> None:
    transaction.queue(
        statement,
        after=event.event_position - 1,
        upto=event.event_position,
        lane=event.aggregate_id.int & (projection.lanes - 1),
        lanes=projection.lanes,
        event_types=sorted(projection.event_types),
        waiting=[],
    )


async def _record(pools: Pools, worker_url: str, name: str, aggregate_id: UUID, error: Exception) -> None:
    async with pools.transaction(worker_url) as transaction:
        transaction.queue(
            """
            UPDATE /* steering.retry_stream */ cloudlab.parked_events AS k
            SET failed_attempts = k.failed_attempts + 1, last_error = %(error)s
            WHERE k.projection_name = %(name)s AND k.event_position = (
                SELECT min(f.event_position) FROM cloudlab.parked_events AS f
                WHERE f.projection_name = %(name)s AND f.aggregate_id = %(aggregate_id)s::uuid)
            """,
            name=name,
            aggregate_id=aggregate_id,
            error=repr(error)[:2000],
        )
