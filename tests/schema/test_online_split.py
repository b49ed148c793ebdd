"""Columns move into a table of their own while old and new code write either."""

import asyncio

import psycopg
import pytest

from cloudlab.errors import MigrationError
from cloudlab.schema import online
from cloudlab.schema.online_operations import build
from cloudlab.schema.online_steps import Phase
from fixtures.fingerprint import fingerprint
from fixtures.online_lab import cut_everywhere, load, lost_updates, make_shop

WORDS = ["table=items", "into=prices", "columns=price,stock"]
_DIFFERENT = """
    SELECT count(*) FROM app.items AS i LEFT JOIN app.prices AS p USING (item_id)
    WHERE (i.price, i.stock) IS DISTINCT FROM (p.price, p.stock)
"""


def schema_of(url: str) -> list[str]:
    return [line for line in fingerprint(url, "app") if "online_operations" not in line]


async def test_between_the_phases_both_places_hold_the_same(database: str):
    make_shop(database)
    operation = build("split_table", WORDS)
    with load(database) as found:
        await online.run(database, operation, schema="app")
        await asyncio.sleep(0.1)
    assert found.errors == []
    assert found.worst_ms < 250
    assert lost_updates(database, found) == 0
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET search_path = app")
        conn.execute("UPDATE items SET price = 11 WHERE item_id = 1")
        conn.execute("UPDATE prices SET price = 22 WHERE item_id = 2")
        conn.execute("INSERT INTO items (item_id, vendor_id, name, price) VALUES (90001, 1, 'old code', 33)")
        conn.execute("INSERT INTO items (item_id, vendor_id, name) VALUES (90002, 1, 'new code')")
        assert conn.execute("INSERT INTO prices (item_id, price) VALUES (90002, 44)").rowcount == 1
        conn.execute("DELETE FROM items WHERE item_id = 3")
        found_prices = conn.execute("SELECT price FROM prices WHERE item_id IN (1, 2, 90001, 90002) ORDER BY item_id")
        assert [int(row[0]) for row in found_prices.fetchall()] == [11, 22, 33, 44]
        assert conn.execute(_DIFFERENT).fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM prices WHERE item_id = 3").fetchone() == (0,)
    await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT price FROM app.prices WHERE item_id = 90002").fetchone() == (44,)
        with pytest.raises(psycopg.errors.UndefinedColumn):
            conn.execute("SELECT price FROM app.items")
    assert await online.plan(database, operation, schema="app") == []


async def test_taken_back_the_schema_is_as_before(database: str):
    make_shop(database)
    before = schema_of(database)
    operation = build("split_table", WORDS)
    await online.run(database, operation, schema="app")
    await online.run(database, operation, schema="app", phase=Phase.ROLLBACK)
    assert schema_of(database) == before


async def test_cut_at_every_note_it_is_continued_to_the_same_schema(each_postgres, database: str):
    operation = build("split_table", WORDS)
    with each_postgres.database() as other:
        url = each_postgres.url(other)
        make_shop(url, rows=300)
        for phase in (Phase.EXPAND, Phase.CONTRACT):
            await online.run(url, operation, schema="app", phase=phase)
        wanted = schema_of(url)
    make_shop(database, rows=300)
    for phase in (Phase.EXPAND, Phase.CONTRACT):
        assert await cut_everywhere(database, operation, phase) > 2
    assert schema_of(database) == wanted


async def test_row_security_is_not_left_behind_silently(database: str):
    make_shop(database)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("ALTER TABLE app.items ENABLE ROW LEVEL SECURITY")
    with pytest.raises(MigrationError, match="row security"):
        await online.run(database, build("split_table", WORDS), schema="app")
