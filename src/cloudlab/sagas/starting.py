"""Starting a saga in the transaction of whatever makes it necessary, and looking how it stands.

Standard: §3.3 Saga State Management
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cloudlab.errors import CloudLabError, InvalidInput
from cloudlab.events.store import as_json
from cloudlab.sagas.definition import Running, Saga, Wait, aggregate_of, written
from cloudlab.sagas.history import Claimed
from cloudlab.session import Session
from cloudlab.values import Cause, uuid7


@dataclass(frozen=True, slots=True)
class Owner:
    """A worker that goes on at once with what it starts, and for how long nobody else does."""

    worker_id: UUID
    lease_seconds: float


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
    claimed = _prepared(s, saga, data)
    s.note_start()
    return await _start(s, saga, claimed, key)


def _prepared(s: Session, saga: Saga, data: object) -> Claimed:
    """Return a new saga as its first owner has it, when what it waits for is known."""
    saga_id, cause, text, now = uuid7(), s.metadata, as_json(written(data)), datetime.now(UTC)
    running = Running(saga_id, s.tenant_id, json.loads(text), {})
    for part in saga.parts:
        if isinstance(part, Wait) and part.of is None:
            aggregate_of(part, running)
    causation_id = cause.get("causation_id")
    return Claimed(
        tenant_id=s.tenant_id,
        saga_id=saga_id,
        saga_type=saga.name,
        definition_version=saga.version,
        status="running",
        saga_data=text,
        epoch=1,
        deadline_at=now + saga.deadline if saga.deadline else None,
        resumed_at=None,
        correlation_id=UUID(cause["correlation_id"]),
        causation_id=UUID(causation_id) if causation_id else None,
        started_by=cause.get("actor"),
        journal=None,
    )


async def _start(s: Session, saga: Saga, new: Claimed, key: str | None, owner: Owner | None = None) -> UUID:
    parameters: dict[str, object] = {
        "saga_id": new.saga_id,
        "name": saga.name,
        "version": saga.version,
        "key": key,
        "pivot": saga.pivot,
        "data": new.saga_data,
        "deadline": saga.deadline,
        "correlation_id": new.correlation_id,
        "causation_id": new.causation_id,
        "actor": new.started_by,
        "worker_id": owner.worker_id if owner else None,
        "lease": str(owner.lease_seconds if owner else 0),
    }
    if key is None:
        s.queue(_START, **parameters)
        return new.saga_id
    ((started,),) = await s.fetch_tuples(_START, **parameters)
    return started


_START = """
    SELECT /* sagas.start */ start_saga(
        %(saga_id)s::uuid, %(name)s::varchar, %(version)s::integer, %(key)s::varchar, %(pivot)s::integer,
        %(data)s::jsonb, %(deadline)s::interval, %(correlation_id)s::uuid, %(causation_id)s::uuid, %(actor)s::varchar,
        %(worker_id)s::uuid, make_interval(secs => %(lease)s::float8))
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A saga to be started where that is the whole transaction; with an owner, which then has it from the beginning."""

    saga: Saga
    data: object
    key: str | None
    cause: Cause
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What has been started, under which id; `claimed` is for the owner, None when there is none or it was there."""

    saga_id: UUID
    claimed: Claimed | None


async def start_each(s: Session, starts: Sequence[Start]) -> list[Started | CloudLabError]:
    """Start several sagas; what is wrong with one fails none of the others."""
    outcomes: list[Started | CloudLabError] = []
    for each in starts:
        try:
            new = _prepared(s.because(each.cause), each.saga, each.data)
        except InvalidInput as error:  # refused before anything was sent
            outcomes.append(error)
            continue
        saga_id = await _start(s, each.saga, new, each.key, each.owner)
        outcomes.append(Started(saga_id, new if each.owner and saga_id == new.saga_id else None))
        if each.owner is None:
            s.note_start()
    return outcomes


async def start_all(s: Session, starts: Sequence[Start]) -> list[UUID]:
    """Start sagas, all or none; return their ids in the order given. Errors as of `start`.

    Cost: one round trip, none without sagas.
    """
    if not starts:
        return []
    new = [_prepared(s.because(each.cause), each.saga, each.data) for each in starts]
    s.note_start()
    started = await s.fetch_tuples(
        """
        SELECT /* starting.start_all */ start_saga(
            w.saga_id, w.name, w.version, w.key, w.pivot, w.data, w.deadline, w.correlation_id, w.causation_id, w.actor,
            NULL, NULL)
        FROM unnest(%(saga_ids)s::uuid[], %(names)s::varchar[], %(versions)s::integer[], %(keys)s::varchar[],
                    %(pivots)s::integer[], %(data)s::jsonb[], %(deadlines)s::interval[], %(correlation_ids)s::uuid[],
                    %(causation_ids)s::uuid[], %(actors)s::varchar[])
             AS w (saga_id, name, version, key, pivot, data, deadline, correlation_id, causation_id, actor)
        """,
        saga_ids=[each.saga_id for each in new],
        names=[each.saga.name for each in starts],
        versions=[each.saga.version for each in starts],
        keys=[each.key for each in starts],
        pivots=[each.saga.pivot for each in starts],
        data=[each.saga_data for each in new],
        deadlines=[f"{each.saga.deadline.total_seconds()} seconds" if each.saga.deadline else None for each in starts],
        correlation_ids=[each.correlation_id for each in new],
        causation_ids=[each.causation_id for each in new],
        actors=[each.started_by for each in new],
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
