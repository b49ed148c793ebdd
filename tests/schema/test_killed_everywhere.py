"""kill -9 of the runner at every boundary of its statements, and of every online operation: it ends as if unharmed.

The suite takes every third boundary of the runner; all of them: CLOUDLAB_EVERY_BOUNDARY=1 pytest -k boundary.
"""

import os
import random
import time

import psycopg
import pytest

from cloudlab.errors import MigrationError
from cloudlab.schema import files, migrate, online
from cloudlab.schema.history import State
from cloudlab.schema.online_operations import OPERATIONS, build
from cloudlab.schema.online_steps import Phase
from fixtures.dying import migrate_until
from fixtures.fingerprint import fingerprint
from fixtures.online_lab import cut_everywhere, make_shop, run_until, start_run

ONLINE_UP = (
    "CREATE TABLE IF NOT EXISTS notes (a int);\n"
    "-- migrate:online add_column table=pets column=token type=uuid default=gen_random_uuid() not_null=true\n"
    "ANALYZE pets;"
)
ONLINE_DOWN = (
    "-- migrate:online add_column table=pets column=token type=uuid default=gen_random_uuid() not_null=true"
    " phase=rollback\nDROP TABLE IF EXISTS notes;"
)
# Cut at every note here; the operations of test_online_small, _split and _rewrite are cut there.
CUT = {
    "change_type": "table=items|column=stock|type=bigint",
    "partition_table": "table=items|by=RANGE (item_id)|key=item_id|partitions=items_all DEFAULT",
    "backfill": "table=items|column=price|value=90|where=price < 90",
}
# Killed as a process of its own, by SIGKILL, in the middle.
KILLED = CUT | {
    "add_index": "table=items|columns=price,name",
    "drop_index": "index=idx_items_name",
    "add_column": "table=items|column=token|type=uuid|default=gen_random_uuid()|not_null=true",
    "set_not_null": "table=items|column=price",
    "add_check": "table=items|name=chk_items_price|check=price >= 0",
    "add_foreign_key": "table=items|columns=vendor_id|references=vendors",
    "add_unique": "table=items|columns=item_id,vendor_id",
    "rename_column": "table=items|column=name|to=title",
    "drop_column": "table=items|column=price",
    "rename_table": "table=vendors|to=sellers",
    "drop_table": "table=reviews",
    "add_enum_value": "type=mood|value=odd",
    "rewrite_table": "table=items",
    "split_table": "table=items|into=prices|columns=price,stock",
}
ROWS = 300
STRIDE = 1 if os.environ.get("CLOUDLAB_EVERY_BOUNDARY") else 3
STATED = (Phase.EXPAND, Phase.CONTRACT)


def schema_of(url: str) -> list[str]:
    return [line for line in fingerprint(url, "app") if "online_operations" not in line]


def rows_of(url: str) -> list[tuple[object, ...]]:
    """Count and add up the columns that an operation has left where they were."""
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT count(*), sum(item_id), sum(touched) FROM app.items").fetchall()


def test_no_operation_is_left_out():
    assert set(KILLED) == set(OPERATIONS)


async def unharmed(url: str, name: str) -> tuple[list[str], list[tuple[object, ...]]]:
    make_shop(url, ROWS)
    operation = build(name, KILLED[name].split("|"))
    for phase in STATED:
        await online.run(url, operation, schema="app", phase=phase)
    return schema_of(url), rows_of(url)


@pytest.mark.parametrize("name", CUT)
async def test_cut_at_every_note_it_is_continued_to_the_same_schema_and_rows(each_postgres, database: str, name: str):
    with each_postgres.database() as other:
        wanted = await unharmed(each_postgres.url(other), name)
    make_shop(database, ROWS)
    operation = build(name, CUT[name].split("|"))
    assert await cut_everywhere(database, operation) > 2
    assert await cut_everywhere(database, operation, Phase.CONTRACT) > 2 or name == "backfill"
    assert (schema_of(database), rows_of(database)) == wanted


@pytest.mark.parametrize("name", KILLED)
async def test_killed_as_a_process_in_either_phase_it_is_continued(postgres, name: str):
    with postgres.database() as other, postgres.database() as scratch:
        url = postgres.url(scratch)
        wanted = await unharmed(postgres.url(other), name)
        make_shop(url, ROWS)
        words = KILLED[name].split("|")
        for phase in STATED:
            run_until(url, phase, 3, name, *words)  # what has no third note in a phase survives
            assert run_until(url, phase, 0, name, *words)
        assert (schema_of(url), rows_of(url)) == wanted


def test_killed_at_any_moment_of_a_batch_a_backfill_leaves_no_row_and_counts_each_once(postgres):
    rows, words = 60_000, ("table=items", "column=price", "value=-1", "where=price >= 0")
    dice = random.Random(6)
    with postgres.database() as scratch:
        url = postgres.url(scratch)
        make_shop(url, rows)
        for _ in range(8):
            process = start_run(url, "expand", "backfill", *words)
            time.sleep(dice.uniform(0.05, 0.25))
            process.kill()
            process.join()
        assert run_until(url, "expand", 0, "backfill", *words)
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM app.items WHERE price <> -1").fetchone() == (0,)
            assert conn.execute("SELECT rows_done FROM app.online_operations").fetchone() == (rows,)


async def finished(url: str, all_files: tuple[files.Migration, ...]) -> bool:
    """Bring it to the end; a file that is half-applied is recognised as such and taken back first. Whether it was."""
    standing = {one.state for one in await migrate.status(url, all_files, "app")}
    if half := State.INTERRUPTED in standing:
        with pytest.raises(MigrationError, match="half-applied"):
            await migrate.up(url, all_files, "app")
        await migrate.down(url, all_files, "app")
    await migrate.up(url, all_files, "app")
    return half


@pytest.mark.parametrize("verb", ["up", "down"])
async def test_the_runner_killed_at_every_boundary_ends_in_the_same_schema(postgres, tree, verb: str):
    """Way up from nothing, way down of the newest file; with transactions, without, and an online operation."""
    tree.add("004_online.sql", ONLINE_UP, ONLINE_DOWN, "transaction:false")
    all_files = files.load(tree.folder)
    with postgres.database() as scratch:
        url = postgres.url(scratch)
        await migrate.up(url, all_files, "app")
        wanted = schema_of(url)
        halves, deadly, survived = 0, 1 - STRIDE, False
        while not survived:
            deadly += STRIDE
            if verb == "up":
                with psycopg.connect(url, autocommit=True) as conn:
                    conn.execute("DROP SCHEMA IF EXISTS app CASCADE")
            survived = migrate_until(url, tree.folder, verb, deadly)
            halves += await finished(url, all_files)
            assert schema_of(url) == wanted, f"killed at boundary {deadly}"
        assert deadly > 15
        assert halves
