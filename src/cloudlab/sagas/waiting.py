"""Waiting for an event: a saga writes down what it waits for, then looks whether it has happened already.

The two are separate transactions, in this order, and the second holds the saga's row: an event that is recorded after
it has looked finds the saga waiting, and wakes it.

Standard: §3.3 Saga State Management
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from cloudlab.events.projections import SqlReadModel
from cloudlab.sagas.definition import Running, Saga, Wait, aggregate_of
from cloudlab.sagas.history import Claimed, Entry
from cloudlab.sagas.journal import Sessions, Turn, Write, take_turns
from cloudlab.values import Cause


def cause_of(claimed: Claimed) -> Cause:
    """Return why the steps of a saga write: the cause of whoever started it."""
    return Cause(correlation_id=claimed.correlation_id, causation_id=claimed.causation_id, actor=claimed.started_by)


async def look(
    sessions: Sessions, claimed: Claimed, wait: Wait, running: Running, begun: Entry, done: Write, pause: float
) -> Entry | None:
    """Return the completed entry of a wait whose event has happened; else give the saga back and return None.

    With no pause left it is not given back: the caller says what then.

    Raises:
        InvalidInput: The saga's data does not say whose event it is.
    """
    aggregate_id = aggregate_of(wait, running)
    cause = cause_of(claimed)
    tenant = await sessions.tenant(claimed.tenant_id)
    waits = replace(done, entries=(begun,), status=None, wake=None, waiting_for=wait.event, waiting_on=aggregate_id)
    async with sessions.session(tenant, cause=cause) as s:
        await take_turns(s, [Turn(waits)])
    async with sessions.session(tenant, cause=cause) as s:
        s.queue(
            """
            SELECT /* waiting.look */ saga_id FROM saga_instances
            WHERE tenant_id = %(tenant_id)s::uuid AND saga_id = %(saga_id)s::uuid
            FOR UPDATE
            """,
            tenant_id=s.tenant_id,
            saga_id=claimed.saga_id,
        )
        found = await s.fetch_tuples(
            """
            SELECT /* waiting.look */ e.event_data::text FROM events AS e
            WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
              AND e.event_type = %(event_type)s AND e.created_at >= (
                  SELECT g.created_at FROM saga_instances AS g
                  WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id = %(saga_id)s::uuid)
            ORDER BY e.event_version LIMIT 1
            """,
            tenant_id=s.tenant_id,
            aggregate_id=aggregate_id,
            event_type=wait.event,
            saga_id=claimed.saga_id,
        )
        if found:
            entry = replace(begun, status="completed", completed_at=datetime.now(UTC), result=found[0][0])
            await take_turns(s, [Turn(replace(done, entries=(entry,)))])
            return entry
        if pause > 0:
            await take_turns(s, [Turn(replace(waits, wake=pause))])
    return None


def waker(sagas: Iterable[Saga]) -> SqlReadModel | None:
    """Return the projection that wakes waiting sagas when their event comes; None when none ever waits."""
    awaited = frozenset[str]().union(*(saga.awaited for saga in sagas))
    if not awaited:
        return None
    return SqlReadModel(
        "saga_waits",
        awaited,
        """
        WITH woken AS (
            UPDATE cloudlab.saga_instances AS s SET next_at = clock_timestamp()
            FROM batch_events(%(after)s::bigint, %(upto)s::bigint, %(lane)s::integer, %(lanes)s::integer,
                              %(event_types)s::varchar[], %(waiting)s::bigint[]) AS e
            WHERE s.tenant_id = cloudlab.current_tenant() AND s.waiting_on = e.aggregate_id
              AND s.waiting_for = e.event_type AND s.next_at IS NOT NULL AND s.lease_owner IS NULL
            RETURNING s.saga_id)
        SELECT /* waiting.waker */ pg_notify('cloudlab_sagas', '') FROM woken LIMIT 1
        """,
    )
