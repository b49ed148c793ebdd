"""Questions to the facts in ClickHouse.

FINAL counts every order once, however often its row was written.

Standard: §1.2 Data Domain Mapping
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cloudlab.analytics import Analytics


@dataclass(frozen=True, slots=True)
class MonthRevenue:
    """What the orders placed in one month (UTC, `YYYY-MM`) come to, cancelled ones left out."""

    month: str
    orders: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class ProductSales:
    """What one product sold."""

    sku: str
    quantity: int
    revenue: Decimal


async def revenue_by_month(analytics: Analytics, tenant_id: UUID) -> list[MonthRevenue]:
    """Return the revenue of each month that has any, oldest first. Cost: one HTTP request."""
    rows = await analytics.query(
        """
        SELECT formatDateTime(placed_at, '%Y-%m') AS month, count() AS orders, sum(total_amount) AS revenue
        FROM orders FINAL
        WHERE tenant_id = {tenant_id:UUID} AND status != 'cancelled'
        GROUP BY month
        ORDER BY month
        """,
        {"tenant_id": str(tenant_id)},
    )
    return [MonthRevenue(**row) for row in rows]


async def top_products(analytics: Analytics, tenant_id: UUID, *, limit: int = 10) -> list[ProductSales]:
    """Return the products with the highest revenue. Cost: one HTTP request."""
    rows = await analytics.query(
        """
        SELECT i.sku AS sku, sum(i.quantity) AS quantity, sum(i.price * i.quantity) AS revenue
        FROM order_items AS i FINAL
        WHERE tenant_id = {tenant_id:UUID}
        GROUP BY sku
        ORDER BY revenue DESC, sku
        LIMIT {limit:UInt32}
        """,
        {"tenant_id": str(tenant_id), "limit": limit},
    )
    return [ProductSales(**row) for row in rows]
