"""What operators see of sagas and do to them; everything they do is on record with who and why.

Standard: §3.3 Saga State Management, §11.3 Operational Excellence
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from cloudlab.postgres.pool import Pools
from cloudlab.sagas.starting import SagaState, find
from cloudlab.session import Session

Action = Literal["retry", "undo", "skip", "cancel", "migrate"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A saga in a list; `last_error` is that of its latest failed attempt."""

    tenant_id: UUID
    tenant_name: str
    saga_id: UUID
    saga_type: str
    definition_version: int
    saga_key: str | None
    status: str
    current_step: int
    next_at: datetime | None
    waiting_for: str | None
    created_at: datetime
    last_error: str | None


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One attempt at a step or its compensation; `seconds` is None while it runs."""

    step_number: int
    step_type: str
    direction: str
    attempt: int
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    seconds: float | None
    result: dict[str, Any] | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class ActionTaken:
    """What an operator did."""

    action: str
    step_type: str | None
    actor: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """A saga with all that happened to it, in order."""

    state: SagaState
    steps: Sequence[StepTaken]
    actions: Sequence[ActionTaken]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many sagas of one definition stand how; `due` could be claimed now, the oldest for `late_seconds`."""

    saga_type: str
    definition_version: int
    status: str
    sagas: int
    leased: int
    due: int
    late_seconds: float


async def listed(
    pools: Pools, url: str, *, statuses: Sequence[str] = (), tenant_id: UUID | None = None, limit: int = 100
) -> list[Listed]:
    """Return sagas of one shard, newest first: of these statuses, or all; of one tenant, or all. Cost: one round trip.

    With neither given, all of the shard's sagas are looked through.
    """
    async with pools.transaction(url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* operations.listed */ g.tenant_id, t.tenant_name, g.saga_id, g.saga_type, g.definition_version,
                   g.saga_key, g.status, g.current_step, nullif(g.next_at, 'infinity') AS next_at, g.waiting_for,
                   g.created_at, e.error_message AS last_error
            FROM cloudlab.saga_instances AS g
            JOIN cloudlab.tenant_local AS t ON t.tenant_id = g.tenant_id
            LEFT JOIN LATERAL (
                SELECT j.error_message FROM cloudlab.saga_steps AS j
                WHERE j.tenant_id = g.tenant_id AND j.saga_id = g.saga_id AND j.error_message IS NOT NULL
                ORDER BY j.started_at DESC LIMIT 1) AS e ON true
            WHERE (cardinality(%(statuses)s::varchar[]) = 0 OR g.status = ANY (%(statuses)s::varchar[]))
              AND (%(tenant_id)s::uuid IS NULL OR g.tenant_id = %(tenant_id)s::uuid)
            ORDER BY g.created_at DESC
            LIMIT %(limit)s::integer
            """,
            statuses=list(statuses),
            tenant_id=tenant_id,
            limit=limit,
        )
        return result.rows(Listed)


async def tallies(pools: Pools, url: str) -> list[Tally]:
    """Count the sagas of one shard by definition and status. Cost: one round trip; reads every saga there is."""
    async with pools.transaction(url) as transaction:
        result = await transaction.execute(
            """
            SELECT /* operations.tallies */ g.saga_type, g.definition_version, g.status, count(*) AS sagas,
                   count(*) FILTER (WHERE g.lease_owner IS NOT NULL AND g.next_at > clock_timestamp()) AS leased,
                   count(*) FILTER (WHERE g.next_at <= clock_timestamp()) AS due,
                   coalesce(extract(epoch FROM max(clock_timestamp() - g.next_at)
                       FILTER (WHERE g.next_at <= clock_timestamp())), 0)::float8 AS late_seconds
            FROM cloudlab.saga_instances AS g
            GROUP BY g.saga_type, g.definition_version, g.status
            ORDER BY g.saga_type, g.definition_version, g.status
            """
        )
        return result.rows(Tally)


async def timeline(s: Session, saga_id: UUID) -> Timeline:
    """Return a saga of the session's tenant with its journal, archived or not. Cost: three round trips, or four.

    Raises:
        NotFound: There is none.
    """
    state = await find(s, saga_id)
    steps = await s.fetch(
        StepTaken,
        """
        SELECT /* operations.timeline */ j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at,
               j.completed_at, extract(epoch FROM j.completed_at - j.started_at)::float8 AS seconds, j.result,
               j.error_message
        FROM (SELECT j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at, j.completed_at,
                     j.result, j.error_message FROM saga_steps AS j
              WHERE j.tenant_id = %(tenant_id)s::uuid AND j.saga_id = %(saga_id)s::uuid
              UNION ALL
              SELECT j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at, j.completed_at,
                     j.result, j.error_message FROM saga_steps_archive AS j
              WHERE j.tenant_id = %(tenant_id)s::uuid AND j.saga_id = %(saga_id)s::uuid) AS j
        ORDER BY j.started_at, j.step_number, j.step_type, j.attempt
        """,
        tenant_id=s.tenant_id,
        saga_id=saga_id,
    )
    actions = await s.fetch(
        ActionTaken,
        """
        SELECT /* operations.timeline */ a.action, a.step_type, a.actor, a.reason, a.created_at
        FROM (SELECT a.action_id, a.action, a.step_type, a.actor, a.reason, a.created_at FROM saga_actions AS a
              WHERE a.tenant_id = %(tenant_id)s::uuid AND a.saga_id = %(saga_id)s::uuid
              UNION ALL
              SELECT a.action_id, a.action, a.step_type, a.actor, a.reason, a.created_at FROM saga_actions_archive AS a
              WHERE a.tenant_id = %(tenant_id)s::uuid AND a.saga_id = %(saga_id)s::uuid) AS a
        ORDER BY a.action_id
        """,
        tenant_id=s.tenant_id,
        saga_id=saga_id,
    )
    return Timeline(state, steps, actions)


async def steer(
    s: Session,
    saga_id: UUID,
    action: Action,
    *,
    actor: str,
    reason: str,
    step: str | None = None,
    version: int | None = None,
) -> str:
    """Do something to a saga that has not ended; return its new status. Whoever runs it now cannot write any more.

    Args:
        s: A session of its tenant.
        saga_id: The saga.
        action: `retry` it now, with its attempts counted anew; `cancel` it, which compensates it before its pivot;
            `undo` it, which does so behind the pivot too; `skip` the step it is at, or that step's compensation;
            `migrate` it to another version of its definition.
        actor: Who does it.
        reason: Why.
        step: Which step is skipped.
        version: To which version it is migrated.

    Raises:
        NotFound: There is no such saga, or it has not come to that step.
        IllegalTransition: It has ended, is being compensated already, or has passed its pivot.

    Cost: one round trip.
    """
    s.note_start()
    ((status,),) = await s.fetch_tuples(
        """
        SELECT /* operations.steer */ steer_saga(
            %(saga_id)s::uuid, %(action)s::varchar, %(step)s::varchar, %(version)s::integer, %(actor)s::varchar,
            %(reason)s::text)
        """,
        saga_id=saga_id,
        action=action,
        step=step,
        version=version,
        actor=actor,
        reason=reason,
    )
    return status
