"""Rows of the event store as Event objects, many at a time.

Decoding the JSON of a page in one call, and each column by itself, takes half the time of building row by row.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cloudlab.values import Event, Stream


def of_stream(rows: Sequence[tuple[Any, ...]], tenant_id: UUID, stream: Stream) -> list[Event]:
    """Return the events of one stream.

    Args:
        rows: Position, id, type, version, data as text, metadata as text, time.
        tenant_id: Whose they are.
        stream: Where they stand.
    """
    if not rows:
        return []
    positions, ids, types, versions, data, metadata, times = zip(*rows, strict=True)
    kind, aggregate_id = stream.aggregate_type, stream.aggregate_id
    return [
        Event(
            event_position=position,
            event_id=event_id,
            tenant_id=tenant_id,
            aggregate_type=kind,
            aggregate_id=aggregate_id,
            event_type=event_type,
            event_version=version,
            event_data=payload,
            metadata=about,
            created_at=time,
        )
        for position, event_id, event_type, version, payload, about, time in zip(
            positions, ids, types, versions, parsed(data), parsed(metadata), times, strict=True
        )
    ]


def parsed(texts: Sequence[str | None]) -> list[Any]:
    """Parse many JSON documents in one call; NULL is None."""
    return json.loads(f"[{','.join(['null' if text is None else text for text in texts])}]")
