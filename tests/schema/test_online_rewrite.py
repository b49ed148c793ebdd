# ruff: noqa: S608 - numbered tables
"""A table is rewritten under load: nothing of it, of its rows and of what hangs on it is lost."""

import asyncio

import psycopg
import pytest

from cloudlab.errors import MigrationError
from cloudlab.schema import online
from cloudlab.schema.online_operations import build
from cloudlab.schema.online_steps import Phase
from fixtures.fingerprint import fingerprint
from fixtures.online_lab import cut_everywhere, load, lost_updates, make_shop, run_until

_DRESSED = """
SET search_path = app;
CREATE TABLE audit (item_id bigint, what text);
GRANT INSERT ON audit TO cloudlab_app;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app AS $$
BEGIN INSERT INTO audit VALUES (coalesce(NEW.item_id, OLD.item_id), TG_OP); RETURN NULL; END $$;
CREATE TRIGGER audited AFTER INSERT OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER sleeping AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE items DISABLE TRIGGER sleeping;
COMMENT ON TRIGGER audited ON items IS 'who came and went';
ALTER TABLE items ADD COLUMN parent_id bigint REFERENCES items, ADD COLUMN serial_no bigserial,
    ADD COLUMN doubled integer GENERATED ALWAYS AS (stock * 2) STORED;
CREATE INDEX idx_items_parent_id ON items (parent_id);
UPDATE items SET parent_id = 1 WHERE item_id % 3 = 0;
ALTER TABLE items ADD CONSTRAINT fk_items_vendor FOREIGN KEY (vendor_id) REFERENCES vendors ON DELETE CASCADE;
ALTER TABLE items ADD CONSTRAINT uq_items_serial_no UNIQUE (serial_no);
ALTER TABLE items SET (fillfactor = 90), ALTER COLUMN name SET STATISTICS 500;
COMMENT ON INDEX idx_items_name IS 'for the search';
COMMENT ON CONSTRAINT fk_items_vendor ON items IS 'who sells it';
CREATE STATISTICS items_name_price ON name, price FROM items;
GRANT SELECT, INSERT, UPDATE, DELETE ON items TO cloudlab_app;
GRANT SELECT (name) ON items TO cloudlab_readonly;
GRANT USAGE ON SEQUENCE items_item_id_seq TO cloudlab_app;
GRANT USAGE ON SCHEMA app TO cloudlab_app;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON items TO cloudlab_app USING (stock >= 0) WITH CHECK (price < 1000);
CREATE POLICY strict ON items AS RESTRICTIVE FOR SELECT USING (name <> 'secret');
COMMENT ON POLICY seen ON items IS 'what the shop sees';
CREATE VIEW cheap WITH (security_invoker = true) AS SELECT item_id, name FROM items WHERE stock < 5;
GRANT SELECT ON cheap TO cloudlab_app;
CREATE PUBLICATION shown FOR TABLE items WHERE (item_id > 0);
"""
_REFERRING = "CREATE TABLE app.child_{n} (id bigint PRIMARY KEY, item_id bigint REFERENCES app.items ON DELETE CASCADE)"
CASES = {
    "rewrite_table table=items": "SELECT 1",
    "rewrite_table table=items settings=fillfactor=70": "ALTER TABLE app.items SET (fillfactor = 70)",
    "change_type|table=items|column=stock|type=bigint": "ALTER TABLE app.items ALTER COLUMN stock TYPE bigint",
}


