"""Reading events wherever they are: in `events`, in the archive, or on their way between the two.

Each event is seen once, at every moment of a move. For those who need it only: both plan their query anew, and hold
back the next step of a move until their transaction ends.

Standard: §7.1 Time-Based Partitioning
"""

from cloudlab.postgres.transaction import Transaction
from cloudlab.session import Session
from cloudlab.values import Event, Stream


async def read_feed_history(transaction: Transaction, *, after: int, limit: int) -> list[Event]:
    """Return the next events behind a position as `feed.read_feed` does, archived ones too, in order.

    For whoever begins behind a position that is archived, as a rebuild does. Cost: one round trip; plans a query.
    """
    result = await transaction.execute(
        """
        SELECT /* history.read_feed_history */ f.event_position, f.event_id, f.tenant_id, f.aggregate_type,
               f.aggregate_id, f.event_type, f.event_version, f.event_data, f.metadata, f.created_at
        FROM cloudlab.read_feed_history(%(after)s::bigint, %(limit)s::integer) AS f
        """,
        after=after,
        limit=limit,
    )
    return result.rows(Event)


async def read_stream_history(
    s: Session, stream: Stream, *, after_version: int | None = None, limit: int = 1000, backward: bool = False
) -> list[Event]:
    """Read the events of one aggregate as `store.read_stream` does, archived ones too.

    For when that does not find all: forward, when its first event is not the version behind `after_version`; backward,
    when it found fewer than the limit and its last event is not version 1. Cost: one round trip; plans a query, unless
    the stream ends at that version.
    """
    return await s.fetch(
        Event,
        """
        SELECT /* history.read_stream_history */ f.event_position, f.event_id, f.tenant_id, f.aggregate_type,
               f.aggregate_id, f.event_type, f.event_version, f.event_data, f.metadata, f.created_at
        FROM cloudlab.read_stream_history(%(aggregate_type)s::varchar, %(aggregate_id)s::uuid,
                                          %(after_version)s::integer, %(limit)s::integer, %(backward)s::boolean) AS f
        """,
        aggregate_type=stream.aggregate_type,
        aggregate_id=stream.aggregate_id,
        after_version=after_version if after_version is not None else 2**31 - 1 if backward else 0,
        limit=limit,
        backward=backward,
    )
