"""What one command caused: its events across all streams, as a tree by causation.

There is no index on the correlation id: one would add an entry of some 90 bytes to every append, for a question that is
asked by hand. Ids of version 7 carry their time instead, and the primary key leads from a time to a position
(`event_position_at`), so that a trace reads a short stretch of the feed.

Standard: §1.2 Data Domain Mapping
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cloudlab.errors import NotFound
from cloudlab.events.rows import parsed
from cloudlab.postgres.transaction import Transaction
from cloudlab.values import Event, uuid7_time

MOST_EVENTS = 1_000
MOST_COMMANDS = 20
# Clocks of different machines, and the time between making an id and recording the event.
_SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Node:
    """An event and what it caused."""

    event: Event
    caused: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Trace:
    """All that one command caused, in order; `is_complete` is False when there was more than is shown."""

    correlation_id: UUID
    events: tuple[Event, ...]
    is_complete: bool

    def roots(self) -> tuple[Node, ...]:
        """Return the events whose cause is not in this trace, each with what it caused."""
        known = {event.event_id for event in self.events}
        children: defaultdict[UUID | None, list[Event]] = defaultdict(list)
        for event in self.events:
            cause = _id_in(event, "causation_id")
            children[cause if cause in known and cause != event.event_id else None].append(event)
        return _nodes(children, None)


def _nodes(children: dict[UUID | None, list[Event]], cause: UUID | None) -> tuple[Node, ...]:
    # Taken out, so that ids that name each other in a circle end somewhere.
    return tuple(Node(event, _nodes(children, event.event_id)) for event in children.pop(cause, []))


async def trace(
    transaction: Transaction, tenant_id: UUID, entry: UUID, *, within: timedelta, since: datetime | None = None
) -> list[Trace]:
    """Find the commands an id belongs to, and what each caused.

    Args:
        transaction: Of the platform's worker login, which sees the events of every tenant.
        tenant_id: Whose events.
        entry: A correlation id, an event id, or the id of an aggregate: then its last 20 commands.
        within: How long after its beginning a command may have caused something.
        since: Where to look, for an id that is not of version 7 and so does not carry its time.

    Raises:
        NotFound: Nothing is known by this id there.

    Cost: two round trips and one for each command; reads the feed of the shard for `within`.
    """
    entries = await _of_stream(transaction, tenant_id, entry) or await _by_id(transaction, tenant_id, entry, since)
    begun = {_correlation(event): event.created_at for event in reversed(entries)} or {entry: None}
    traces: list[Trace] = []
    for correlation_id, seen_at in list(begun.items())[-MOST_COMMANDS:]:
        start = uuid7_time(correlation_id) or since or seen_at
        events = await _correlated(transaction, tenant_id, correlation_id, start, within)
        if events:
            complete = len(events) <= MOST_EVENTS
            traces.append(Trace(correlation_id, tuple(events[:MOST_EVENTS]), complete))
    if not traces:
        raise NotFound(
            f"no event is known by {entry}",
            hint="An id that is not of version 7 carries no time: say --since when to look.",
        )
    return traces


def _correlation(event: Event) -> UUID:
    correlation_id = _id_in(event, "correlation_id") or event.event_id
    assert correlation_id is not None  # a recorded event has an id
    return correlation_id


def _id_in(event: Event, name: str) -> UUID | None:
    try:
        return UUID(str((event.metadata or {}).get(name)))
    except ValueError:
        return None


async def _of_stream(transaction: Transaction, tenant_id: UUID, aggregate_id: UUID) -> list[Event]:
    found = await transaction.execute(
        """
        SELECT /* tracing.trace */ e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id,
               e.event_type, e.event_version, e.event_data::text, e.metadata::text, e.created_at
        FROM cloudlab.events AS e
        WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
        ORDER BY e.event_version DESC
        LIMIT %(limit)s::integer
        """,
        tenant_id=tenant_id,
        aggregate_id=aggregate_id,
        limit=MOST_EVENTS,
    )
    return _events(found.tuples())


async def _by_id(transaction: Transaction, tenant_id: UUID, event_id: UUID, since: datetime | None) -> list[Event]:
    about = uuid7_time(event_id) or since
    found = await transaction.execute(
        """
        SELECT /* tracing.trace */ e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id,
               e.event_type, e.event_version, e.event_data::text, e.metadata::text, e.created_at
        FROM cloudlab.events AS e
        WHERE e.event_position > (SELECT cloudlab.event_position_at(%(from)s::timestamptz))
          AND e.event_position <= (SELECT cloudlab.event_position_at(%(until)s::timestamptz))
          AND e.tenant_id = %(tenant_id)s::uuid AND e.event_id = %(event_id)s::uuid
        """,
        **{"from": about - _SLACK if about else None, "until": about + _SLACK if about else None},
        tenant_id=tenant_id,
        event_id=event_id,
    )
    return _events(found.tuples())


async def _correlated(
    transaction: Transaction, tenant_id: UUID, correlation_id: UUID, start: datetime | None, within: timedelta
) -> list[Event]:
    found = await transaction.execute(
        """
        SELECT /* tracing.trace */ e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id,
               e.event_type, e.event_version, e.event_data::text, e.metadata::text, e.created_at
        FROM cloudlab.events AS e
        WHERE e.event_position > (SELECT cloudlab.event_position_at(%(from)s::timestamptz))
          AND e.event_position <= (SELECT cloudlab.event_position_at(%(until)s::timestamptz))
          AND e.tenant_id = %(tenant_id)s::uuid
          AND (e.metadata ->> 'correlation_id' = %(correlation_id)s OR e.event_id = %(correlation_id)s::uuid)
        ORDER BY e.event_position
        LIMIT %(limit)s::integer
        """,
        **{"from": start - _SLACK if start else None, "until": start + within if start else None},
        tenant_id=tenant_id,
        correlation_id=str(correlation_id),
        limit=MOST_EVENTS + 1,
    )
    return _events(found.tuples())


_COLUMNS = (
    "event_position", "event_id", "tenant_id", "aggregate_type", "aggregate_id", "event_type", "event_version",
    "event_data", "metadata", "created_at",
)  # fmt: skip


def _events(rows: Sequence[tuple[Any, ...]]) -> list[Event]:
    return [Event(**dict(zip(_COLUMNS, (*row[:7], *parsed(row[7:9]), row[9]), strict=True))) for row in rows]
