"""Putting away sagas that ended well long ago, with their journal; `find` and `operations.timeline` still show them.

Their keys are forgotten with them: what is started under one again after that is another saga.

Standard: §3.3 Saga State Management
"""

from datetime import datetime
from uuid import UUID

from cloudlab.postgres.pool import Pools

_BATCH = 1000
_FIRST = UUID(int=0)


async def archive_finished(pools: Pools, url: str, *, before: datetime, batch: int = _BATCH) -> int:
    """Move the sagas of one shard that ended as completed or compensated before a time; return how many.

    Those that failed stay: they wait for a human. Several workers may do this at the same time.

    Args:
        pools: The connections of this process.
        url: The worker's login of the shard.
        before: When they must have ended.
        batch: How many sagas one transaction looks at, at most.

    Cost: one transaction for each batch; reads every saga there is once.
    """
    moved, place = 0, (_FIRST, _FIRST)
    while True:
        async with pools.transaction(url) as transaction:
            result = await transaction.execute(
                """
                SELECT /* archive.archive_finished */ a.archived, a.last_tenant, a.last_saga
                FROM cloudlab.archive_sagas(
                    %(before)s::timestamptz, %(after_tenant)s::uuid, %(after_saga)s::uuid, %(batch)s::integer) AS a
                """,
                before=before.isoformat(),
                after_tenant=place[0],
                after_saga=place[1],
                batch=batch,
            )
            ((archived, last_tenant, last_saga),) = result.tuples()
        moved += archived
        if last_tenant is None:
            return moved
        place = (last_tenant, last_saga)
