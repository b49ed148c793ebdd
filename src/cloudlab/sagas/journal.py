"""Writing what sagas have come to: many in one transaction, each only while this worker still holds it.

The local step of a saga runs in the transaction that writes its journal row. Steps of different sagas of a tenant that
wait at the same time share one; when one of them fails, they are run again one by one.

Standard: §3.3 Saga State Management
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from cloudlab.errors import CloudLabError
from cloudlab.events.store import as_json
from cloudlab.sagas.history import Entry
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Cause

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# Small enough that, of many sagas in flight, one batch is prepared here while the server works on another.
MOST_TOGETHER = 16
ENDED = -1.0


class Sessions(Protocol):
    """What sagas need of a platform."""

    async def tenant(self, name: str | UUID) -> Tenant:
        """Return a tenant."""
        ...

    def session(self, tenant: Tenant, *, cause: Cause | None = None) -> AbstractAsyncContextManager[Session]:
        """Open a session."""
        ...

    async def combine(
        self,
        tenant: Tenant,
        work: Callable[[Session, Sequence[Item]], Awaitable[Sequence[Outcome | CloudLabError]]],
        item: Item,
        *,
        key: Callable[[Item], UUID] | None = None,
        most: int = MOST_TOGETHER,
    ) -> Outcome:
        """Run one item together with others of its tenant."""
        ...


@dataclass(frozen=True, slots=True)
class Write:
    """What is written of one saga.

    Attributes:
        saga_id: The saga.
        epoch: Of this worker's claim; a newer one in the table means that the saga has gone to somebody else.
        current_step: The step it has reached.
        entries: Rows of the journal; a row of an attempt that is there already is brought up to date.
        status: Its new status, None = as it was.
        wake: Give it back until so many seconds from now; ENDED = for good; None = it stays with this worker.
        compensation: Why it is compensated from now on.
        waiting_for: The type of the event it waits for.
        waiting_on: The aggregate whose event it is.
    """

    saga_id: UUID
    epoch: int
    current_step: int
    entries: tuple[Entry, ...] = ()
    status: str | None = None
    wake: float | None = None
    compensation: Mapping[str, Any] | None = None
    waiting_for: str | None = None
    waiting_on: UUID | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A write, and what is done in its transaction: local steps, which return what is written instead."""

    write: Write
    do: Callable[[Session], Awaitable[Write]] | None = None
    cause: Cause | None = None


def saga_of(turn: Turn) -> UUID:
    """Return which saga a turn is of: two turns of one are never in the same transaction."""
    return turn.write.saga_id


async def take_turns(s: Session, turns: Sequence[Turn]) -> list[Write]:
    """Run the local steps of several sagas and journal them; return what was written of each.

    Raises:
        LeaseLost: At COMMIT: another worker, or an operator, has one of the sagas now.

    Cost: what the steps cost, and no round trip of its own: the journal travels with COMMIT.
    """
    writes = [await _done(s, turn) for turn in turns]
    s.queue(_JOURNAL, **_parameters(writes))
    return writes


async def _done(s: Session, turn: Turn) -> Write:
    if turn.do is None:
        return turn.write
    return await turn.do(s.because(turn.cause) if turn.cause else s)


_JOURNAL = """
    SELECT /* journal.take_turns */ journal_sagas(
        %(saga_ids)s::uuid[], %(epochs)s::integer[], %(current_steps)s::integer[], %(statuses)s::varchar[],
        %(wakes)s::float8[], %(compensations)s::jsonb[], %(waiting_for)s::varchar[], %(waiting_on)s::uuid[],
        %(step_saga_ids)s::uuid[], %(step_numbers)s::integer[], %(step_types)s::varchar[], %(directions)s::varchar[],
        %(attempts)s::integer[], %(step_statuses)s::varchar[], %(started)s::timestamptz[],
        %(completed)s::timestamptz[], %(results)s::jsonb[], %(errors)s::text[])
"""


def _parameters(writes: Sequence[Write]) -> dict[str, object]:
    rows = [(write.saga_id, entry) for write in writes for entry in write.entries]
    return {
        "saga_ids": [write.saga_id for write in writes],
        "epochs": [write.epoch for write in writes],
        "current_steps": [write.current_step for write in writes],
        "statuses": [write.status for write in writes],
        "wakes": [None if write.wake is None else str(write.wake) for write in writes],
        "compensations": [None if write.compensation is None else as_json(write.compensation) for write in writes],
        "waiting_for": [write.waiting_for for write in writes],
        "waiting_on": [write.waiting_on for write in writes],
        "step_saga_ids": [saga_id for saga_id, _ in rows],
        "step_numbers": [entry.step_number for _, entry in rows],
        "step_types": [entry.step_type for _, entry in rows],
        "directions": [entry.direction for _, entry in rows],
        "attempts": [entry.attempt for _, entry in rows],
        "step_statuses": [entry.status for _, entry in rows],
        "started": [entry.started_at.isoformat() for _, entry in rows],
        "completed": [_iso(entry.completed_at) for _, entry in rows],
        "results": [entry.result for _, entry in rows],
        "errors": [entry.error for _, entry in rows],
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
