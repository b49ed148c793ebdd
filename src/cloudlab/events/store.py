"""Appending to a stream and reading it back.

Standard: §3.2 Event Store Schema, §3.2 Event Examples
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.events import subjects
from cloudlab.events.history import read_stream_history
from cloudlab.events.rows import of_stream
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
        return _ENCODE(value)
    except TypeError as error:
        raise InvalidInput(f"this cannot be kept in an event: {error}") from None


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


_ENCODE = json.JSONEncoder(default=_text, ensure_ascii=False).encode
_HARMLESS = frozenset((str, int, bool, type(None), UUID, datetime))


def _refuse_floats(value: object) -> None:
    if isinstance(value, Mapping):
        value = cast(Mapping[object, object], value).values()
    for part in cast(Iterable[object], value):
        if type(part) in _HARMLESS:
            continue
        if isinstance(part, float):
            raise InvalidInput(f"{part!r} is a float; write amounts as decimal strings")
        if isinstance(part, Mapping | list | tuple):
            _refuse_floats(cast(object, part))


def metadata_of(s: Session, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what an event appended in this session says of its cause; what is given for it alone wins."""
    return {**s.metadata, **extra} if extra else dict(s.metadata)


async def append(
    s: Session,
    stream: Stream,
    events: Sequence[object],
    *,
    expected_version: int | None,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Append events to one stream, all or none, and run the inline projections on them.

    Args:
        s: The session whose transaction they become part of.
        stream: The aggregate they happened to.
        events: At least one fact: NewEvents, or objects of classes registered with `types.event`.
        expected_version: Version last read by the caller; NEW (0) = the stream must not exist yet; None = any.
        metadata: What the events say of their cause beside what the session says; it wins over that.

    Returns:
        The stream's version after the append.

    Raises:
        VersionConflict: Another transaction appended first. Read again and decide; never retried for you.

    Cost: one round trip; locks one row of event_streams until the transaction ends. Personal fields: see
    `subjects.sealed`.
    Standard: §3.2 Event Store Schema
    """
    facts = await subjects.sealed(s, stream, events)
    parameters = _parameters(stream, facts, expected_version, metadata_of(s, metadata))
    s.note_append()
    appended = await s.fetch_one(Appended, _APPEND, **parameters)
    if s.listens_to(fact.event_type for fact in facts):
        await s.announce(recorded(s, stream, facts, parameters, appended))
    return appended.last_version


async def append_next(
    s: Session,
    stream: Stream,
    events: Sequence[object],
    *,
    expected_version: int,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Append with the next statement or with COMMIT, when no inline projection waits for the events.

    For a caller that has locked the aggregate at this version already, so that the version afterwards is known. A
    conflict is raised by that next statement, or by COMMIT. Arguments and result are those of `append`.

    Cost: none of its own; that of `append` when an inline projection listens.
    """
    facts = await subjects.sealed(s, stream, events)
    if s.listens_to(fact.event_type for fact in facts):
        return await append(s, stream, facts, expected_version=expected_version, metadata=metadata)
    s.note_append()
    s.queue(_APPEND, **_parameters(stream, facts, expected_version, metadata_of(s, metadata)))
    return expected_version + len(facts)


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


async def read_stream(
    s: Session, stream: Stream, *, after_version: int | None = None, limit: int = 1000, backward: bool = False
) -> list[Event]:
    """Read the events of one aggregate, forward from the first or backward from the last.

    Args:
        s: The session.
        stream: The aggregate.
        after_version: Begin behind this version in the direction of reading: above it, or below it.
        limit: At most so many.
        backward: The newest first.

    Cost: one round trip; an index scan in each month's partition. A second one, into the archive, when what was found
    does not reach the version asked for.
    Standard: §3.2 Event Store Schema
    """
    behind = after_version if after_version is not None else 2**31 - 1 if backward else 0
    rows = await s.fetch_tuples(
        _READ_BACKWARD if backward else _READ,
        tenant_id=s.tenant_id,
        aggregate_id=stream.aggregate_id,
        aggregate_type=stream.aggregate_type,
        after_version=behind,
        limit=limit,
    )
    found = of_stream(rows, s.tenant_id, stream)
    if _is_whole(found, behind, limit, backward=backward):
        return found
    return await read_stream_history(s, stream, after_version=behind, limit=limit, backward=backward)


def _is_whole(found: Sequence[Event], behind: int, limit: int, *, backward: bool) -> bool:
    """Return whether no older month, which may be archived, can hold a part of what was asked for."""
    if not backward:
        return bool(found) and found[0].event_version == behind + 1
    return len(found) == limit or (bool(found) and found[-1].event_version == 1) or behind <= 1


_READ = """
    SELECT /* events.read_stream */ e.event_position, e.event_id, e.event_type, e.event_version, e.event_data::text,
           e.metadata::text, e.created_at
    FROM events AS e
    WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
      AND e.aggregate_type = %(aggregate_type)s AND e.event_version > %(after_version)s::integer
    ORDER BY e.event_version
    LIMIT %(limit)s::integer
"""
_READ_BACKWARD = """
    SELECT /* events.read_stream_backward */ e.event_position, e.event_id, e.event_type, e.event_version,
           e.event_data::text, e.metadata::text, e.created_at
    FROM events AS e
    WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
      AND e.aggregate_type = %(aggregate_type)s AND e.event_version < %(after_version)s::integer
    ORDER BY e.event_version DESC
    LIMIT %(limit)s::integer
"""
