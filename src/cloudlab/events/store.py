"""Appending to a stream and reading it back.

Standard: §3.2 Event Store Schema, §3.2 Event Examples
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.session import Session
from cloudlab.values import Event, NewEvent, Stream

NEW = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an append ended: the stream's version, the positions of its events, and the server's time."""

    last_version: int
    positions: list[int]
    recorded_at: datetime


def as_json(value: Mapping[str, Any]) -> str:
    """Write a payload as JSON.

    Raises:
        InvalidInput: It holds a float, which has already lost an amount, or something JSON has no word for.
    """
    _refuse_floats(value)
    try:
        return json.dumps(value, default=_text, ensure_ascii=False)
    except TypeError as error:
        raise InvalidInput(f"this cannot be kept in an event: {error}") from None


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


def _refuse_floats(value: object) -> None:
    if isinstance(value, str):
        return
    if isinstance(value, float):
        raise InvalidInput(f"{value!r} is a float; write amounts as decimal strings")
    if isinstance(value, Mapping):
        value = list(cast(Mapping[object, object], value).values())
    if isinstance(value, list | tuple):
        for part in cast(Sequence[object], value):
            _refuse_floats(part)


async def append(
    s: Session,
    stream: Stream,
    events: Sequence[NewEvent],
    *,
    expected_version: int | None,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Append events to one stream, all or none, and run the inline projections on them.

    Args:
        s: The session whose transaction they become part of.
        stream: The aggregate they happened to.
        events: At least one fact.
        expected_version: Version last read by the caller; NEW (0) = the stream must not exist yet; None = any.
        metadata: Who and why: actor, correlation, causation, trace.

    Returns:
        The stream's version after the append.

    Raises:
        VersionConflict: Another transaction appended first. Read again and decide; never retried for you.

    Cost: one round trip; locks one row of event_streams until the transaction ends.
    Standard: §3.2 Event Store Schema
    """
    parameters = _parameters(stream, events, expected_version, metadata)
    s.note_append()
    appended = await s.fetch_one(Appended, _APPEND, **parameters)
    if s.listens_to(event.event_type for event in events):
        await s.announce(recorded(s, stream, events, parameters, appended))
    return appended.last_version


async def append_next(
    s: Session,
    stream: Stream,
    events: Sequence[NewEvent],
    *,
    expected_version: int,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Append with the next statement or with COMMIT, when no inline projection waits for the events.

    For a caller that has locked the aggregate at this version already, so that the version afterwards is known. A
    conflict is raised by that next statement, or by COMMIT. Arguments and result are those of `append`.

    Cost: none of its own; that of `append` when an inline projection listens.
    """
    if s.listens_to(event.event_type for event in events):
        return await append(s, stream, events, expected_version=expected_version, metadata=metadata)
    s.note_append()
    s.queue(_APPEND, **_parameters(stream, events, expected_version, metadata))
    return expected_version + len(events)


_APPEND = """
    SELECT /* events.append */ a.last_version, a.positions, a.recorded_at
    FROM append_events(%(aggregate_type)s::varchar, %(aggregate_id)s::uuid, %(expected_version)s::integer,
                       %(event_types)s::varchar[], %(event_data)s::jsonb[], %(metadata)s::jsonb) AS a
"""


def _parameters(
    stream: Stream, events: Sequence[NewEvent], expected_version: int | None, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    if not events:
        raise InvalidInput("there is nothing to append: give at least one event")
    return {
        "aggregate_type": stream.aggregate_type,
        "aggregate_id": stream.aggregate_id,
        "expected_version": expected_version,
        "event_types": [event.event_type for event in events],
        "event_data": [as_json(event.data) for event in events],
        "metadata": as_json(metadata) if metadata else None,
    }


def recorded(
    s: Session, stream: Stream, events: Sequence[NewEvent], parameters: Mapping[str, Any], appended: Appended
) -> list[Event]:
    """Return the events as a reader would find them."""
    before = appended.last_version - len(events)
    metadata = parameters["metadata"]
    return [
        Event(
            event_position=appended.positions[number - 1],
            event_id=None,
            tenant_id=s.tenant_id,
            aggregate_type=stream.aggregate_type,
            aggregate_id=stream.aggregate_id,
            event_type=event.event_type,
            event_version=before + number,
            event_data=json.loads(data),
            metadata=json.loads(metadata) if metadata else None,
            created_at=appended.recorded_at,
        )
        for number, (event, data) in enumerate(zip(events, parameters["event_data"], strict=True), 1)
    ]


async def read_stream(s: Session, stream: Stream, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
    """Read the events of one aggregate in order, from the version behind `after_version`.

    Cost: one round trip; an index scan in each month's partition.
    Standard: §3.2 Event Store Schema
    """
    return await s.fetch(
        Event,
        """
        SELECT /* events.read_stream */ e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id,
               e.event_type, e.event_version, e.event_data, e.metadata, e.created_at
        FROM events AS e
        WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
          AND e.aggregate_type = %(aggregate_type)s AND e.event_version > %(after_version)s::integer
        ORDER BY e.event_version
        LIMIT %(limit)s::integer
        """,
        tenant_id=s.tenant_id,
        aggregate_id=stream.aggregate_id,
        aggregate_type=stream.aggregate_type,
        after_version=after_version,
        limit=limit,
    )
