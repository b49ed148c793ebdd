"""Somebody sleeps in a transaction that holds the table, or a row of it: the operation waits, and nobody behind it."""

import asyncio

import psycopg
import pytest

from cloudlab.schema import online
from cloudlab.schema.online_operations import OPERATIONS, build
from cloudlab.schema.online_running import Manners
from cloudlab.schema.online_steps import Phase
from fixtures.online_lab import load, lost_updates, make_shop

# ruff: noqa: S608 - numbered rows
# Every operation that takes a lock, in the phase that does; adding a value to an enum locks no table.
CASES = (
    "add_index table=items columns=price,name",
    "drop_index index=idx_items_name",
    "set_not_null table=items column=price",
    "add_check table=items name=chk_items_price check=price>=0",
    "add_foreign_key table=items columns=vendor_id references=vendors index=false",
    "add_unique table=items columns=item_id,vendor_id",
    "add_column table=items column=weight type=integer default=7 not_null=true",
    "add_column table=items column=token type=uuid default=gen_random_uuid() not_null=true",
    "backfill|table=items|column=price|value=90|where=price < 90",
    "rename_column table=items column=name to=title",
    "change_type table=items column=stock type=bigint",
    "rewrite_table table=items",
    "partition_table|table=items|by=RANGE (item_id)|key=item_id|partitions=items_all DEFAULT",
    "split_table table=items into=prices columns=price,stock",
    "rename_table table=items to=goods",
    "drop_column table=items column=price",
    "drop_table table=reviews",
)
IN_CONTRACT = {"rename_table", "drop_column", "drop_table"}
ROWS = 3000
# Longer than what a client could wait for anything else, and than it takes the operation to say whom it waits for.
HELD_SECONDS = 1.4
HELD = (
    "SELECT count(*) FROM app.reviews",
    f"SELECT name FROM app.items WHERE item_id = {ROWS} FOR UPDATE",
    f"UPDATE app.items SET price = price WHERE item_id = {ROWS}",
)


def test_no_operation_is_left_out():
    named = {words_of(case)[0] for case in CASES}
    assert set(OPERATIONS) - named == {"add_enum_value"}


def words_of(case: str) -> list[str]:
    return case.split("|" if "|" in case else " ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(words_of(case))[:48])
async def test_behind_an_idle_transaction_it_tries_again_and_no_client_queues(database: str, case: str):
    make_shop(database, ROWS)
    name, *words = words_of(case)
    operation = build(name, words)
    phase = Phase.EXPAND
    if name in IN_CONTRACT:
        await online.run(database, operation, schema="app")
        phase = Phase.CONTRACT
    said: list[str] = []
    manners = Manners(told=lambda note: said.append(note.text))
    with psycopg.connect(database) as sleeper:
        for statement in HELD:
            sleeper.execute(statement)
        with load(database, rows=ROWS - 2) as found:  # its own row, no client wants
            running = asyncio.create_task(online.run(database, operation, schema="app", phase=phase, manners=manners))
            await asyncio.sleep(HELD_SECONDS)
            assert not running.done()
        sleeper.rollback()
        await running
    assert found.errors == []
    assert found.worst_ms < 1000 * HELD_SECONDS / 4
    assert phase is Phase.CONTRACT or lost_updates(database, found) == 0
    (entry,) = await online.status(database, schema="app")
    assert entry.state in {"done", "expanded"}
