"""Starting a saga in the transaction of whatever makes it necessary, and looking how it stands.

Standard: §3.3 Saga State Management
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cloudlab.errors import CloudLabError, InvalidInput
from cloudlab.events.store import as_json
from cloudlab.sagas.definition import Running, Saga, Wait, aggregate_of, written
from cloudlab.session import Session
from cloudlab.values import Cause, uuid7


async def start(s: Session, saga: Saga, data: object, *, key: str | None = None) -> UUID:
    """Start a saga when this session commits; a worker takes it from there.

    Args:
        s: The session; its cause becomes the saga's, whose events carry the same correlation id.
        saga: What to do.
        data: What the steps need: a mapping of text, whole numbers, ids, times, lists and mappings of those; or a
            dataclass, whose fields may also be amounts, decimals and StrEnums.
        key: One saga of a name for each key in a tenant: started again with the same data, the first is returned.

    Returns:
        The saga's id.

    Raises:
        KeyReused: A saga of this name was started under the key with other data.
        InvalidInput: The data holds a float, or does not say whose event a step waits for.

    Cost: one round trip with a key, none of its own without.
    """
    saga_id, cause = uuid7(), s.metadata
    text = _checked(s, saga_id, saga, data)
    s.note_append()
    parameters: dict[str, object] = {
        "saga_id": saga_id,
        "name": saga.name,
        "version": saga.version,
        "key": key,
        "pivot": saga.pivot,
        "data": text,
        "deadline": saga.deadline,
        "correlation_id": cause["correlation_id"],
        "causation_id": cause.get("causation_id"),
        "actor": cause.get("actor"),
    }
    if key is None:
        s.queue(_START, **parameters)
        return saga_id
    ((started,),) = await s.fetch_tuples(_START, **parameters)
    return started


def _checked(s: Session, saga_id: UUID, saga: Saga, data: object) -> str:
    text = as_json(written(data))
    running = Running(saga_id, s.tenant_id, json.loads(text), {})
    for part in saga.parts:
        if isinstance(part, Wait) and part.of is None:
            aggregate_of(part, running)
    return text


_START = """
    SELECT /* sagas.start */ start_saga(
        %(saga_id)s::uuid, %(name)s::varchar, %(version)s::integer, %(key)s::varchar, %(pivot)s::integer,
        %(data)s::jsonb, %(deadline)s::interval, %(correlation_id)s::uuid, %(causation_id)s::uuid, %(actor)s::varchar)
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A saga to be started where that is the whole transaction."""

    saga: Saga
    data: object
    key: str | None
    cause: Cause


async def start_each(s: Session, starts: Sequence[Start]) -> list[UUID | CloudLabError]:
    """Start several sagas; what is wrong with one fails none of the others."""
    outcomes: list[UUID | CloudLabError] = []
    for each in starts:
        try:
            outcomes.append(await start(s.because(each.cause), each.saga, each.data, key=each.key))
        except InvalidInput as error:  # refused before anything was sent
            outcomes.append(error)
    return outcomes


async def start_all(s: Session, starts: Sequence[Start]) -> list[UUID]:
    """Start sagas, all or none; return their ids in the order given. Errors as of `start`.

    Cost: one round trip, none without sagas.
    """
    if not starts:
        return []
    ids = [uuid7() for _ in starts]
    causes = [each.cause.as_metadata() for each in starts]
    s.note_append()
    started = await s.fetch_tuples(
        """
        SELECT /* starting.start_all */ start_saga(
            w.saga_id, w.name, w.version, w.key, w.pivot, w.data, w.deadline, w.correlation_id, w.causation_id, w.actor)
        FROM unnest(%(saga_ids)s::uuid[], %(names)s::varchar[], %(versions)s::integer[], %(keys)s::varchar[],
                    %(pivots)s::integer[], %(data)s::jsonb[], %(deadlines)s::interval[], %(correlation_ids)s::uuid[],
                    %(causation_ids)s::uuid[], %(actors)s::varchar[])
             AS w (saga_id, name, version, key, pivot, data, deadline, correlation_id, causation_id, actor)
        """,
        saga_ids=ids,
        names=[each.saga.name for each in starts],
        versions=[each.saga.version for each in starts],
        keys=[each.key for each in starts],
        pivots=[each.saga.pivot for each in starts],
        data=[_checked(s, saga_id, each.saga, each.data) for saga_id, each in zip(ids, starts, strict=True)],
        deadlines=[f"{each.saga.deadline.total_seconds()} seconds" if each.saga.deadline else None for each in starts],
        correlation_ids=[cause["correlation_id"] for cause in causes],
        causation_ids=[cause.get("causation_id") for cause in causes],
        actors=[cause.get("actor") for cause in causes],
    )
    return [row[0] for row in started]


@dataclass(frozen=True, slots=True)
class SagaState:
    """A saga as it stands; `next_at` is None once nothing is to be done any more."""

    saga_id: UUID
    saga_type: str
    definition_version: int
    saga_key: str | None
    status: str
    current_step: int
    saga_data: dict[str, Any]
    compensation_data: dict[str, Any] | None
    lease_owner: UUID | None
    next_at: datetime | None
    deadline_at: datetime | None
    waiting_for: str | None
    correlation_id: UUID
    started_by: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def has_ended(self) -> bool:
        """Whether it is completed, compensated, or waits for a human."""
        return self.status in {"completed", "compensated", "failed"}


async def find(s: Session, saga_id: UUID) -> SagaState:
    """Return a saga of the session's tenant, archived or not. Cost: one round trip, two when it is archived.

    Raises:
        NotFound: There is none.
    """
    found = await s.fetch(
        SagaState,
        """
        SELECT /* sagas.find */ g.saga_id, g.saga_type, g.definition_version, g.saga_key, g.status, g.current_step,
               g.saga_data, g.compensation_data, g.lease_owner, nullif(g.next_at, 'infinity') AS next_at, g.deadline_at,
               g.waiting_for, g.correlation_id, g.started_by, g.created_at, g.updated_at
        FROM saga_instances AS g
        WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id = %(saga_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        saga_id=saga_id,
    )
    return found[0] if found else await _find_archived(s, saga_id)


async def _find_archived(s: Session, saga_id: UUID) -> SagaState:
    return await s.fetch_one(
        SagaState,
        """
        SELECT /* starting.find_archived */ g.saga_id, g.saga_type, g.definition_version, g.saga_key, g.status,
               g.current_step, g.saga_data, g.compensation_data, g.lease_owner, g.next_at, g.deadline_at, g.waiting_for,
               g.correlation_id, g.started_by, g.created_at, g.updated_at
        FROM saga_instances_archive AS g
        WHERE g.tenant_id = %(tenant_id)s::uuid AND g.saga_id = %(saga_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        saga_id=saga_id,
    )
