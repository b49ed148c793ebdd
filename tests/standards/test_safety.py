"""Before a migration runs, each statement is judged against the tables that are there and the rows in them.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cloudlab.schema.files import Migration, load
from cloudlab.schema.online_operations import read
from cloudlab.standards import reading, safety
from cloudlab.standards.safety import Verdict

HEADER = """\
-- Migration: Change
-- Author: Ada
-- Date: 2026-11-22
-- Description: What a test needs
-- Standard: §6.1 Versioned Migrations

-- migrate:up {option}
{up}

-- migrate:down {option}
SELECT 1;
"""
MADE = """
CREATE TABLE vendors (vendor_id bigint PRIMARY KEY);
CREATE TABLE items (item_id bigint PRIMARY KEY, vendor_id bigint, name text, price integer);
CREATE TABLE empty (empty_id bigint PRIMARY KEY, name text);
CREATE TABLE readings (at date, value integer) PARTITION BY RANGE (at);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO vendors SELECT generate_series(1, 10);
INSERT INTO items SELECT n, 1 + n % 10, 'item ' || n, n FROM generate_series(1, 2000) AS n;
INSERT INTO readings SELECT '2026-01-05', n FROM generate_series(1, 2000) AS n;
"""
Judge = Callable[..., object]


def written(folder: Path, *ups: str, option: str = "") -> tuple[Migration, ...]:
    for number, up in enumerate(ups, 1):
        (folder / f"{number:03}_change.sql").write_text(HEADER.format(up=up, option=option))
    return load(folder)


async def judged(url: str, files: tuple[Migration, ...], brief_seconds: float = 0.0) -> list[Verdict]:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(MADE)
    async with reading.connect(url) as conn:
        catalog = await reading.read_schema(conn, ["public"])
        sizes = await reading.read_sizes(conn, ["public"])
    return safety.judge([(file, file.up) for file in files], catalog, sizes, brief_seconds)


DANGEROUS = {
    "CREATE INDEX idx_items_name ON items (name)": (
        "LK05", "SHARE on items", "add_index table=items columns=name name=idx_items_name",
    ),
    "CREATE UNIQUE INDEX u ON items (lower(name), price DESC) WHERE price > 0": (
        "LK05", "SHARE", "add_index table=items name=u unique=true expressions='lower(name), price DESC'",
    ),
    "CREATE INDEX idx_readings ON readings (value)": ("LK05", "SHARE on readings", "add_index table=readings"),
    "ALTER TABLE items ALTER COLUMN price SET NOT NULL": (
        "LK10", "ACCESS EXCLUSIVE on items", "set_not_null table=items column=price",
    ),
    "ALTER TABLE items ALTER COLUMN price TYPE bigint": (
        "LK12", "rewritten, about", "change_type table=items column=price type=bigint",
    ),
    "ALTER TABLE items ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()": (
        "LK11", "rewritten", "add_column table=items column=token type=uuid default=gen_random_uuid() not_null=true",
    ),
    "ALTER TABLE items ADD COLUMN a integer NOT NULL": ("CP03", "ACCESS EXCLUSIVE", "add_column table=items column=a"),
    "ALTER TABLE items ADD CONSTRAINT c CHECK (price > 0)": (
        "LK08", "read, about", "add_check table=items name=c check='price > 0'",
    ),
    "ALTER TABLE items ADD CONSTRAINT f FOREIGN KEY (vendor_id) REFERENCES vendors ON DELETE CASCADE": (
        "LK08", "SHARE ROW EXCLUSIVE",
        "add_foreign_key table=items columns=vendor_id references=vendors name=f on_delete=CASCADE",
    ),
    "ALTER TABLE items ADD CONSTRAINT u UNIQUE (name)": (
        "LK13", "indexed", "add_unique table=items columns=name name=u",
    ),
    "UPDATE items SET price = price * 2": ("BF01", "ROW EXCLUSIVE", "backfill table=items column=price"),
}  # fmt: skip


@pytest.mark.parametrize("statement", DANGEROUS)
async def test_what_blocks_a_table_with_rows_is_found_with_its_lock_and_what_does_it_safely(
    database: str, tmp_path: Path, statement: str
):
    rule, what, line = DANGEROUS[statement]
    (verdict,) = await judged(database, written(tmp_path, f"{statement};"))
    assert [danger.rule.id for danger in verdict.dangers] == [rule]
    assert what in verdict.what
    (safely,) = verdict.instead
    assert set(line.split()) <= set(safely.split())
    assert read(safely.removeprefix("-- migrate:online "))  # it can be written into a file as it is


SAFE = [
    "CREATE TABLE more (more_id bigint PRIMARY KEY REFERENCES items); CREATE INDEX i ON more (more_id);",
    "CREATE INDEX i ON empty (name); ALTER TABLE empty ALTER COLUMN name SET NOT NULL;",
    "ALTER TABLE items ADD COLUMN a integer NOT NULL DEFAULT 0; COMMENT ON COLUMN items.a IS 'A';",
    "ALTER TABLE items ADD CONSTRAINT c CHECK (price > 0) NOT VALID;",
    "ALTER TABLE items DROP COLUMN price;",
    "UPDATE items SET price = 1 WHERE item_id = 3;",
    "ALTER TABLE items ALTER COLUMN name TYPE varchar;",
    "INSERT INTO items SELECT n FROM generate_series(5000, 5010) AS n;",
    "DO $$ BEGIN NULL; END $$;",
]


@pytest.mark.parametrize("up", SAFE)
async def test_what_nobody_waits_for_passes(database: str, tmp_path: Path, up: str):
    assert not [one for one in await judged(database, written(tmp_path, up)) if one.dangers]


async def test_what_an_earlier_file_of_the_run_has_made_is_in_nobodys_use(database: str, tmp_path: Path):
    files = written(tmp_path, "CREATE TABLE t (a integer);", "CREATE INDEX i ON t (a); CREATE INDEX j ON items (name);")
    made, index, danger = await judged(database, files)
    assert not made.dangers
    assert not index.dangers
    assert danger.dangers


async def test_concurrently_is_no_danger_and_its_work_is_estimated(database: str, tmp_path: Path):
    files = written(tmp_path, "CREATE INDEX CONCURRENTLY i ON items (name);", option="transaction:false")
    (verdict,) = await judged(database, files)
    assert not verdict.dangers
    assert "SHARE UPDATE EXCLUSIVE on items" in verdict.what
    assert verdict.touched[0].seconds > 0


async def test_what_is_over_in_a_moment_passes_when_that_is_wanted(database: str, tmp_path: Path):
    files = written(tmp_path, "CREATE INDEX i ON items (name);")
    assert not (await judged(database, files, brief_seconds=1.0))[0].dangers
