"""The shop's promises, checked on the data itself: stock, money, events, and the agreement of the databases.

Standard: §11.1 Design Principles, §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cloudlab.analytics import Analytics
from cloudlab.session import Session


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one invariant holds for one tenant, and what was counted."""

    invariant: str
    title: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What a tenant's orders come to, by one database; amounts are exact."""

    orders: int
    lines: int
    total_amount: Decimal
    line_amount: Decimal
    payments: int
    captured_amount: Decimal


@dataclass(frozen=True, slots=True)
class _Stock:
    products: int
    negative: int
    off_ledger: int
    off_orders: int


@dataclass(frozen=True, slots=True)
class _Money:
    payments: int
    off_payments: int
    off_commissions: int
    off_items: int


@dataclass(frozen=True, slots=True)
class _Summaries:
    summaries: int
    off_orders: int


@dataclass(frozen=True, slots=True)
class _Streams:
    streams: int
    off_versions: int
    off_orders: int


async def check(s: Session) -> list[Verdict]:
    """Check stock (I2), money (I3) and events (I4) of the session's tenant. It reads all of them."""
    # Tables without statistics, as after a crash or a restore, look empty: loops over all pairs would be planned.
    s.queue("SELECT /* invariants.check */ set_config('enable_nestloop', 'off', true)")
    verdicts = [await _stock(s), await _money(s), await _streams(s)]
    s.queue("SELECT /* invariants.check */ set_config('enable_nestloop', 'on', true)")
    return verdicts


async def _stock(s: Session) -> Verdict:
    found = await s.fetch_one(
        _Stock,
        """
        WITH ledger AS (
            SELECT u.product_id, sum(u.delta_available) AS available, sum(u.delta_reserved) AS reserved
            FROM inventory_updates AS u WHERE u.tenant_id = %(tenant_id)s::uuid GROUP BY u.product_id),
        open_orders AS (
            SELECT i.product_id, sum(i.quantity) AS reserved
            FROM order_items AS i
            JOIN orders AS o ON o.tenant_id = i.tenant_id AND o.order_id = i.order_id
            LEFT JOIN inventory_reservations AS r ON r.tenant_id = o.tenant_id AND r.order_id = o.order_id
            WHERE i.tenant_id = %(tenant_id)s::uuid AND o.status IN ('pending_payment', 'paid', 'processing')
              -- The stock of an order that was not paid in time is for others; it may still be paid late.
              AND (o.status <> 'pending_payment' OR r.status IS DISTINCT FROM 'released')
            GROUP BY i.product_id)
        SELECT /* invariants.stock */ count(*) AS products,
               count(*) FILTER (WHERE n.lowest < 0) AS negative,
               count(*) FILTER (WHERE (n.available, n.reserved)
                   <> (coalesce(l.available, 0), coalesce(l.reserved, 0))) AS off_ledger,
               count(*) FILTER (WHERE n.reserved <> coalesce(r.reserved, 0)) AS off_orders
        FROM (SELECT n.product_id, sum(n.available_quantity) AS available, sum(n.reserved_quantity) AS reserved,
                     min(least(n.available_quantity, n.reserved_quantity)) AS lowest
              FROM inventory AS n WHERE n.tenant_id = %(tenant_id)s::uuid GROUP BY n.product_id) AS n
        LEFT JOIN ledger AS l ON l.product_id = n.product_id
        LEFT JOIN open_orders AS r ON r.product_id = n.product_id
        """,
        tenant_id=s.tenant_id,
    )
    holds = not (found.negative or found.off_ledger or found.off_orders)
    return Verdict(
        "I2",
        "stock is never negative; ledger = inventory",
        holds,
        f"{found.products} products: {found.negative} negative, {found.off_ledger} unlike their ledger, "
        f"{found.off_orders} reserved unlike their open orders",
    )


