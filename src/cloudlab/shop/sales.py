"""What sells: a read model in PostgreSQL that follows the events of orders.

Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from cloudlab.events.projections import SqlReadModel
from cloudlab.session import Session


@dataclass(frozen=True, slots=True)
class BestSeller:
    """What was ordered of one product in a period, in one currency."""

    product_id: UUID
    sku: str
    name: str
    currency: str
    orders: int
    units: int
    revenue: Decimal


product_sales = SqlReadModel(
    "product_sales",
    frozenset({"OrderPlaced"}),
    # Sorted, so that two lanes never wait for each other's rows in a circle.
    """
    INSERT /* sales.product_sales */ INTO product_sales AS p
        (tenant_id, product_id, sold_on, currency, order_count, unit_count, revenue_amount)
    SELECT e.tenant_id, (l.line ->> 'product_id')::uuid,
           ((e.event_data ->> 'placed_at')::timestamptz AT TIME ZONE 'UTC')::date, e.event_data ->> 'currency',
           count(DISTINCT e.aggregate_id), sum((l.line ->> 'quantity')::bigint),
           sum((l.line ->> 'quantity')::bigint * (l.line ->> 'price')::numeric)
    FROM cloudlab.batch_events(%(after)s::bigint, %(upto)s::bigint, %(lane)s::integer, %(lanes)s::integer,
                               %(event_types)s::varchar[], %(waiting)s::bigint[]) AS e
    CROSS JOIN LATERAL jsonb_array_elements(e.event_data -> 'lines') AS l (line)
    GROUP BY e.tenant_id, 2, 3, 4
    ORDER BY 3, 2, 4
    ON CONFLICT (tenant_id, sold_on, product_id, currency) DO UPDATE
    SET order_count = p.order_count + excluded.order_count,
        unit_count = p.unit_count + excluded.unit_count,
        revenue_amount = p.revenue_amount + excluded.revenue_amount
    """,
    ("product_sales",),
    batch_size=2000,
)


async def best_sellers(s: Session, *, since: date, until: date, limit: int = 10) -> list[BestSeller]:
    """Return the products with the highest revenue from one day to another, both included (UTC).

    It answers from a read model: what was ordered within the last moments may be missing. Cost: one round trip; an
    index scan of the days.
    """
    return await s.fetch(
        BestSeller,
        """
        SELECT /* sales.best_sellers */ p.product_id, c.sku, c.name, p.currency, sum(p.order_count)::integer AS orders,
               sum(p.unit_count)::bigint AS units, sum(p.revenue_amount) AS revenue
        FROM product_sales AS p
        JOIN products AS c ON c.tenant_id = p.tenant_id AND c.product_id = p.product_id
        WHERE p.tenant_id = %(tenant_id)s::uuid AND p.sold_on BETWEEN %(since)s::date AND %(until)s::date
        GROUP BY p.product_id, c.sku, c.name, p.currency
        ORDER BY revenue DESC, c.sku
        LIMIT %(limit)s::integer
        """,
        tenant_id=s.tenant_id,
        since=since,
        until=until,
        limit=limit,
    )
