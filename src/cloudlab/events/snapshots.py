"""Folding a stream into a state, from its newest snapshot on.

    balance = await snapshots.load(s, account, fold, Balance(), kept_as=FORMAT)
    if balance.folded > 500:
        await snapshots.save(s, account, balance, FORMAT)

A snapshot is a shortcut: dropping all of them changes no result.

Standard: §3.2 Event Store Schema
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from cloudlab.events import subjects
from cloudlab.events.history import read_stream_history
from cloudlab.events.rows import of_stream
from cloudlab.events.store import as_json, read_stream
from cloudlab.events.types import is_sealed
from cloudlab.session import Session
from cloudlab.values import Event, Stream

S = TypeVar("S")

_PAGE = 5_000


@dataclass(frozen=True)  # no slots: with them SnapshotFormat[State](…) is a TypeError in Python 3.11
class SnapshotFormat(Generic[S]):
    """How a state is kept. Raise `schema_version` whenever the state or its fold changes: older ones do not count."""

    schema_version: int
    encode: Callable[[S], Mapping[str, Any]]
    decode: Callable[[dict[str, Any]], S]


@dataclass(frozen=True)
class Folded(Generic[S]):
    """A state, the version of its stream (0: there is no such stream), and how many events were folded into it."""

    state: S
    version: int
    folded: int


async def load(
    s: Session,
    stream: Stream,
    fold: Callable[[S, Event], S],
    initial: S,
    *,
    kept_as: SnapshotFormat[S] | None = None,
    revealed: bool = False,
) -> Folded[S]:
    """Fold the events of a stream, beginning with its newest snapshot when there is one in this format.

    Args:
        s: The session.
        stream: The aggregate.
        fold: Returns the state after an event; it must depend on nothing else.
        initial: The state before the first event.
        kept_as: How snapshots are kept; without it there are none.
        revealed: Open the personal fields; one more round trip for each page that has any.

    Raises:
        InvariantBroken: A sealed snapshot was changed or moved after it was written.

    Cost: one round trip for the snapshot and the 5,000 events behind it, one for each 5,000 more, and one for the key
    of a snapshot that holds a person's data. Events that were archived after the snapshot, or without one, are read
    from the archive.
    """
    rows = await s.fetch_tuples(
        """
        WITH newest AS (
            SELECT n.event_version, n.state
            FROM event_snapshots AS n
            WHERE n.tenant_id = %(tenant_id)s::uuid AND n.aggregate_id = %(aggregate_id)s::uuid
              AND n.schema_version = %(schema_version)s::integer)
        SELECT /* snapshots.load */ NULL::bigint AS event_position, NULL::uuid AS event_id, NULL::varchar AS event_type,
               h.event_version, NULL::text AS event_data, NULL::text AS metadata, NULL::timestamptz AS created_at
        FROM event_streams AS h
        WHERE h.tenant_id = %(tenant_id)s::uuid AND h.aggregate_id = %(aggregate_id)s::uuid
          AND h.aggregate_type = %(aggregate_type)s
        UNION ALL
        SELECT NULL, NULL, NULL, n.event_version, n.state::text, NULL, NULL
        FROM newest AS n
        UNION ALL
        (SELECT e.event_position, e.event_id, e.event_type, e.event_version, e.event_data::text, e.metadata::text,
                e.created_at
         FROM events AS e
         WHERE e.tenant_id = %(tenant_id)s::uuid AND e.aggregate_id = %(aggregate_id)s::uuid
           AND e.aggregate_type = %(aggregate_type)s
           AND e.event_version > coalesce((SELECT n.event_version FROM newest AS n), 0)
         ORDER BY e.event_version
         LIMIT %(limit)s::integer)
        """,
        tenant_id=s.tenant_id,
        aggregate_id=stream.aggregate_id,
        aggregate_type=stream.aggregate_type,
        schema_version=kept_as.schema_version if kept_as else None,
        limit=_PAGE,
    )
    head, version, state = 0, 0, initial
    # The stream's head and the snapshot are no events: they have no position.
    for _, _, _, number, kept, _, _ in [row for row in rows if row[0] is None]:
        if kept is None:
            head = number
        elif kept_as and (opened := await _opened(s, stream, number, json.loads(kept))) is not None:
            version, state = number, kept_as.decode(opened)
    events = of_stream([row for row in rows if row[0] is not None], s.tenant_id, stream)
    is_whole = (events[0].event_version if events else head + 1) <= version + 1
    if not is_whole:
        events = await read_stream_history(s, stream, after_version=version, limit=_PAGE)
    folded = 0
    while events:
        for event in await subjects.reveal(s, events) if revealed else events:
            state = fold(state, event)
        version, folded, was_full = events[-1].event_version, folded + len(events), len(events) == _PAGE
        events = await read_stream(s, stream, after_version=version, limit=_PAGE) if was_full else []
    return Folded(state, version, folded)


async def save(
    s: Session, stream: Stream, folded: Folded[S], kept_as: SnapshotFormat[S], *, subject_id: UUID | None = None
) -> None:
    """Keep a state with the next statement or with COMMIT; one that is newer, or in a newer format, stays.

    Args:
        s: The session.
        stream: The aggregate.
        folded: What `load` returned, or what the caller has brought forward to a later version.
        kept_as: How to keep it.
        subject_id: The person whose data the state holds: it is sealed with their key, erasing the person drops the
            snapshot, and no other is kept afterwards.

    Raises:
        ConfigError: There is a `subject_id` and no master key.

    Cost: none of its own; with a `subject_id` one round trip for the key, and one more when the person has none yet.
    """
    state = as_json(kept_as.encode(folded.state))
    if subject_id:
        sealed = await subjects.seal_text(s, subject_id, state, _place(stream, folded.version))
        if sealed is None:
            return
        state = as_json(sealed)
        subjects.hold(s, subject_id)
    s.queue(
        """
        INSERT /* snapshots.save */ INTO event_snapshots AS n
            (tenant_id, aggregate_id, event_version, schema_version, subject_id, state)
        SELECT %(tenant_id)s::uuid, %(aggregate_id)s::uuid, %(event_version)s::integer, %(schema_version)s::integer,
               %(subject_id)s::uuid, %(state)s::jsonb
        WHERE NOT EXISTS (
            SELECT FROM subject_keys AS k
            WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = %(subject_id)s::uuid AND k.erased_at IS NOT NULL)
        ON CONFLICT (tenant_id, aggregate_id) DO UPDATE
        SET event_version = excluded.event_version, schema_version = excluded.schema_version,
            subject_id = excluded.subject_id, state = excluded.state
        WHERE (n.schema_version, n.event_version) < (excluded.schema_version, excluded.event_version)
        """,
        tenant_id=s.tenant_id,
        aggregate_id=stream.aggregate_id,
        event_version=folded.version,
        schema_version=kept_as.schema_version,
        subject_id=subject_id,
        state=state,
    )


async def _opened(s: Session, stream: Stream, version: int, kept: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state that a snapshot holds, None when this session may not have it: it folds the stream instead."""
    if not is_sealed(kept):
        return kept
    text = await subjects.open_text(s, kept, _place(stream, version))
    return None if text is None else json.loads(text)


def _place(stream: Stream, version: int) -> tuple[str, ...]:
    return ("snapshot", stream.aggregate_type, str(stream.aggregate_id), str(version))


async def drop(s: Session, stream: Stream) -> None:
    """Forget the snapshot of a stream, with the next statement or with COMMIT."""
    s.queue(
        """
        DELETE /* snapshots.drop */ FROM event_snapshots
        WHERE tenant_id = %(tenant_id)s::uuid AND aggregate_id = %(aggregate_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        aggregate_id=stream.aggregate_id,
    )
