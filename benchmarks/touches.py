"""The read model that the benchmark of projections keeps: how often each stream was touched."""

from collections.abc import Sequence
from typing import LiteralString

from cloudlab.events.projections import ReadModel, SqlReadModel
from cloudlab.session import Session
from cloudlab.values import Event

TYPE = "BenchTouched"
TYPES = frozenset({TYPE})
TABLE = "bench_touches"

MODEL: LiteralString = """
    SET LOCAL search_path = shop, cloudlab;
    CREATE TABLE bench_touches (
        tenant_id uuid NOT NULL, aggregate_id uuid NOT NULL, touches integer NOT NULL,
        PRIMARY KEY (tenant_id, aggregate_id));
    ALTER TABLE bench_touches OWNER TO cloudlab_owner;
    SELECT protect_read_model('bench_touches', 'true')
"""
_COUNT_IN_SQL: LiteralString = """
    INSERT /* benchmarks.projections */ INTO bench_touches AS t (tenant_id, aggregate_id, touches)
    SELECT e.tenant_id, e.aggregate_id, count(*)
    FROM cloudlab.batch_events(%(after)s::bigint, %(upto)s::bigint, %(lane)s::integer, %(lanes)s::integer,
                               %(event_types)s::varchar[], %(waiting)s::bigint[]) AS e
    GROUP BY e.tenant_id, e.aggregate_id
    ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET touches = t.touches + excluded.touches
"""


async def _count(s: Session, events: Sequence[Event]) -> None:
    touches: dict[str, int] = {}
    for event in events:
        key = str(event.aggregate_id)
        touches[key] = touches.get(key, 0) + 1
    s.queue(
        """
        INSERT /* benchmarks.projections */ INTO bench_touches AS t (tenant_id, aggregate_id, touches)
        SELECT %(tenant_id)s::uuid, n.aggregate_id, n.touches
        FROM unnest(%(ids)s::uuid[], %(touches)s::integer[]) AS n (aggregate_id, touches)
        ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET touches = t.touches + excluded.touches
        """,
        tenant_id=s.tenant_id,
        ids=list(touches),
        touches=list(touches.values()),
    )


BY_PYTHON = ReadModel("bench_python", TYPES, _count, (TABLE,))
BY_SQL = SqlReadModel("bench_sql", TYPES, _COUNT_IN_SQL, (TABLE,))
