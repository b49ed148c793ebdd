"""Lanes: the streams of a feed divided among the workers of a projection.

A worker claims lanes under a lease and an epoch. The lease lets others take over what a dead or hung worker had; the
epoch refuses what that worker still tries to commit afterwards.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cloudlab.events.projections import Following, Projection
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.values import Event

LEASE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane that a worker holds; a surplus one should be given back, for there are more workers now."""

    lane: int
    lease_epoch: int
    event_position: int
    is_surplus: bool


@dataclass(slots=True)
class Batch:
    """What comes next in a lane: its events go from behind `after` up to `upto`, which are equal when nothing is there.

    `events` are those of its projection's types, `waiting` the positions of others that must queue up behind a parked
    one. An SqlReadModel is only told whose and how many they are.
    """

    after: int
    upto: int
    epoch: int
    failed_attempts: int
    waiting: list[int]
    tenant_ids: list[UUID] | None = None
    event_count: int = 0
    events: list[Event] = field(default_factory=list[Event])


@dataclass(frozen=True, slots=True)
class Holder:
    """One worker's hold on one projection of one shard: what every statement about its lanes needs."""

    pools: Pools
    url: str
    projection: Following
    worker_id: UUID

    async def claim(self, lease_seconds: float = LEASE_SECONDS) -> list[Lane]:
        """Renew the lanes this worker has, take free ones up to its share, and return all it has now.

        None while the projection is paused. Ask again within the lease. Cost: one round trip and COMMIT.

        Raises:
            InvalidInput: The projection runs with another number of lanes here.
        """
        async with self.pools.transaction(self.url) as transaction:
            transaction.queue(
                """
                SELECT /* lanes.claim */ cloudlab.register_projection(
                    %(name)s::varchar, %(lanes)s::integer, %(external)s::boolean)
                """,
                external=isinstance(self.projection, Projection),
                name=self.projection.name,
                lanes=self.projection.lanes,
            )
            result = await transaction.execute(
                """
                SELECT /* lanes.claim */ c.lane, c.lease_epoch, c.event_position, c.is_surplus
                FROM cloudlab.claim_lanes(
                    %(name)s::varchar, %(worker_id)s::uuid, make_interval(secs => %(seconds)s::float8),
                    %(event_types)s::varchar[]) AS c
                """,
                event_types=sorted(self.projection.event_types),
                name=self.projection.name,
                worker_id=self.worker_id,
                seconds=lease_seconds,
            )
            return result.rows(Lane)

    async def release(self, lane: Lane) -> None:
        """Give one lane back, for any worker to take."""
        async with self.pools.transaction(self.url) as transaction:
            transaction.queue(
                """
                SELECT /* lanes.release */ cloudlab.release_lane(
                    %(name)s::varchar, %(lane)s::integer, %(worker_id)s::uuid, %(lease_epoch)s::bigint)
                """,
                **self._lease(lane),
            )

    async def leave(self) -> None:
        """Give every lane back and leave the workers among whom they are divided."""
        async with self.pools.transaction(self.url) as transaction:
            transaction.queue(
                "SELECT /* lanes.leave */ cloudlab.release_worker(%(name)s::varchar, %(worker_id)s::uuid)",
                name=self.projection.name,
                worker_id=self.worker_id,
            )

    async def read(self, transaction: Transaction, lane: Lane, *, beyond_horizon: bool = False) -> Batch:
        """Return the next batch of a lane with its events.

        Raises:
            LeaseLost: Another worker has the lane now.

        Cost: one round trip; the events of the window are read, those of other lanes are left out by the server.
        """
        result = await transaction.execute(
            """
            SELECT /* lanes.read */ r.after, r.upto, r.epoch, r.failed_attempts, r.waiting, r.event_position,
                   r.event_id, r.tenant_id, r.aggregate_type, r.aggregate_id, r.event_type, r.event_version,
                   r.event_data, r.metadata, r.created_at
            FROM cloudlab.read_lane(
                %(name)s::varchar, %(lane)s::integer, %(worker_id)s::uuid, %(lease_epoch)s::bigint, %(size)s::integer,
                %(event_types)s::varchar[], %(beyond_horizon)s::boolean) AS r
            """,
            **self._window(lane, beyond_horizon),
        )
        return _batch(result.rows(_row))

    async def measure(self, transaction: Transaction, lane: Lane, *, beyond_horizon: bool = False) -> Batch:
        """Return the next batch of a lane without its events, as `read` otherwise."""
        result = await transaction.execute(
            """
            SELECT /* lanes.measure */ r.after, r.upto, r.epoch, r.failed_attempts, r.waiting, r.tenant_ids,
                   r.event_count
            FROM cloudlab.measure_lane(
                %(name)s::varchar, %(lane)s::integer, %(worker_id)s::uuid, %(lease_epoch)s::bigint, %(size)s::integer,
                %(event_types)s::varchar[], %(beyond_horizon)s::boolean) AS r
            """,
            **self._window(lane, beyond_horizon),
        )
        return result.rows(Batch)[0]

    def queue_advance(self, transaction: Transaction, lane: Lane, batch: Batch, upto: int | None = None) -> None:
        """Move the lane's checkpoint with the next statement or with COMMIT, which raises LeaseLost if it is lost."""
        transaction.queue(
            """
            SELECT /* lanes.queue_advance */ cloudlab.advance_lane(
                %(name)s::varchar, %(lane)s::integer, %(worker_id)s::uuid, %(lease_epoch)s::bigint, %(upto)s::bigint,
                %(epoch)s::integer)
            """,
            **self._lease(lane),
            upto=batch.upto if upto is None else upto,
            epoch=batch.epoch,
        )

    async def record_failure(self, lane: Lane, error: Exception, *, counts: bool) -> None:
        """Put on record that the next batch of a lane failed.

        A server that is away says nothing about the events: that does not count, and never leads to parking.
        """
        async with self.pools.transaction(self.url) as transaction:
            transaction.queue(
                """
                UPDATE /* lanes.record_failure */ cloudlab.projection_checkpoints
                SET failed_attempts = failed_attempts + %(counts)s::boolean::integer, last_error = %(error)s
                WHERE projection_name = %(name)s AND lane = %(lane)s::integer AND owner_id = %(worker_id)s::uuid
                  AND lease_epoch = %(lease_epoch)s::bigint
                """,
                **self._lease(lane),
                error=_said(error),
                counts=counts,
            )

    def queue_waiting(self, transaction: Transaction, positions: Sequence[int]) -> None:
        """Park events that wait behind a parked one of their stream."""
        transaction.queue(
            """
            INSERT /* lanes.queue_waiting */ INTO cloudlab.parked_events
                (projection_name, event_position, tenant_id, aggregate_id, event_type, failed_attempts, last_error)
            SELECT %(name)s, e.event_position, e.tenant_id, e.aggregate_id, e.event_type, 0,
                   'waits behind an earlier event of its stream'
            FROM cloudlab.events AS e
            WHERE e.event_position = ANY (%(positions)s::bigint[])
            ON CONFLICT (projection_name, event_position) DO NOTHING
            """,
            name=self.projection.name,
            positions=list(positions),
        )

    def queue_parking(self, transaction: Transaction, event: Event, error: Exception) -> None:
        """Set an event that could not be applied aside."""
        transaction.queue(
            """
            INSERT /* lanes.queue_parking */ INTO cloudlab.parked_events
                (projection_name, event_position, tenant_id, aggregate_id, event_type, failed_attempts, last_error)
            VALUES (%(name)s, %(position)s::bigint, %(tenant_id)s::uuid, %(aggregate_id)s::uuid, %(event_type)s, 1,
                    %(error)s)
            ON CONFLICT (projection_name, event_position) DO NOTHING
            """,
            name=self.projection.name,
            position=event.event_position,
            tenant_id=event.tenant_id,
            aggregate_id=event.aggregate_id,
            event_type=event.event_type,
            error=_said(error),
        )

    def _window(self, lane: Lane, beyond_horizon: bool) -> dict[str, Any]:
        return self._lease(lane) | {
            "size": self.projection.batch_size * self.projection.lanes,
            "event_types": sorted(self.projection.event_types),
            "beyond_horizon": beyond_horizon,
        }

    def _lease(self, lane: Lane) -> dict[str, Any]:
        return {
            "name": self.projection.name,
            "lane": lane.lane,
            "worker_id": self.worker_id,
            "lease_epoch": lane.lease_epoch,
        }


def _said(error: Exception) -> str:
    return repr(error)[:2000].replace("\x00", "")


def _row(
    after: int,
    upto: int,
    epoch: int,
    failed_attempts: int,
    waiting: list[int],
    event_position: int | None,
    event_id: UUID,
    tenant_id: UUID,
    aggregate_type: str,
    aggregate_id: UUID,
    event_type: str,
    event_version: int,
    event_data: dict[str, Any],
    metadata: dict[str, Any] | None,
    created_at: datetime,
) -> tuple[Batch, Event | None]:
    batch = Batch(after, upto, epoch, failed_attempts, waiting)
    if event_position is None:
        return batch, None
    return batch, Event(
        event_position=event_position,
        event_id=event_id,
        tenant_id=tenant_id,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        event_type=event_type,
        event_version=event_version,
        event_data=event_data,
        metadata=metadata,
        created_at=created_at,
        epoch=epoch,
    )


def _batch(rows: list[tuple[Batch, Event | None]]) -> Batch:
    batch = rows[0][0]
    batch.events = [event for _, event in rows if event is not None]
    batch.event_count = len(batch.events)
    return batch
