"""The sagas that a command has started, with their steps: what a trace of its events leaves out.

There is no index on the correlation id of a saga either. Its id is of version 7 and carries its time, so that a trace
reads those that were started in a short stretch of it.

Standard: §3.3 Saga State Management, §1.2 Data Domain Mapping
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cloudlab.postgres.transaction import Transaction

MOST_STEPS = 1_000
_SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One attempt at a step of a saga."""

    saga_id: UUID
    saga_type: str
    definition_version: int
    saga_status: str
    step_type: str
    direction: str
    attempt: int
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    error_message: str | None


async def correlation_of(transaction: Transaction, tenant_id: UUID, saga_id: UUID) -> UUID | None:
    """Return the correlation id of a saga, archived or not; None when there is no such saga. Cost: one round trip."""
    found = await transaction.execute(
        """
        SELECT /* tracing.correlation_of */ g.correlation_id FROM cloudlab.saga_instances AS g
        WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id = %(saga_id)s::uuid
        UNION ALL
        SELECT g.correlation_id FROM cloudlab.saga_instances_archive AS g
        WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id = %(saga_id)s::uuid
        """,
        tenant_id=tenant_id,
        saga_id=saga_id,
    )
    rows = found.tuples()
    return rows[0][0] if rows else None


async def steps_of(
    transaction: Transaction, tenant_id: UUID, correlation_id: UUID, *, start: datetime, within: timedelta
) -> Sequence[TracedStep]:
    """Return the steps of the sagas that a command has started, saga by saga, each in order; 1,000 at most.

    Args:
        transaction: Of the platform's worker login.
        tenant_id: Whose sagas.
        correlation_id: The command.
        start: When it began.
        within: How long after that it may have started a saga.

    Cost: one round trip; reads the sagas that the tenant started in that time.
    """
    found = await transaction.execute(
        """
        SELECT /* tracing.steps_of */ g.saga_id, g.saga_type, g.definition_version, g.status AS saga_status,
               j.step_type, j.direction, j.attempt, j.status, j.started_at, j.completed_at, j.error_message
        FROM (SELECT g.saga_id, g.saga_type, g.definition_version, g.status FROM cloudlab.saga_instances AS g
              WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id BETWEEN %(first)s::uuid AND %(last)s::uuid
                AND g.correlation_id = %(correlation_id)s::uuid
              UNION ALL
              SELECT g.saga_id, g.saga_type, g.definition_version, g.status FROM cloudlab.saga_instances_archive AS g
              WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id BETWEEN %(first)s::uuid AND %(last)s::uuid
                AND g.correlation_id = %(correlation_id)s::uuid) AS g
        CROSS JOIN LATERAL (
            SELECT j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at, j.completed_at,
                   j.error_message
            FROM cloudlab.saga_steps AS j WHERE j.tenant_id = %(tenant_id)s::uuid AND j.saga_id = g.saga_id
            UNION ALL
            SELECT j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at, j.completed_at,
                   j.error_message
            FROM cloudlab.saga_steps_archive AS j
            WHERE j.tenant_id = %(tenant_id)s::uuid AND j.saga_id = g.saga_id) AS j
        ORDER BY g.saga_id, j.started_at, j.step_number, j.step_type, j.attempt
        LIMIT %(limit)s::integer
        """,
        tenant_id=tenant_id,
        correlation_id=correlation_id,
        first=_first_id_at(start - _SLACK),
        last=_first_id_at(start + within),
        limit=MOST_STEPS,
    )
    return found.rows(TracedStep)


def _first_id_at(time: datetime) -> UUID:
    return UUID(int=int(time.timestamp() * 1000) << 80)
