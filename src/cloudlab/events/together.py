"""Appending to several streams in one call: all or none, or each with an outcome of its own.

Standard: §3.2 Event Store Schema
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cloudlab.errors import InvalidInput, VersionConflict
from cloudlab.events import subjects
from cloudlab.events.store import Appended, as_json, metadata_of, recorded
from cloudlab.session import Session
from cloudlab.values import Event, NewEvent, Stream


@dataclass(frozen=True, slots=True)
class StreamAppend:
    """What is to be appended to one stream, if that is at the expected version: 0 = new, None = any."""

    stream: Stream
    events: Sequence[object]
    expected_version: int | None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """An append whose events are written down: typed ones as facts, personal fields sealed."""

    stream: Stream
    events: list[NewEvent]
    expected_version: int | None
    metadata: str


@dataclass(frozen=True, slots=True)
class _AppendedMany:
    last_versions: list[int | None]
    found_versions: list[int] | None
    positions: list[int] | None
    recorded_at: datetime


async def append_each(s: Session, appends: Sequence[StreamAppend]) -> list[int | VersionConflict]:
    """Append to several different streams, each with an outcome of its own: its new version, or why it was refused.

    Raises:
        InvalidInput: A stream is named twice, or nothing is to be appended to one.

    Cost: one round trip; locks the row of each stream in event_streams, in sorted order.
    """
    facts = await _written(s, appends)
    parameters = _parameters(facts)
    s.note_append()
    done = await s.fetch_one(
        _AppendedMany,
        """
        SELECT /* together.append_each */ a.last_versions, a.found_versions, a.positions, a.recorded_at
        FROM append_streams(%(aggregate_types)s::varchar[], %(aggregate_ids)s::uuid[], %(expected_versions)s::integer[],
                            %(event_counts)s::integer[], %(event_types)s::varchar[], %(event_data)s::jsonb[],
                            %(metadata)s::jsonb[]) AS a
        """,
        **parameters,
    )
    await _announce(s, facts, parameters, done)
    found = done.found_versions or []
    return [
        version if version is not None else _conflict(appends[number], found[number])
        for number, version in enumerate(done.last_versions)
    ]


async def append_all(s: Session, appends: Sequence[StreamAppend]) -> list[int]:
    """Append to several different streams, all or none; return their new versions.

    Raises:
        VersionConflict: One of them is not at its expected version; the transaction can only be rolled back.
        InvalidInput: A stream is named twice, or nothing is to be appended to one.

    Cost: as `append_each`.
    """
    facts = await _written(s, appends)
    parameters = _parameters(facts)
    s.note_append()
    done = await s.fetch_one(_AppendedMany, _APPEND_ALL, **parameters)
    await _announce(s, facts, parameters, done)
    return [version for version in done.last_versions if version is not None]


async def append_all_next(s: Session, appends: Sequence[StreamAppend]) -> None:
    """Append with the next statement or with COMMIT, when no inline projection waits for the events.

    For a caller that has locked the aggregates at these versions already. A conflict is raised by that next statement.

    Cost: none of its own; that of `append_all` when an inline projection listens.
    """
    facts = await _written(s, appends)
    if s.listens_to(event.event_type for each in facts for event in each.events):
        await append_all(s, [replace(each, events=fact.events) for each, fact in zip(appends, facts, strict=True)])
    else:
        s.note_append()
        s.queue(_APPEND_ALL, **_parameters(facts))


_APPEND_ALL = """
    SELECT /* together.append_all */ a.last_versions, a.found_versions, a.positions, a.recorded_at
    FROM append_streams_all(%(aggregate_types)s::varchar[], %(aggregate_ids)s::uuid[], %(expected_versions)s::integer[],
                            %(event_counts)s::integer[], %(event_types)s::varchar[], %(event_data)s::jsonb[],
                            %(metadata)s::jsonb[]) AS a
"""


def _conflict(append: StreamAppend, found: int) -> VersionConflict:
    stream = append.stream
    return VersionConflict(
        f"{stream.aggregate_type} {stream.aggregate_id} is at version {found}, not {append.expected_version}"
    )


async def _written(s: Session, appends: Sequence[StreamAppend]) -> list[_Facts]:
    if len({each.stream.aggregate_id for each in appends}) != len(appends):
        raise InvalidInput("a stream is named twice", hint="Put all events of one stream into one append.")
    if not all(each.events for each in appends):
        raise InvalidInput("there is nothing to append: give at least one event")
    return [
        _Facts(
            each.stream,
            await subjects.sealed(s, each.stream, each.events),
            each.expected_version,
            as_json(metadata_of(s, each.metadata)),
        )
        for each in appends
    ]


def _parameters(facts: Sequence[_Facts]) -> dict[str, Any]:
    return {
        "aggregate_types": [each.stream.aggregate_type for each in facts],
        "aggregate_ids": [each.stream.aggregate_id for each in facts],
        "expected_versions": [each.expected_version for each in facts],
        "event_counts": [len(each.events) for each in facts],
        "event_types": [event.event_type for each in facts for event in each.events],
        "event_data": [as_json(event.data) for each in facts for event in each.events],
        "metadata": [each.metadata for each in facts for _ in each.events],
    }


async def _announce(s: Session, facts: Sequence[_Facts], parameters: Mapping[str, Any], done: _AppendedMany) -> None:
    """Tell the inline projections of the events that were accepted, as a reader would find them."""
    if not s.listens_to(event.event_type for each in facts for event in each.events):
        return
    positions, payloads, texts = iter(done.positions or ()), iter(parameters["event_data"]), parameters["metadata"]
    accepted: list[Event] = []
    first = 0
    for each, last in zip(facts, done.last_versions, strict=True):
        texts_of_each = {"event_data": [next(payloads) for _ in each.events], "metadata": texts[first]}
        first += len(each.events)
        if last is not None:
            appended = Appended(last, [next(positions) for _ in each.events], done.recorded_at)
            accepted += recorded(s, each.stream, each.events, texts_of_each, appended)
    await s.announce(accepted)
