"""Indexes, constraints, columns and names: changed under load, cut anywhere, taken back."""

import asyncio
import time

import psycopg
import pytest

from cloudlab.errors import MigrationError, TimedOut
from cloudlab.schema import online
from cloudlab.schema.online_locks import Courtesy
from cloudlab.schema.online_operations import build
from cloudlab.schema.online_running import Manners
from cloudlab.schema.online_steps import Phase
from fixtures.fingerprint import fingerprint
from fixtures.online_lab import cut_everywhere, load, lost_updates, make_shop, run_until

# Each with the plain statements that lead to the same schema where they may block.
CASES = {
    "add_index table=items columns=price,name": "CREATE INDEX idx_items_price_name ON items (price, name)",
    "add_index table=readings columns=value name=idx_readings_value": """
        CREATE INDEX idx_readings_value_readings_1 ON readings_1 (value);
        CREATE INDEX idx_readings_value_readings_2 ON readings_2 (value);
        CREATE INDEX idx_readings_value ON readings (value)""",
    "drop_index index=idx_items_name": "DROP INDEX idx_items_name",
    "set_not_null table=items column=price": "ALTER TABLE items ALTER COLUMN price SET NOT NULL",
    "add_check|table=items|name=chk_items_price|check=price >= 0 AND name <> '{100 %}'": """
        ALTER TABLE items ADD CONSTRAINT chk_items_price CHECK (price >= 0 AND name <> '{100 %}')""",
    "add_foreign_key table=items columns=vendor_id references=vendors": """
        CREATE INDEX idx_items_vendor_id ON items (vendor_id);
        ALTER TABLE items ADD CONSTRAINT fk_items_vendor_id FOREIGN KEY (vendor_id) REFERENCES vendors""",
    "add_foreign_key table=readings columns=vendor_id references=vendors index=false": """
        ALTER TABLE readings_1 ADD CONSTRAINT fk_readings_vendor_id FOREIGN KEY (vendor_id) REFERENCES vendors;
        ALTER TABLE readings_2 ADD CONSTRAINT fk_readings_vendor_id FOREIGN KEY (vendor_id) REFERENCES vendors;
        ALTER TABLE readings ADD CONSTRAINT fk_readings_vendor_id FOREIGN KEY (vendor_id) REFERENCES vendors""",
    "add_unique table=reviews columns=review_id,item_id": """
        ALTER TABLE reviews ADD CONSTRAINT uq_reviews_review_id_item_id UNIQUE (review_id, item_id)""",
    "add_column|table=items|column=weight|type=integer|default=7|not_null=true|comment=In grams": """
        ALTER TABLE items ADD COLUMN weight integer NOT NULL DEFAULT 7;
        COMMENT ON COLUMN items.weight IS 'In grams'""",
    "add_column|table=items|column=token|type=uuid|default=gen_random_uuid()|not_null=true": """
        ALTER TABLE items ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()""",
    "add_enum_value type=mood value=odd before=bad": "ALTER TYPE mood ADD VALUE 'odd' BEFORE 'bad'",
    "rename_column table=items column=name to=title": "ALTER TABLE items RENAME COLUMN name TO title",
    "rename_table table=vendors to=sellers": "ALTER TABLE vendors RENAME TO sellers",
    "drop_column table=reviews column=stars": "ALTER TABLE reviews DROP COLUMN stars",
    "drop_table table=reviews": "DROP TABLE reviews",
}
CONTRACTS = {"rename_column", "rename_table", "drop_column", "drop_table"}


def words_of(case: str) -> list[str]:
    return case.split("|" if "|" in case else " ")


def schema_of(url: str) -> list[str]:
    return [line for line in fingerprint(url, "app") if "online_operations" not in line]