async def _money(s: Session) -> Verdict:
    found = await s.fetch_one(
        _Money,
        """
        WITH earned AS (
            SELECT c.order_id, sum(c.gross_amount) AS gross, sum(c.commission_amount) AS commission,
                   sum(c.net_amount) AS net
            FROM vendor_commissions AS c WHERE c.tenant_id = %(tenant_id)s::uuid GROUP BY c.order_id),
        moved AS (
            SELECT t.payment_id,
                   sum(t.amount) FILTER (WHERE t.transaction_type = 'capture' AND t.status = 'succeeded') AS captured,
                   sum(t.amount) FILTER (WHERE t.transaction_type = 'refund' AND t.status = 'succeeded') AS refunded
            FROM payment_transactions AS t WHERE t.tenant_id = %(tenant_id)s::uuid GROUP BY t.payment_id),
        paid AS (
            SELECT p.order_id, count(*) AS payments, sum(p.captured_amount - p.refunded_amount) AS net,
                   count(*) FILTER (WHERE (p.captured_amount, p.refunded_amount)
                       <> (coalesce(m.captured, 0), coalesce(m.refunded, 0))) AS off_payments
            FROM payments AS p
            LEFT JOIN moved AS m ON m.payment_id = p.payment_id
            WHERE p.tenant_id = %(tenant_id)s::uuid GROUP BY p.order_id),
        bought AS (
            SELECT i.order_id, sum(i.line_total) AS amount, count(*) AS lines
            FROM order_items AS i WHERE i.tenant_id = %(tenant_id)s::uuid GROUP BY i.order_id)
        SELECT /* invariants.money */ coalesce(sum(p.payments), 0)::bigint AS payments,
               coalesce(sum(p.off_payments), 0)::bigint AS off_payments,
               count(*) FILTER (WHERE coalesce(p.net, 0) <> coalesce(e.commission + e.net, 0)
                   OR coalesce(e.gross, 0) <> coalesce(e.commission + e.net, 0)) AS off_commissions,
               count(*) FILTER (WHERE b.amount IS DISTINCT FROM o.subtotal_amount OR b.lines <> o.line_count)
                   AS off_items
        FROM orders AS o
        LEFT JOIN bought AS b ON b.order_id = o.order_id
        LEFT JOIN paid AS p ON p.order_id = o.order_id
        LEFT JOIN earned AS e ON e.order_id = o.order_id
        WHERE o.tenant_id = %(tenant_id)s::uuid
        """,
        tenant_id=s.tenant_id,
    )
    holds = not (found.off_payments or found.off_commissions or found.off_items)
    return Verdict(
        "I3",
        "captured - refunded = commission + net",
        holds,
        f"{found.payments} payments: {found.off_payments} unlike their transactions, {found.off_commissions} unlike "
        f"their commissions, {found.off_items} orders unlike their lines",
    )


async def _streams(s: Session) -> Verdict:
    found = await s.fetch_one(
        _Streams,
        """
        WITH counted AS (
            SELECT e.aggregate_id, count(*) AS events, min(e.event_version) AS first, max(e.event_version) AS last,
                   count(DISTINCT e.event_version) AS versions
            FROM events AS e WHERE e.tenant_id = %(tenant_id)s::uuid GROUP BY e.aggregate_id)
        SELECT /* invariants.streams */ count(*) AS streams,
               count(*) FILTER (WHERE c.aggregate_id IS NULL OR c.first <> 1 OR c.last <> h.event_version
                   OR c.events <> h.event_version OR c.versions <> h.event_version) AS off_versions,
               (SELECT count(*) FROM orders AS o
                LEFT JOIN counted AS v ON v.aggregate_id = o.order_id
                WHERE o.tenant_id = %(tenant_id)s::uuid AND v.last IS DISTINCT FROM o.order_version) AS off_orders
        FROM event_streams AS h
        LEFT JOIN counted AS c ON c.aggregate_id = h.aggregate_id
        WHERE h.tenant_id = %(tenant_id)s::uuid
        """,
        tenant_id=s.tenant_id,
    )
    return Verdict(
        "I4",
        "every state change has its event; versions are 1..n",
        not (found.off_versions or found.off_orders),
        f"{found.streams} streams: {found.off_versions} with a gap or twin, {found.off_orders} orders unlike theirs",
    )


