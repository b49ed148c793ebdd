"""One runner at a time, and nobody waits long behind a migration."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from cloudlab.errors import TimedOut
from cloudlab.schema import migrate
from cloudlab.schema.history import State
from cloudlab.schema.locks import Waits

_LOCK = int.from_bytes(b"cloudlab")


async def test_of_two_runners_one_waits_and_each_file_is_applied_once(database: str, tree):
    tree.add("004_slow.sql", "SELECT pg_sleep(0.5);", "SELECT 1;")
    files = tree.load()
    results = await asyncio.gather(*(migrate.up(database, files, "app") for _ in range(3)))
    assert sorted(len(applied) for applied in results) == [0, 0, 4]
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM app.schema_migrations").fetchone() == (4,)


async def test_runners_of_different_schemas_take_turns_too(database: str, tree):
    files = tree.load()
    schemas = [f"tenant_{number}" for number in range(4)]
    results = await asyncio.gather(*(migrate.up(database, files, schema) for schema in schemas))
    assert [len(applied) for applied in results] == [3, 3, 3, 3]


async def test_a_runner_that_waits_too_long_names_the_holder(database: str, tree):
    with psycopg.connect(database, application_name="the other one") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        with pytest.raises(TimedOut, match=rf"process {holder.info.backend_pid} \(cloudlab_owner, the other one\)"):
            await migrate.up(database, tree.load(), "app", waits=Waits(runner_seconds=0.2))
    assert len(await migrate.up(database, tree.load(), "app")) == 3


@contextlib.contextmanager
def busy_clients(url: str, stalls: list[float]) -> Iterator[None]:
    """Read pets all the time, and note how long each read took."""
    stop = threading.Event()

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not stop.is_set():
                started = time.perf_counter()
                conn.execute("SELECT count(*) FROM app.pets")
                stalls.append(time.perf_counter() - started)
                time.sleep(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_behind_a_long_reader_the_migration_waits_and_nobody_else_does(database: str, tree):
    await migrate.up(database, tree.load(), "app")
    tree.add("004_age.sql", "ALTER TABLE pets ADD COLUMN age int;", "ALTER TABLE pets DROP COLUMN age;")
    stalls: list[float] = []
    with psycopg.connect(database) as reader, busy_clients(database, stalls):
        reader.execute("SELECT * FROM app.pets")
        migration = asyncio.create_task(migrate.up(database, tree.load(), "app"))
        await asyncio.sleep(1.5)
        assert not migration.done()
        reader.commit()
        assert len(await migration) == 1
    assert max(stalls) < 0.8


async def test_a_table_that_stays_locked_is_a_clear_error(database: str, tree):
    await migrate.up(database, tree.load(), "app")
    tree.add("004_age.sql", "ALTER TABLE pets ADD COLUMN age int;", "ALTER TABLE pets DROP COLUMN age;")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM app.pets")
        with pytest.raises(
            TimedOut, match=rf"004_age\.sql did not get its locks .* process {reader.info.backend_pid} "
        ):
            await migrate.up(database, tree.load(), "app", waits=Waits(table_seconds=0.2))
    assert State.PENDING is (await migrate.status(database, tree.load(), "app"))[-1].state
    assert len(await migrate.up(database, tree.load(), "app")) == 1


async def test_concurrently_waits_for_old_transactions_and_locks_nobody_out(database: str, tree):
    """The lock_timeout of other statements would make it give up, leaving an invalid index."""
    await migrate.up(database, tree.load(), "app", to=2)
    with psycopg.connect(database) as writer:
        writer.execute("INSERT INTO app.people (name) VALUES ('Ada')")
        writer.execute("INSERT INTO app.pets (name) VALUES ('Rex')")
        migration = asyncio.create_task(migrate.up(database, tree.load(), "app"))
        await asyncio.sleep(0.7)
        assert not migration.done()
        with psycopg.connect(database) as other:
            other.execute("INSERT INTO app.pets (name) VALUES ('Tom')")
        writer.commit()
        assert len(await migration) == 1
    await migrate.verify(database, tree.load(), "app")