def plainly(url: str, statements: str) -> list[str]:
    """Return the schema after the plain statements, and undo them."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"SET search_path = app; {statements}")
    return schema_of(url)


@pytest.fixture(params=CASES, ids=lambda case: " ".join(words_of(case))[:48])
def case(request: pytest.FixtureRequest) -> str:
    return request.param


_plain_schemas: dict[tuple[str, str], list[str]] = {}


@pytest.fixture
def wanted(each_postgres, case: str) -> list[str]:
    """The schema as the plain statements make it, in a database of its own; made once for each server."""
    key = each_postgres.binaries.full_version, case
    if key not in _plain_schemas:
        with each_postgres.database() as name:
            url = each_postgres.url(name)
            make_shop(url, rows=300)
            _plain_schemas[key] = plainly(url, CASES[case])
    return _plain_schemas[key]


async def test_under_load_no_client_fails_or_waits_and_the_schema_is_that_of_the_plain_statement(
    database: str, case: str, wanted: list[str]
):
    make_shop(database)
    name, *words = words_of(case)
    operation = build(name, words)
    if name == "rename_table" or name.startswith("drop"):
        await online.run(database, operation, schema="app")  # its contract ends what the load uses
    else:
        with load(database) as found:
            await online.run(database, operation, schema="app")
            await asyncio.sleep(0.1)
        assert found.errors == []
        assert found.worst_ms < 250
        assert lost_updates(database, found) == 0
    if name in CONTRACTS:
        await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
    assert schema_of(database) == wanted
    assert await online.plan(database, operation, schema="app") == []
    (entry,) = await online.status(database, schema="app")
    assert entry.state == "done"


async def test_taken_back_the_schema_is_as_before(database: str, case: str):
    name, *words = words_of(case)
    if name in {"add_enum_value", "drop_table"}:
        pytest.skip("cannot be taken back")
    make_shop(database)
    before = schema_of(database)
    operation = build(name, words)
    await online.run(database, operation, schema="app")
    entry = await online.run(database, operation, schema="app", phase=Phase.ROLLBACK)
    assert entry.state == "rolled back"
    assert schema_of(database) == before


async def test_cut_at_every_note_it_is_continued_to_the_same_schema(database: str, case: str, wanted: list[str]):
    name, *words = words_of(case)
    operation = build(name, words)
    make_shop(database, rows=300)
    assert await cut_everywhere(database, operation) > 2 or name == "drop_table"  # that has no expand
    if name in CONTRACTS:
        assert await cut_everywhere(database, operation, Phase.CONTRACT) > 2
    assert schema_of(database) == wanted


@pytest.mark.parametrize(
    "case", ["add_index table=items columns=price,name", "rename_column table=items column=name to=title"]
)
@pytest.mark.parametrize("deadly", [2, 4])
def test_killed_as_a_process_it_is_continued_to_the_same_schema(postgres, case: str, deadly: int):
    name, *words = words_of(case)
    with postgres.database() as scratch, postgres.database() as other:
        make_shop(postgres.url(other), rows=300)
        make_shop(postgres.url(scratch), rows=300)
        assert not run_until(postgres.url(scratch), "expand", deadly, name, *words)
        for phase in ("expand", "contract"):
            assert run_until(postgres.url(scratch), phase, 0, name, *words)
        assert schema_of(postgres.url(scratch)) == plainly(postgres.url(other), CASES[case])


async def test_behind_an_idle_transaction_it_retries_and_no_client_queues(database: str):
    make_shop(database)
    said: list[str] = []
    operation = build("set_not_null", ["table=items", "column=price"])
    manners = Manners(told=lambda note: said.append(note.text))
    with psycopg.connect(database, application_name="the sleeper") as sleeper, load(database) as found:
        pid = sleeper.info.backend_pid
        sleeper.execute("SELECT count(*) FROM app.items")
        running = asyncio.create_task(online.run(database, operation, schema="app", manners=manners))
        await asyncio.sleep(2)
        assert not running.done()
        sleeper.rollback()
        await running
    assert found.errors == []
    assert found.worst_ms < 250
    waits = [text for text in said if f"process {pid}" in text]
    assert waits
    assert "idle in transaction" in waits[0]
    assert "SELECT count(*) FROM app.items" in waits[0]


async def test_a_lock_that_is_not_to_be_had_names_who_holds_it_and_ends_nobody(database: str):
    make_shop(database)
    operation = build("set_not_null", ["table=items", "column=price"])
    with psycopg.connect(database) as sleeper:
        sleeper.execute("SELECT count(*) FROM app.items")
        with pytest.raises(TimedOut, match=rf"process {sleeper.info.backend_pid} \(idle in transaction"):
            await online.run(database, operation, schema="app", manners=Manners(courtesy=Courtesy(table_seconds=0.3)))
        sleeper.execute("SELECT 1")
        (entry,) = await online.status(database, schema="app")
        assert entry.state == "failed"
        courtesy = Courtesy(table_seconds=5, end_after_seconds=0.2)
        await online.run(database, operation, schema="app", manners=Manners(courtesy=courtesy))
        with pytest.raises(psycopg.OperationalError):
            sleeper.execute("SELECT 1")


async def test_rows_that_break_a_check_stop_it_and_mended_it_goes_on(database: str):
    make_shop(database)
    operation = build("set_not_null", ["table=items", "column=price"])
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE app.items SET price = NULL WHERE item_id = 9")
        with pytest.raises(MigrationError, match="validate chk_items_price_not_null"):
            await online.run(database, operation, schema="app")
        conn.execute("UPDATE app.items SET price = 1 WHERE item_id = 9")
    assert (await online.run(database, operation, schema="app")).state == "done"


async def test_a_unique_index_that_failed_leaves_nothing_invalid_in_the_end(database: str):
    make_shop(database)
    operation = build("add_unique", ["table=items", "columns=name"])
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE app.items SET name = 'twin' WHERE item_id < 3")
        for _ in range(2):
            with pytest.raises(MigrationError, match="make uq_items_name"):
                await online.run(database, operation, schema="app")
        conn.execute("UPDATE app.items SET name = 'item ' || item_id WHERE item_id < 3")
        await online.run(database, operation, schema="app")
        assert conn.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)


async def test_both_names_of_a_column_are_read_and_written_between_the_phases(database: str):
    make_shop(database)
    operation = build("rename_column", ["table=items", "column=name", "to=title"])
    await online.run(database, operation, schema="app")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET search_path = app")
        conn.execute("INSERT INTO items (item_id, vendor_id, name) VALUES (90001, 1, 'old code')")
        conn.execute("INSERT INTO items (item_id, vendor_id, title) VALUES (90002, 1, 'new code')")
        conn.execute("UPDATE items SET title = 'by new' WHERE item_id = 1")
        conn.execute("UPDATE items SET name = 'by old' WHERE item_id = 2")
        found = "SELECT name, title FROM items WHERE item_id IN (1, 2, 90001, 90002) ORDER BY item_id"
        pairs = conn.execute(found).fetchall()
        assert pairs == [(name, name) for name in ("by new", "by old", "old code", "new code")]
        assert conn.execute("SELECT count(*) FROM items WHERE name IS DISTINCT FROM title").fetchone() == (0,)


async def test_both_names_of_a_table_are_read_and_written_between_the_phases(database: str):
    make_shop(database)
    await online.run(database, build("rename_table", ["table=vendors", "to=sellers"]), schema="app")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO app.sellers VALUES (100, 'new code') ON CONFLICT (vendor_id) DO NOTHING")
        conn.execute("INSERT INTO app.vendors VALUES (101, 'old code')")
        conn.execute("UPDATE app.sellers SET name = 'changed' WHERE vendor_id = 101")
        assert conn.execute("SELECT name FROM app.vendors WHERE vendor_id > 99 ORDER BY 1").fetchall() == [
            ("changed",),
            ("new code",),
        ]


async def test_contract_that_has_begun_is_not_taken_back(database: str):
    make_shop(database)
    operation = build("rename_column", ["table=items", "column=name", "to=title"])
    await online.run(database, operation, schema="app")
    await online.run(database, operation, schema="app", phase=Phase.CONTRACT)
    with pytest.raises(MigrationError, match="cannot be taken back"):
        await online.run(database, operation, schema="app", phase=Phase.ROLLBACK)


async def test_a_backfill_is_paused_resumed_and_leaves_no_row(database: str):
    make_shop(database, rows=20_000)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE app.items SET price = NULL")
        conn.execute("VACUUM FULL app.items")
    operation = build("backfill", ["table=items", "column=price", "value=stock * 1.5"])
    batches = 0

    async def run() -> None:
        await online.run(database, operation, schema="app", manners=Manners(told=told))

    def told(note: object) -> None:
        nonlocal batches
        if getattr(note, "text", "") != "fill price of items: batch":
            return
        batches += 1
        if batches == 1:
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("UPDATE app.online_operations SET wanted = 'pause'")

    with pytest.raises(MigrationError, match="paused"):
        await run()
    (entry,) = await online.status(database, schema="app")
    assert entry.state == "paused"
    assert 0 < entry.rows_done < 20_000
    with load(database, rows=20_000) as found:
        done = await online.go_on(database, entry.operation_id, schema="app")
    assert found.errors == []
    assert done.state == "done"
    assert done.rows_done >= 20_000
    assert done.rows_per_second > 0
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM app.items WHERE price IS NULL").fetchone() == (0,)


async def test_a_slow_client_makes_the_backfill_wait(database: str):
    make_shop(database)
    asked: list[float] = []

    async def latency() -> float:
        asked.append(time.monotonic())
        return 500.0 if len(asked) < 3 else 1.0

    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE app.items SET price = NULL")
    throttle = online.Throttle(latency_ms=100, latency=latency)
    operation = build("backfill", ["table=items", "column=price", "value=1"])
    await online.run(database, operation, schema="app", manners=Manners(throttle=throttle))
    assert len(asked) >= 3
    assert asked[2] - asked[0] > 0.5
