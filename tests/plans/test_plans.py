"""Every hot statement finds its rows by an index that begins with the tenant, and a page is never sorted.

The statements are taken from the functions that run them, as they stand there.

Standard: §5.1 Indexing Strategies, §5.2 Query Patterns, §5.2 Pagination
"""

import ast
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from cloudlab.events import store
from cloudlab.platform import Platform
from cloudlab.shop import (
    catalog,
    fulfilment,
    inventory,
    orders,
    payment_answers,
    payment_records,
    payment_requests,
    payments,
    placing,
    refunding,
    reservations,
    users,
    vendors,
)  # fmt: skip
from cloudlab.tenancy.tenants import Tenant, shard_config
from fixtures.installation import migrate_templates
from fixtures.postgres import TEMPLATES, Cluster

NOW, ONE = datetime.now(UTC), uuid4()
VALUES: dict[str, Any] = {
    "tenant_id": ONE, "order_id": ONE, "user_id": ONE, "product_id": ONE, "aggregate_id": ONE, "limit": 21, "sku": "M",
    "created_at": datetime.max.replace(tzinfo=UTC), "aggregate_type": "Order", "after_version": 9,
    "order_numbers": ["a", "b"], "indexes": [b"\0" * 20], "vendor_name": "v", "order_ids": [ONE, ONE],
    "at": [NOW.isoformat(), None], "currencies": ["EUR", "EUR"], "totals": [1, 2], "quantity": 1,
    "price": 1, "currency": "EUR", "status": "held", "payment_id": ONE, "keys": ["a", "b"],
    "provider": "x", "before": NOW,
}  # fmt: skip

# Statement tag → the index that must find its rows.
HOT = {
    "orders.find": (orders, "pk_orders"),
    "orders.find_by_numbers": (orders, "uq_orders_order_number"),
    "orders.items": (orders, "pk_order_items"),
    "orders.list_for_user": (orders, "idx_orders_user_id_created_at"),
    "placing.place_all": (placing, "pk_orders"),
    "fulfilment.deliver": (fulfilment, "uq_shipments_order_id_vendor_id"),
    "reservations.status": (reservations, "pk_inventory_reservations"),
    "payment_records.commissions": (payment_records, "pk_order_items"),
    "payment_records.refund_payment": (payment_records, "idx_payments_order_id_status"),
    "fulfilment.receipt_of": (fulfilment, "idx_payments_order_id_status"),
    "payment_requests.attempts": (payment_requests, "uq_payment_transactions_idempotency_key"),
    "payment_answers.rework": (payment_answers, "idx_payment_transactions_payment_id"),
    "payments.open_requests": (payments, "idx_payment_transactions_open"),
    "reservations.late": (reservations, "idx_inventory_reservations_expires_at"),
    "refunding.rooms": (refunding, "idx_payments_order_id_status"),
    "inventory.level": (inventory, "pk_inventory"),
    "inventory.receive": (inventory, "pk_inventory"),
    "catalog.find": (catalog, "pk_products"),
    "catalog.find_by_sku": (catalog, "uq_products_sku"),
    "catalog.list_products": (catalog, "uq_products_sku"),
    "catalog.change_price": (catalog, "pk_products"),
    "users.find": (users, "pk_users"),
    "users.find_by_emails": (users, "uq_users_email"),
    "vendors.find_by_name": (vendors, "uq_vendors_vendor_name"),
    "events.read_stream": (store, "uq_events_tenant_id_aggregate_id_event_version"),
    "events.read_stream_backward": (store, "uq_events_tenant_id_aggregate_id_event_version"),
}

# A stream lies in several partitions; the shares of an order are ranked; an order has a handful of payments.
SORTED = {"events.read_stream", "events.read_stream_backward", "payment_records.commissions", "refunding.rooms"}


def statement(module: ModuleType, tag: str) -> str:
    """Return the last SQL literal of a module that carries this tag and reads or changes rows it looks for."""
    found = [
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and f"/* {tag} */" in node.value
    ]
    (wanted,) = [text for text in found if "WHERE" in text and "products\n        SET product_version" not in text]
    return wanted


ROWS = r"""
    INSERT INTO vendors (tenant_id, vendor_name)
        SELECT t.id, 'v' || n FROM tenant_ids AS t, generate_series(1, 100) AS n;
    INSERT INTO products (tenant_id, product_id, vendor_id, sku, name, price, currency)
        SELECT v.tenant_id, uuidv7(), v.vendor_id, 'P' || n, 'x', 1, 'EUR'
        FROM vendors AS v, generate_series(1, 500) AS n WHERE v.vendor_name = 'v1';
    INSERT INTO inventory (tenant_id, product_id) SELECT tenant_id, product_id FROM products;
    INSERT INTO inventory_updates (tenant_id, product_id, delta_available, delta_reserved, reason)
        SELECT tenant_id, product_id, n, 0, 'receipt' FROM products, generate_series(1, 5) AS n;
    INSERT INTO users (tenant_id, email, email_index, first_name, last_name)
        SELECT t.id, sha512(n::text::bytea), '\x00000000' || substring(sha256(n::text::bytea) FROM 1 FOR 16),
               sha512('x'), sha512('y')
        FROM tenant_ids AS t, generate_series(1, 500) AS n;
    INSERT INTO orders (tenant_id, user_id, order_number, status, currency, subtotal_amount, total_amount, line_count)
        SELECT tenant_id, user_id, right(user_id::text, 12) || n, 'paid', 'EUR', 1, 1, 1
        FROM users, generate_series(1, 3) AS n;
    INSERT INTO order_items (tenant_id, order_id, line_number, product_id, vendor_id, sku, name, quantity, price)
        SELECT o.tenant_id, o.order_id, n, p.product_id, p.vendor_id, 'x', 'x', 1, 1
        FROM orders AS o JOIN products AS p ON p.tenant_id = o.tenant_id AND p.sku = 'P1', generate_series(1, 2) AS n;
    INSERT INTO inventory_reservations (tenant_id, order_id, expires_at) SELECT tenant_id, order_id, now() FROM orders;
    INSERT INTO payments (tenant_id, order_id, payment_method, provider, status, currency, amount)
        SELECT tenant_id, order_id, 'paypal', 'x', 'captured', 'EUR', 1 FROM orders;
    INSERT INTO payment_transactions (tenant_id, payment_id, transaction_type, status, amount, currency,
                                      provider_reference, idempotency_key)
        SELECT tenant_id, payment_id, 'capture', 'succeeded', 1, 'EUR', 'x', payment_id::text FROM payments;
    INSERT INTO shipments (tenant_id, order_id, shipped_at) SELECT tenant_id, order_id, now() FROM orders;
    INSERT INTO events (tenant_id, event_position, aggregate_id, aggregate_type, event_type, event_version, event_data)
        SELECT tenant_id, row_number() OVER (), order_id, 'Order', 'x', 1, '{}' FROM orders;
    ANALYZE;
"""


