"""A migration without transaction that died half-way is recognised, undone and applied again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

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
asyncio.run(getattr(migrate, sys.argv[3])(sys.argv[1], files.load(Path(sys.argv[2])), "app"))
"""


def run_and_kill(url: str, folder: str, verb: str, reached: Callable[[psycopg.Connection], bool]) -> None:
    """Run a migration in a process of its own and kill -9 it when it is where it should be.

    The server notices within a second; until then the lock keeps the next runner waiting.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        process = subprocess.Popen([sys.executable, "-c", _RUN, url, folder, verb])
        try:
            deadline = time.monotonic() + 30
            while not reached(conn):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def at_statement(number: int) -> Callable[[psycopg.Connection], bool]:
    def reached(conn: psycopg.Connection) -> bool:
        row = conn.execute("SELECT max(running_statement) FROM app.schema_migrations").fetchone()
        return row == (number,)

    return reached


@pytest.fixture
def slow(tree):
    tree.add(
        "004_slow.sql",
        "CREATE INDEX CONCURRENTLY idx_people_mood ON people (mood);\nSELECT pg_sleep(30);\nANALYZE people;",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_people_mood;",
        "transaction:false",
    )
    return tree


async def test_half_way_up_is_recognised_and_undone(database: str, slow):
    await migrate.up(database, slow.load(), "app", to=3)
    before = fingerprint(database, "app")
    run_and_kill(database, str(slow.folder), "up", at_statement(2))
    assert State.INTERRUPTED is (await migrate.status(database, slow.load(), "app"))[-1].state
    for act in (migrate.up, migrate.verify):
        with pytest.raises(
            MigrationError, match=r"004_slow\.sql is half-applied: its way up ended in statement 2, line 9"
        ) as e:
            await act(database, slow.load(), "app")
        assert "migrate down" in e.value.hint
    assert [one.version for one in await migrate.down(database, slow.load(), "app")] == ["004"]
    assert before == fingerprint(database, "app")
    slow.add("004_slow.sql", "ANALYZE people;", "ANALYZE people;", "transaction:false")
    assert [one.version for one in await migrate.up(database, slow.load(), "app")] == ["004"]


async def test_half_way_down_is_recognised_and_finished(database: str, tree):
    tree.add(
        "004_slow.sql",
        "CREATE INDEX CONCURRENTLY idx_people_mood ON people (mood);",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_people_mood;\nSELECT pg_sleep(1);",
        "transaction:false",
    )
    await migrate.up(database, tree.load(), "app", to=3)
    before = fingerprint(database, "app")
    await migrate.up(database, tree.load(), "app")
    run_and_kill(database, str(tree.folder), "down", at_statement(2))
    with pytest.raises(MigrationError, match=r"004_slow\.sql is half-applied: its way down ended in statement 2"):
        await migrate.up(database, tree.load(), "app")
    await migrate.down(database, tree.load(), "app")
    assert before == fingerprint(database, "app")


async def test_a_failed_statement_leaves_the_file_half_applied(database: str, tree):
    """CREATE UNIQUE INDEX CONCURRENTLY leaves an invalid index behind when it fails; down removes it."""
    tree.add(
        "004_unique.sql",
        "CREATE UNIQUE INDEX CONCURRENTLY idx_people_unique ON people (name);",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_people_unique;",
        "transaction:false",
    )
    await migrate.up(database, tree.load(), "app", to=3)
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO app.people (name) VALUES ('Ada'), ('Ada')")
    before = fingerprint(database, "app")
    with pytest.raises(MigrationError, match=r"004_unique\.sql:8: could not create unique index"):
        await migrate.up(database, tree.load(), "app")
    assert before != fingerprint(database, "app")
    with pytest.raises(MigrationError, match="half-applied"):
        await migrate.up(database, tree.load(), "app")
    await migrate.down(database, tree.load(), "app")
    assert before == fingerprint(database, "app")
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM app.people WHERE id = 1")
    await migrate.up(database, tree.load(), "app")
    await migrate.verify(database, tree.load(), "app")


async def test_killed_in_a_transaction_leaves_nothing(database: str, tree):
    tree.add("004_slow.sql", "CREATE TABLE more (a int);\nSELECT pg_sleep(30);", "DROP TABLE more;")
    await migrate.up(database, tree.load(), "app", to=3)
    before = fingerprint(database, "app")

    def sleeping(conn: psycopg.Connection) -> bool:
        return conn.execute("SELECT true FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone() == (True,)

    run_and_kill(database, str(tree.folder), "up", sleeping)
    assert State.PENDING is (await migrate.status(database, tree.load(), "app"))[-1].state
    assert before == fingerprint(database, "app")
