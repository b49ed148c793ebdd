"""One tree over many schemas: the first one first, each whole or not at all, and what is left the next time.

Standard: §6.1 Versioned Migrations, §4.1 Tenant-Specific Schemas
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from cloudlab.errors import ChecksumChanged, MigrationError, TimedOut
from cloudlab.schema import fanout, migrate
from cloudlab.schema.locks import Waits
from fixtures.fingerprint import fingerprint

SCHEMAS = [f"tenant_{number:02}" for number in range(30)]


@pytest.fixture
def plain(small_tree):
    tree = small_tree()
    tree.add("001_items.sql", "CREATE TABLE items (id bigint PRIMARY KEY, name text);", "DROP TABLE items;")
    tree.add(
        "002_price.sql",
        "ALTER TABLE items ADD COLUMN price numeric(19,4);\nCREATE INDEX idx_items_price ON items (price);",
        "ALTER TABLE items DROP COLUMN price;",
    )
    return tree


def versions(url: str) -> dict[str, list[str]]:
    """Return what each schema holds of the history, for those that hold any."""
    with psycopg.connect(url) as conn:
        rows = conn.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'schema_migrations' ORDER BY 1")
        return {
            schema: [
                version
                for (version,) in conn.execute(
                    psycopg.sql.SQL("SELECT version FROM {} ORDER BY version").format(
                        psycopg.sql.Identifier(schema, "schema_migrations")
                    )
                )
            ]
            for (schema,) in rows.fetchall()
        }


async def test_every_schema_is_made_and_is_as_if_migrated_alone(database: str, plain):
    told: list[fanout.Outcome] = []
    outcomes = await fanout.up(database, plain.load(), SCHEMAS, told=told.append)
    assert [one.schema for one in outcomes] == SCHEMAS
    assert [[applied.version for applied in one.applied] for one in outcomes] == [["001", "002"]] * len(SCHEMAS)
    assert told[0].schema == SCHEMAS[0]
    assert len(told) == len(SCHEMAS)
    await migrate.up(database, plain.load(), "alone")
    alone, among = (
        sorted(line.replace("alone", "tenant_07") for line in fingerprint(database, schema) if line[:7] != "schema ")
        for schema in ("alone", "tenant_07")
    )
    assert among == alone
    await migrate.verify(database, plain.load(), "tenant_29")


async def test_only_what_is_left_is_done(database: str, plain):
    await fanout.up(database, plain.load(), SCHEMAS[:10], to=1)
    await fanout.up(database, plain.load(), SCHEMAS[10:20])
    planned = await fanout.up(database, plain.load(), SCHEMAS, dry_run=True)
    wanted = [["002"]] * 10 + [[]] * 10 + [["001", "002"]] * 10
    assert [[applied.version for applied in one.applied] for one in planned] == wanted
    assert versions(database)["tenant_00"] == ["001"]
    done = await fanout.up(database, plain.load(), SCHEMAS)
    assert [[applied.version for applied in one.applied] for one in done] == wanted
    assert set(map(tuple, versions(database).values())) == {("001", "002")}
    assert not any(one.applied for one in await fanout.up(database, plain.load(), SCHEMAS))


async def test_a_file_without_transaction_goes_to_each_schema_statement_by_statement(database: str, tree):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA tenant_00")
    outcomes = await fanout.up(database, tree.load(), SCHEMAS[:5])
    assert [[applied.version for applied in one.applied] for one in outcomes] == [["001", "002", "003"]] * 5


async def test_when_the_first_fails_nobody_else_is_touched(database: str, plain):
    plain.add("003_wrong.sql", "SELECT 1;\nALTER TABLE nowhere ADD COLUMN x integer;", "SELECT 1;")
    await fanout.up(database, plain.load(), SCHEMAS, to=2)
    for keep_going in (False, True):
        outcomes = await fanout.up(database, plain.load(), SCHEMAS, keep_going=keep_going)
        assert [one.schema for one in outcomes if one.error] == SCHEMAS[: 3 if keep_going else 1]
        assert '003_wrong.sql:9: relation "nowhere" does not exist' in str(outcomes[0].error)
    assert set(map(tuple, versions(database).values())) == {("001", "002")}


@pytest.mark.parametrize("keep_going", [False, True])
async def test_a_schema_that_differs_stops_the_rest_or_is_reported(database: str, plain, keep_going: bool):
    await fanout.up(database, plain.load(), SCHEMAS, to=1)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("ALTER TABLE tenant_05.items ADD COLUMN price integer")
        conn.execute("UPDATE tenant_06.schema_migrations SET checksum = 'x'")
    outcomes = await fanout.up(database, plain.load(), SCHEMAS, keep_going=keep_going, connections=1)
    failed = {one.schema: one.error for one in outcomes if one.error}
    assert 'column "price" of relation "items" already exists' in str(failed["tenant_05"])
    if keep_going:
        assert isinstance(failed["tenant_06"], ChecksumChanged)
        assert {schema for schema, held in versions(database).items() if held == ["001", "002"]} == set(SCHEMAS) - {
            "tenant_05",
            "tenant_06",
        }
    else:
        assert versions(database)["tenant_04"] == ["001", "002"]
        assert versions(database)["tenant_29"] == ["001"]
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("ALTER TABLE tenant_05.items DROP COLUMN price")
            conn.execute(
                "UPDATE tenant_06.schema_migrations AS m SET checksum = o.checksum"
                " FROM tenant_07.schema_migrations AS o WHERE o.version = m.version"
            )
        assert not any(one.error for one in await fanout.up(database, plain.load(), SCHEMAS))
        assert set(map(tuple, versions(database).values())) == {("001", "002")}


async def test_a_table_that_is_in_use_is_waited_for_while_the_others_go_on(database: str, plain):
    await fanout.up(database, plain.load(), SCHEMAS, to=1)
    reached: list[str] = []
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tenant_03.items")
        task = asyncio.create_task(
            fanout.up(database, plain.load(), SCHEMAS, told=lambda one: reached.append(one.schema))
        )
        async with asyncio.timeout(20):
            while len(reached) < len(SCHEMAS) - 1:
                await asyncio.sleep(0.02)
        assert "tenant_03" not in reached
        reader.rollback()
        outcomes = await task
    assert not any(one.error for one in outcomes)
    assert reached[-1] == "tenant_03"


async def test_a_lock_that_never_comes_is_an_error_that_names_its_holder(database: str, plain):
    await fanout.up(database, plain.load(), SCHEMAS[:3], to=1)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tenant_01.items")
        holder = reader.info.backend_pid
        outcomes = await fanout.up(database, plain.load(), SCHEMAS[:3], keep_going=True, waits=Waits(table_seconds=0.3))
    assert [type(one.error) for one in outcomes] == [type(None), TimedOut, type(None)]
    assert f"process {holder}" in str(outcomes[1].error)


async def test_one_fan_out_at_a_time(database: str, plain):
    files = plain.load()
    both = await asyncio.gather(fanout.up(database, files, SCHEMAS), fanout.up(database, files, SCHEMAS))
    assert sorted(sum(len(one.applied) for one in outcomes) for outcomes in both) == [0, 2 * len(SCHEMAS)]


_RUN = """
import asyncio, sys
from pathlib import Path
from cloudlab.schema import fanout, files
asyncio.run(fanout.up(sys.argv[1], files.load(Path(sys.argv[2])), sys.argv[3:]))
"""


@pytest.mark.parametrize("after", [0, 1, 7, 20])
async def test_kill_9_leaves_each_schema_whole_or_untouched(database: str, plain, after: int):
    process = subprocess.Popen([sys.executable, "-c", _RUN, database, str(plain.folder), *SCHEMAS])
    deadline = time.monotonic() + 30
    while process.poll() is None and len(versions(database)) <= after:
        assert time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert set(map(tuple, versions(database).values())) <= {(), ("001",), ("001", "002")}
    outcomes = await fanout.up(database, plain.load(), SCHEMAS)
    assert not any(one.error for one in outcomes)
    assert versions(database) == {schema: ["001", "002"] for schema in SCHEMAS}
    await migrate.verify(database, plain.load(), SCHEMAS[-1])


async def test_a_history_of_another_order_is_refused(database: str, plain, small_tree):
    await fanout.up(database, plain.load(), SCHEMAS[:2])
    plain.add("003_more.sql", "SELECT 1;", "SELECT 1;")
    await migrate.up(database, plain.load(), SCHEMAS[0])
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM tenant_00.schema_migrations WHERE version = '002'")
    outcomes = await fanout.up(database, plain.load(), SCHEMAS[:2])
    assert isinstance(outcomes[0].error, MigrationError)
    assert "002_price.sql is not applied, but the later 003 is" in str(outcomes[0].error)


async def test_names_of_any_kind_and_more_than_one_connection_asks_for(database: str, plain):
    names = ['Big "quoted"', "it's", "back\\slash", "ünïcode", *(f"t{number:03}" for number in range(220))]
    files = plain.load()
    first = await fanout.up(database, files, names, to=1)
    assert not any(one.error for one in first)
    assert {tuple(found) for found in versions(database).values()} == {("001",)}
    assert versions(database).keys() == set(names)
    again = await fanout.up(database, files, [*names, "new"])
    assert [len(one.applied) for one in again] == [1] * len(names) + [2]
    assert not any(one.applied for one in await fanout.up(database, files, names))