@pytest.fixture(scope="module")
def filled(postgres: Cluster) -> Iterator[str]:
    """A shard with 20 tenants of 500 products, 500 users and 1,500 orders each, analysed as a running one is."""
    template = TEMPLATES["shard"]
    with migrate_templates(postgres).database("plans", template) as database:
        with psycopg.connect(postgres.url(database, "postgres"), autocommit=True) as conn:
            conn.execute("SET search_path = shop, cloudlab")
            conn.execute("CREATE TEMP TABLE tenant_ids AS SELECT gen_random_uuid() AS id FROM generate_series(1, 20)")
            conn.execute(
                """
                INSERT INTO cloudlab.tenant_local (tenant_id, tenant_name, schema_name)
                SELECT id, 't' || row_number() OVER (), 'shop' FROM tenant_ids
                """
            )
            conn.execute(ROWS.encode())
            conn.execute("VACUUM inventory_updates")
        yield postgres.urls(database).app_url


@pytest.mark.parametrize("tag", HOT)
def test_a_hot_statement_uses_its_index(filled: str, postgres: Cluster, tag: str):
    module, index = HOT[tag]
    text = statement(module, tag)
    used = {name: VALUES[name] for name in set(re.findall(r"%\((\w+)\)s", text))}
    owner = filled.replace("cloudlab_app", "cloudlab_owner")
    with psycopg.connect(owner) as conn:
        tenant = conn.execute("SELECT tenant_id FROM cloudlab.tenant_local LIMIT 1").fetchone()
    assert tenant is not None
    with psycopg.connect(filled) as conn:
        conn.execute("SELECT set_config('search_path', cloudlab.enter_tenant(%s, NULL, 1), true)", [tenant[0]])
        rows = conn.execute(f"EXPLAIN {text}".encode(), used | {"tenant_id": tenant[0]}).fetchall()
    plan = "\n".join(str(row[0]) for row in rows)
    # The months to come are empty: reading nothing in order is as good as an index.
    assert not re.search(r"Seq Scan on (?!events_\d+_\d+ \w+  \(cost=0.00..0.00)", plan), plan
    assert "Sort" not in plan or tag in SORTED, plan
    if tag.startswith("events.read_stream"):
        # Each month's partition has its own index; the parent's name does not appear in a plan.
        assert re.search(r"Index Cond: \(\(tenant_id = .*aggregate_id = .*event_version [<>] ", plan), plan
    else:
        assert re.search(rf"(using|on) {index}\b", plan), plan
        assert re.search(r"Index Cond: \(+tenant_id = ", plan), plan


def test_the_ledger_of_a_product_is_summed_from_its_covering_index(filled: str):
    with psycopg.connect(filled.replace("cloudlab_app", "cloudlab_owner")) as conn:
        tenant = conn.execute("SELECT tenant_id FROM cloudlab.tenant_local LIMIT 1").fetchone()
    assert tenant is not None
    with psycopg.connect(filled) as conn:
        conn.execute("SELECT set_config('search_path', cloudlab.enter_tenant(%s, NULL, 1), true)", [tenant[0]])
        rows = conn.execute(
            """
            EXPLAIN SELECT sum(delta_available) FROM inventory_updates
            WHERE tenant_id = %s AND product_id = (SELECT product_id FROM products WHERE tenant_id = %s AND sku = 'P7')
            """,
            [tenant[0], tenant[0]],
        ).fetchall()
    plan = "\n".join(str(row[0]) for row in rows)
    assert "Index Only Scan using pk_inventory_updates" in plan, plan


async def test_the_feed_reads_in_order_without_sorting(platform: Platform, acme: Tenant):
    url = shard_config(platform.config, acme.shard).urls.worker_url
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")
        rows = await (
            await conn.execute(
                """
                EXPLAIN SELECT e.event_position FROM cloudlab.events AS e
                WHERE e.event_position > 5 AND e.event_position <= 50 ORDER BY e.event_position LIMIT 10
                """
            )
        ).fetchall()
    plan = "\n".join(str(row[0]) for row in rows)
    assert "Merge Append" in plan or "Append" in plan, plan
    assert "Index" in plan, plan
    assert "Seq Scan" not in plan, plan
