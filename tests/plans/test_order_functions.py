"""The functions that place and change orders touch few pages, however many orders the tables hold.

What runs inside of a function is in no plan of its caller, but the pages it touches are.

Standard: §5.2 Query Patterns
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest

from plans.test_plans import filled

__all__ = ["filled"]

PLACE = """
    SELECT p.outcome, p.order_id FROM place_orders(
        ARRAY[%(order)s::uuid], ARRAY[%(order)s]::varchar[], ARRAY[NULL]::uuid[], ARRAY[NULL]::varchar[],
        ARRAY[NULL]::timestamptz[], ARRAY[%(order)s]::varchar[], ARRAY['\\x00']::bytea[], ARRAY['15 min']::interval[],
        ARRAY[NULL]::jsonb[], ARRAY[1, 1, 1], ARRAY[1, 2, 3], %(products)s::uuid[], ARRAY[1, 1, 1],
        ARRAY[NULL, NULL, NULL]::numeric[]) AS p
"""
ADVANCE = """
    SELECT a.status FROM advance_orders(
        %(to)s::order_status, ARRAY[%(order)s::uuid], ARRAY[now()], ARRAY[NULL]::integer[],
        %(receipts)s::varchar[]) AS a
"""
MOVE = "SELECT move_order_stock(ARRAY[%(order)s::uuid], 0, -1, 'shipment')"


@dataclass
class Shop:
    """A transaction of one tenant among many, and three of its products."""

    conn: psycopg.Connection
    products: list[UUID]

    def pages(self, statement: str, **values: object) -> int:
        """Run a statement and return how many pages it touched; everything is in memory."""
        rows = self.conn.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement}".encode(), values).fetchall()
        plan = "\n".join(str(row[0]) for row in rows).split("Planning")[0]
        found = re.search(r"shared hit=(\d+)(?: read=(\d+))?", plan)
        assert found, plan
        return int(found[1]) + int(found[2] or 0)


@pytest.fixture
def shop(filled: str) -> Iterator[Shop]:
    with psycopg.connect(filled.replace("cloudlab_app", "cloudlab_owner")) as conn:
        conn.execute("SET search_path = shop, cloudlab")
        tenant = conn.execute("SELECT tenant_id FROM cloudlab.tenant_local LIMIT 1").fetchone()
    assert tenant is not None
    with psycopg.connect(filled) as conn:
        conn.execute("SELECT set_config('search_path', cloudlab.enter_tenant(%s, NULL, 1), true)", tenant)
        conn.execute("UPDATE inventory SET available_quantity = 1000")
        rows = conn.execute("SELECT product_id FROM products ORDER BY sku LIMIT 3").fetchall()
        yield Shop(conn, [row[0] for row in rows])
        conn.rollback()


def test_an_order_goes_its_way_over_few_pages(shop: Shop):
    touched: dict[str, list[int]] = {}

    def run(name: str, statement: str, **values: object) -> None:
        touched.setdefault(name, []).append(shop.pages(statement, **values))

    for _ in range(5):
        order = str(uuid4())
        run("place", PLACE, order=order, products=shop.products)
        run("pay", ADVANCE, to="paid", order=order, receipts=[order])
        run("prepare", ADVANCE, to="processing", order=order, receipts=None)
        run("move", MOVE, order=order)
    # The tables of orders and of their lines have many hundreds. The first call reads the catalogue as well.
    later = {name: max(pages[1:]) for name, pages in touched.items()}
    assert later["place"] < 350, touched
    assert later["pay"] < 120, touched
    assert later["prepare"] < 120, touched
    assert later["move"] < 150, touched
