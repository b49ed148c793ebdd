"""Online operations as lines of a migration file."""

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from cloudlab.errors import MigrationError
from cloudlab.schema import migrate
from cloudlab.schema.history import State
from fixtures.fingerprint import fingerprint

_RUN = """
import asyncio, sys
from pathlib import Path
from cloudlab.schema import files, migrate
asyncio.run(migrate.up(sys.argv[1], files.load(Path(sys.argv[2])), "app"))
"""


@pytest.fixture
def online_tree(tree):
    tree.add(
        "004_age.sql",
        "CREATE TABLE IF NOT EXISTS notes (a int);\n"
        "-- migrate:online add_column table=pets column=token type=uuid default=gen_random_uuid() not_null=true\n"
        "-- migrate:online add_check table=pets name=chk_pets_name check='name <> ''it''''s'''\n"
        "ANALYZE pets;",
        "-- migrate:online add_check table=pets name=chk_pets_name check='name <> ''it''''s''' phase=rollback\n"
        "-- migrate:online add_column table=pets column=token type=uuid default=gen_random_uuid() not_null=true"
        " phase=rollback\n"
        "DROP TABLE IF EXISTS notes;",
        "transaction:false",
    )
    return tree


def schema_of(url: str) -> list[str]:
    return [line for line in fingerprint(url, "app") if "online_operations" not in line]


async def test_up_and_down(database: str, online_tree):
    files = online_tree.load()
    await migrate.up(database, files, "app", to=3)
    before = schema_of(database)
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO app.pets (name) SELECT 'pet ' || n FROM generate_series(1, 500) AS n")
    for _ in range(2):
        await migrate.up(database, files, "app")
        await migrate.verify(database, files, "app")
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT count(DISTINCT token) FROM app.pets").fetchone() == (500,)
        await migrate.down(database, files, "app")
        assert schema_of(database) == before


async def test_killed_in_an_online_operation_up_goes_on_with_it(database: str, online_tree):
    files = online_tree.load()
    await migrate.up(database, files, "app", to=3)
    with psycopg.connect(database) as sleeper, psycopg.connect(database, autocommit=True) as conn:
        sleeper.execute("SELECT count(*) FROM app.pets")
        process = subprocess.Popen([sys.executable, "-c", _RUN, database, str(online_tree.folder)])
        deadline = time.monotonic() + 30
        while conn.execute("SELECT max(running_statement) FROM app.schema_migrations").fetchone() != (2,):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (await migrate.status(database, files, "app"))[-1].state is State.RESUMABLE
    with pytest.raises(MigrationError, match="half-applied"):
        await migrate.verify(database, files, "app")
    assert [one.version for one in await migrate.up(database, files, "app")] == ["004"]
    await migrate.verify(database, files, "app")


@pytest.mark.parametrize(
    ("line", "option", "said"),
    [
        ("add_index table=pets columns=name", "", r"004_x\.sql:8: an online operation is many transactions"),
        ("add_indx table=pets", "transaction:false", r"004_x\.sql:8: there is no online operation 'add_indx'"),
        ("add_check table=pets", "transaction:false", r"004_x\.sql:8: add_check: name, check is missing"),
        ("add_index table='pets", "transaction:false", r"004_x\.sql:8: add_index: .* is not understood"),
        ("drop_index index=a phase=up", "transaction:false", r"004_x\.sql:8: drop_index: 'up' is no phase"),
    ],
)
def test_a_line_that_cannot_be_followed_names_file_and_line(tree, line: str, option: str, said: str):
    tree.add("004_x.sql", f"-- migrate:online {line}", "SELECT 1;", option)
    with pytest.raises(MigrationError, match=said):
        tree.load()
