"""Applying a lane's next batch: all of it and its checkpoint, or nothing.

A batch that fails is tried again, with its error on record. When it goes on failing, and not because a server is away,
its events are applied one by one: the one that cannot be is parked, and with it the rest of its stream, in order;
everything else goes on.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from cloudlab.errors import CloudLabError, LeaseLost, ProjectionFailed
from cloudlab.events.lanes import Batch, Holder, Lane
from cloudlab.events.projections import Projection, ReadModel, SqlReadModel, Stores
from cloudlab.postgres.transaction import Transaction
from cloudlab.session import Scope, Session
from cloudlab.values import Event

log = logging.getLogger(__name__)

ATTEMPTS_BEFORE_PARKING = 3
REBUILD = "@rebuild"


async def apply_next(holder: Holder, stores: Stores, lane: Lane, *, beyond_horizon: bool = False) -> Batch:
    """Apply the next batch of a lane, all of it or nothing; return it.

    Raises:
        LeaseLost: Another worker has the lane now; nothing was kept.
        ProjectionFailed: From whatever `apply` raised, put on record; the checkpoint stands before what failed.

    Cost: three exchanges for a read model, four for anything else, which is called while no transaction is open.
    """
    begun: list[Batch] = []
    try:
        return await _apply(holder, stores, lane, begun, beyond_horizon=beyond_horizon)
    except LeaseLost:
        raise
    except Exception as error:
        log.warning(
            "projection failed", extra={"projection": holder.projection.name, "lane": lane.lane, "error": repr(error)}
        )
        if begun or not _is_outage(error):
            await holder.record_failure(lane, error, counts=bool(begun) and not _is_outage(error))
        raise ProjectionFailed(f"projection {holder.projection.name}, lane {lane.lane}: {error!r}") from error


async def _apply(holder: Holder, stores: Stores, lane: Lane, begun: list[Batch], *, beyond_horizon: bool) -> Batch:
    read = holder.measure if isinstance(holder.projection, SqlReadModel) else holder.read
    async with holder.pools.transaction(holder.url) as transaction:
        batch = await read(transaction, lane, beyond_horizon=beyond_horizon)
        begun.append(batch)
        if batch.upto == batch.after:
            return batch
        tried_enough = batch.failed_attempts >= ATTEMPTS_BEFORE_PARKING
        if not tried_enough and not isinstance(holder.projection, Projection):
            await _write(holder, stores, transaction, lane, batch)
            _queue_end(holder, transaction, lane, batch)
            return batch
    if tried_enough:
        return await _one_by_one(holder, stores, lane, beyond_horizon=beyond_horizon)
    await _call(holder, stores, batch.events)
    async with holder.pools.transaction(holder.url) as transaction:
        _queue_end(holder, transaction, lane, batch)
    return batch


def _queue_end(holder: Holder, transaction: Transaction, lane: Lane, batch: Batch) -> None:
    if batch.waiting:
        holder.queue_waiting(transaction, batch.waiting)
    holder.queue_advance(transaction, lane, batch)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, CloudLabError) and error.retryable


async def _one_by_one(holder: Holder, stores: Stores, lane: Lane, *, beyond_horizon: bool) -> Batch:
    """Apply each event by itself, so that what cannot be applied is known and parked; nothing else waits for it."""
    async with holder.pools.transaction(holder.url) as transaction:
        batch = await holder.read(transaction, lane, beyond_horizon=beyond_horizon)
        if batch.waiting:
            holder.queue_waiting(transaction, batch.waiting)
    parked: set[UUID] = set()
    for event in batch.events:
        one = replace(batch, events=[event], tenant_ids=[event.tenant_id], upto=event.event_position)
        if event.aggregate_id in parked:
            await _park(holder, lane, one, None)
        else:
            try:
                await _apply_one(holder, stores, lane, one)
            except LeaseLost:
                raise
            except Exception as error:
                if _is_outage(error):
                    raise
                log.exception(
                    "event parked",
                    extra={"projection": holder.projection.name, "event_position": event.event_position},
                )
                await _park(holder, lane, one, error)
                parked.add(event.aggregate_id)
        batch.after = event.event_position
    async with holder.pools.transaction(holder.url) as transaction:
        holder.queue_advance(transaction, lane, batch)
    return batch


async def _apply_one(holder: Holder, stores: Stores, lane: Lane, one: Batch) -> None:
    await _call(holder, stores, one.events)
    async with holder.pools.transaction(holder.url) as transaction:
        await _write(holder, stores, transaction, lane, one)
        holder.queue_advance(transaction, lane, one)


async def _park(holder: Holder, lane: Lane, one: Batch, error: Exception | None) -> None:
    async with holder.pools.transaction(holder.url) as transaction:
        if error:
            holder.queue_parking(transaction, one.events[0], error)
        else:
            holder.queue_waiting(transaction, [one.upto])
        holder.queue_advance(transaction, lane, one)


async def _call(holder: Holder, stores: Stores, events: Sequence[Event]) -> None:
    if events and isinstance(holder.projection, Projection):
        await holder.projection.apply(stores, events)


async def _write(holder: Holder, stores: Stores, transaction: Transaction, lane: Lane, batch: Batch) -> None:
    """Write a read model, one tenant after the other, in the transaction in which the checkpoint moves."""
    projection = holder.projection
    if isinstance(projection, ReadModel):
        by_tenant: dict[UUID, list[Event]] = {}
        for event in batch.events:
            by_tenant.setdefault(event.tenant_id, []).append(event)
        for tenant_id in sorted(by_tenant):
            schema = await enter(transaction, tenant_id, projection.name)
            if schema is not None:
                s = Session(Scope(tenant_id, 0, schema), transaction, (), stores.keyring)
                await projection.apply(s, by_tenant[tenant_id])
    elif isinstance(projection, SqlReadModel):
        for tenant_id in batch.tenant_ids or ():
            if await enter(transaction, tenant_id, projection.name) is not None:
                transaction.queue(
                    projection.statement,
                    after=batch.after,
                    upto=batch.upto,
                    lane=lane.lane,
                    lanes=projection.lanes,
                    event_types=sorted(projection.event_types),
                    waiting=batch.waiting,
                )
    transaction.use_schema("")


async def enter(transaction: Transaction, tenant_id: UUID, projection_name: str) -> str | None:
    """Bind a worker's transaction to one tenant's read models; return their schema.

    None when the tenant has moved, and its events with it.

    For a projection that is being rebuilt, its tables are found in the schema of the copy.
    """

    def entered(schema_name: str | None, path: str | None) -> str | None:
        del path
        return schema_name

    name, _, rebuild = projection_name.partition(REBUILD[0])
    result = await transaction.execute(
        """
        SELECT /* applying.enter */ m.schema_name,
               set_config('search_path',
                   CASE WHEN %(rebuild)s::boolean
                        THEN quote_ident(cloudlab.shadow_schema(m.schema_name, %(name)s::varchar)) || ', ' ELSE '' END
                   || quote_ident(m.schema_name) || ', cloudlab, pg_temp', true) AS path
        FROM (SELECT cloudlab.enter_read_model(%(tenant_id)s::uuid) AS schema_name) AS m
        """,
        tenant_id=tenant_id,
        rebuild=bool(rebuild),
        name=name,
    )
    (schema,) = result.rows(entered)
    transaction.use_schema(f"{schema}{REBUILD if rebuild else ''}")
    return schema
