"""The feed: all events of a shard in order, none skipped, none that could still be overtaken.

Standard: §3.2 Event Store Schema
"""

from cloudlab.postgres.transaction import Transaction
from cloudlab.values import Event


async def read_feed(transaction: Transaction, *, after: int, limit: int) -> list[Event]:
    """Return the next events behind a position, of all tenants; only the worker's login may.

    A reader stops below the first position that an open transaction may still fill. Cost: one round trip.
    """
    result = await transaction.execute(
        """
        SELECT /* feed.read_feed */ f.event_position, f.event_id, f.tenant_id, f.aggregate_type, f.aggregate_id,
               f.event_type, f.event_version, f.event_data, f.metadata, f.created_at
        FROM cloudlab.read_feed(%(after)s::bigint, %(limit)s::integer) AS f
        """,
        after=after,
        limit=limit,
    )
    return result.rows(Event)


async def position_before_last(transaction: Transaction, count: int) -> int:
    """Return the position behind which the last `count` events of the feed stand. Cost: one round trip."""

    def position(position: int) -> int:
        return position

    result = await transaction.execute(
        """
        SELECT /* feed.position_before_last */ coalesce((
            SELECT e.event_position FROM cloudlab.events AS e
            WHERE e.event_position <= cloudlab.feed_horizon()
            ORDER BY e.event_position DESC OFFSET %(count)s::integer LIMIT 1), 0) AS position
        """,
        count=count,
    )
    return result.rows(position)[0]