async def summarised(s: Session) -> Verdict:
    """Compare the inline summaries of customers with a fresh sum of their orders (I5)."""
    found = await s.fetch_one(
        _Summaries,
        """
        WITH fresh AS (
            SELECT o.user_id, o.currency, count(*) AS order_count, sum(o.total_amount) AS placed_amount,
                   max(o.placed_at) AS last_placed_at
            FROM orders AS o
            WHERE o.tenant_id = %(tenant_id)s::uuid AND o.user_id IS NOT NULL GROUP BY o.user_id, o.currency)
        SELECT /* invariants.summarised */ count(*) AS summaries,
               count(*) FILTER (WHERE (f.order_count, f.placed_amount, f.last_placed_at)
                   IS DISTINCT FROM (u.order_count, u.placed_amount, u.last_placed_at)) AS off_orders
        FROM fresh AS f
        FULL JOIN (SELECT s.user_id, s.currency, s.order_count, s.placed_amount, s.last_placed_at
                   FROM user_order_summaries AS s WHERE s.tenant_id = %(tenant_id)s::uuid) AS u
            USING (user_id, currency)
        """,
        tenant_id=s.tenant_id,
    )
    return Verdict(
        "I5",
        "every event reached every projection once",
        not found.off_orders,
        f"{found.summaries} customers' summaries: {found.off_orders} unlike a fresh sum of their orders",
    )


async def totals(s: Session) -> Totals:
    """Add up a tenant's orders in PostgreSQL."""
    return await s.fetch_one(
        Totals,
        """
        SELECT /* invariants.totals */ o.orders, i.lines, o.total_amount, i.line_amount, p.payments, p.captured_amount
        FROM (SELECT count(*) AS orders, coalesce(sum(total_amount), 0) AS total_amount
              FROM orders WHERE tenant_id = %(tenant_id)s::uuid) AS o,
             (SELECT count(*) AS lines, coalesce(sum(line_total), 0) AS line_amount
              FROM order_items WHERE tenant_id = %(tenant_id)s::uuid) AS i,
             (SELECT count(*) AS payments, coalesce(sum(captured_amount), 0) AS captured_amount
              FROM payments
              WHERE tenant_id = %(tenant_id)s::uuid AND status IN ('captured', 'partially_refunded', 'refunded')) AS p
        """,
        tenant_id=s.tenant_id,
    )


async def analytics_totals(analytics: Analytics, tenant_id: UUID) -> Totals:
    """Add up a tenant's orders in ClickHouse; FINAL counts every key once, however often its row was written."""
    parameters = {"tenant_id": str(tenant_id)}
    (orders,) = await analytics.query(
        """
        SELECT count() AS orders, sum(total_amount) AS total_amount
        FROM orders FINAL WHERE tenant_id = {tenant_id:UUID}
        """,
        parameters,
    )
    (lines,) = await analytics.query(
        """
        SELECT count() AS lines, sum(price * quantity) AS line_amount
        FROM order_items FINAL WHERE tenant_id = {tenant_id:UUID}
        """,
        parameters,
    )
    (payments,) = await analytics.query(
        """
        SELECT count() AS payments, sum(captured_amount) AS captured_amount
        FROM payments FINAL WHERE tenant_id = {tenant_id:UUID}
        """,
        parameters,
    )
    return Totals(**orders, **lines, **payments)


async def reconcile(s: Session, analytics: Analytics) -> Verdict:
    """Compare PostgreSQL with ClickHouse to the last unit (I11), and so what reached the projection (I5)."""
    ours, theirs = await totals(s), await analytics_totals(analytics, s.tenant_id)
    return Verdict(
        "I11",
        "PostgreSQL and ClickHouse agree",
        ours == theirs,
        f"PostgreSQL {_said(ours)}; ClickHouse {_said(theirs)}",
    )


def _said(found: Totals) -> str:
    return f"{found.orders} orders, {found.lines} lines, {found.total_amount} ({found.payments} payments)"


async def isolated(s: Session, others: Sequence[UUID]) -> Verdict:
    """Ask, in one tenant's session, for the rows of others by their id (I1); nothing may come back."""
    seen = await s.fetch_one(
        _count,
        """
        SELECT /* invariants.isolated */
            (SELECT count(*) FROM orders WHERE tenant_id = ANY (%(others)s::uuid[]))
            + (SELECT count(*) FROM products WHERE tenant_id = ANY (%(others)s::uuid[]))
            + (SELECT count(*) FROM users WHERE tenant_id = ANY (%(others)s::uuid[]))
            + (SELECT count(*) FROM events WHERE tenant_id = ANY (%(others)s::uuid[])) AS seen
        """,
        others=list(others),
    )
    return Verdict(
        "I1", "no row of another tenant is seen", seen == 0, f"{seen} rows of {len(others)} other tenants seen"
    )


def _count(seen: int) -> int:
    return seen