def dress(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(_DRESSED)
        conn.execute("RESET search_path")
        for n in range(5):
            conn.execute(_REFERRING.format(n=n))
            conn.execute(f"INSERT INTO app.child_{n} SELECT m, m FROM generate_series(1, 100) AS m")
        conn.execute(
            "ALTER TABLE app.reviews ADD CONSTRAINT fk_reviews_item FOREIGN KEY (item_id) REFERENCES app.items"
        )


def undress(url: str) -> None:
    """Take away what the type of a column cannot be changed under by the plain statement."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP VIEW app.cheap")
        conn.execute("ALTER TABLE app.items DROP COLUMN doubled")
        conn.execute("DROP POLICY seen ON app.items")


def schema_of(url: str) -> list[str]:
    return [line for line in fingerprint(url, "app") if "online_operations" not in line]


def checksum(url: str) -> tuple[object, ...]:
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT count(*), sum(hashtextextended(ROW(item_id, name, price, stock, touched, parent_id)::text, 0))"
            " FROM app.items"
        ).fetchone()
    assert row
    return row


def words_of(case: str) -> list[str]:
    return case.split("|" if "|" in case else " ")


@pytest.fixture(params=CASES, ids=lambda case: " ".join(words_of(case))[:48])
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def made(url: str, case: str, rows: int = 3000) -> None:
    make_shop(url, rows)
    dress(url)
    if case.startswith("change_type"):
        undress(url)


@pytest.fixture
def wanted(each_postgres, case: str) -> list[str]:
    with each_postgres.database() as name:
        url = each_postgres.url(name)
        made(url, case)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(CASES[case])
        return schema_of(url)


async def test_rewritten_under_load_no_write_is_lost_and_all_that_hangs_on_it_follows(
    database: str, case: str, wanted: list[str]
):
    made(database, case)
    name, *words = words_of(case)
    operation = build(name, words)
    with load(database) as found:
        await online.run(database, operation, schema="app")
        await asyncio.sleep(0.2)
        await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
        await asyncio.sleep(0.2)
    assert found.errors == []
    assert found.worst_ms < 250
    assert lost_updates(database, found) == 0
    assert schema_of(database) == wanted
    with psycopg.connect(database, autocommit=True) as conn:
        # The sequence went on, the triggers fire, the foreign keys hold and cascade.
        conn.execute("INSERT INTO app.items (vendor_id, name) VALUES (2, 'after')")
        assert conn.execute("SELECT what FROM app.audit ORDER BY item_id DESC LIMIT 1").fetchone() == ("INSERT",)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute("INSERT INTO app.reviews (item_id, stars) VALUES (-1, 1)")
        conn.execute("DELETE FROM app.reviews WHERE item_id = 50")
        conn.execute("DELETE FROM app.items WHERE item_id = 50")
        assert conn.execute("SELECT count(*) FROM app.child_3 WHERE item_id = 50").fetchone() == (0,)


async def test_taken_back_after_the_swap_nothing_written_since_is_lost(database: str, case: str):
    made(database, case)
    before = schema_of(database)
    name, *words = words_of(case)
    operation = build(name, words)
    with load(database) as found:
        await online.run(database, operation, schema="app")
        await asyncio.sleep(0.2)
        await online.run(database, operation, schema="app", phase=Phase.ROLLBACK)
    assert found.errors == []
    assert lost_updates(database, found) == 0
    assert schema_of(database) == before


@pytest.mark.parametrize("phase", [Phase.EXPAND, Phase.ROLLBACK, Phase.CONTRACT])
async def test_cut_at_every_note_it_is_continued_to_the_same_schema_and_rows(database: str, phase: Phase):
    made(database, "rewrite_table", rows=300)
    before, rows = schema_of(database), checksum(database)
    operation = build("rewrite_table", ["table=items"])
    if phase is not Phase.EXPAND:
        await online.run(database, operation, schema="app")
    assert await cut_everywhere(database, operation, phase) > 2
    if phase is Phase.EXPAND:
        await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
    assert checksum(database) == rows
    assert schema_of(database) == before


@pytest.mark.parametrize("deadly", [4, 12, 30])
def test_killed_as_a_process_it_is_continued_to_the_same_schema_and_rows(postgres, deadly: int):
    with postgres.database() as scratch:
        url = postgres.url(scratch)
        made(url, "rewrite_table", rows=300)
        before, rows = schema_of(url), checksum(url)
        assert not run_until(url, "expand", deadly, "rewrite_table", "table=items")
        for phase in ("expand", "contract"):
            assert run_until(url, phase, 0, "rewrite_table", "table=items")
        assert checksum(url) == rows
        assert schema_of(url) == before


async def test_a_table_becomes_partitioned_under_load(database: str):
    make_shop(database)
    operation = build(
        "partition_table",
        [
            "table=items",
            "by=RANGE (placed_on)",
            "key=item_id,placed_on",
            "partitions=items_2026_01 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); items_other DEFAULT",
        ],
    )
    with load(database) as found:
        await online.run(database, operation, schema="app")
        await asyncio.sleep(0.1)
        await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
    assert found.errors == []
    assert lost_updates(database, found) == 0
    assert await online.plan(database, operation, schema="app") == []
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) > 2900 FROM app.items_2026_01").fetchone() == (True,)
        new = conn.execute("INSERT INTO app.items (vendor_id, name) VALUES (1, 'x') RETURNING item_id").fetchone()
        assert new is not None
        assert new[0] > 3000


async def test_what_cannot_follow_is_named_before_anything_is_done(database: str):
    make_shop(database)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE MATERIALIZED VIEW app.totals AS SELECT sum(stock) FROM app.items")
        conn.execute("ALTER TABLE app.items ADD CONSTRAINT chk_items_later CHECK (stock < 100) NOT VALID")
    with pytest.raises(
        MigrationError, match=r"chk_items_later is not valid; the materialized view app\.totals reads it"
    ):
        await online.run(database, build("rewrite_table", ["table=items"]), schema="app")
    assert await online.status(database, schema="app") == []


async def test_a_value_the_old_type_cannot_hold_is_written_all_the_same(database: str):
    make_shop(database)
    operation = build("change_type", ["table=items", "column=stock", "type=bigint"])
    await online.run(database, operation, schema="app")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE app.items SET stock = 5000000000 WHERE item_id = 1")
        assert conn.execute("SELECT stock FROM app.items WHERE item_id = 1").fetchone() == (5_000_000_000,)
