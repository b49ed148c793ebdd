"""Up, down, and every refusal, on each supported server."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cloudlab.errors import ChecksumChanged, MigrationError, Unavailable
from cloudlab.schema import migrate
from cloudlab.schema.history import State
from fixtures.fingerprint import fingerprint
from fixtures.postgres import Cluster


def rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()


def states(statuses) -> list[tuple[str, State]]:
    return [(status.version, status.state) for status in statuses]


async def test_up_applies_everything_once_and_records_it(database: str, tree):
    files = tree.load()
    assert [applied.version for applied in await migrate.up(database, files, "app")] == ["001", "002", "003"]
    assert await migrate.up(database, files, "app") == []
    recorded = rows(database, "SELECT version, checksum, description, running_statement FROM app.schema_migrations")
    assert [(one.version, one.checksum, one.title, None) for one in files] == sorted(recorded)
    assert rows(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.idx_pets_name'::regclass") == [
        (True,)
    ]
    await migrate.verify(database, files, "app")


async def test_up_down_up_gives_the_same_schema(database: str, tree):
    files = tree.load()
    await migrate.up(database, files, "app", to=1)
    first = fingerprint(database, "app")
    await migrate.up(database, files, "app")
    full = fingerprint(database, "app")
    assert [one.version for one in await migrate.down(database, files, "app", steps=2)] == ["003", "002"]
    assert first == fingerprint(database, "app")
    await migrate.up(database, files, "app")
    assert full == fingerprint(database, "app")
    assert first != full
    assert [one.version for one in await migrate.down(database, files, "app", to=0)] == ["003", "002", "001"]
    await migrate.up(database, files, "app")
    assert full == fingerprint(database, "app")


async def test_the_fingerprint_sees_every_kind_of_change(database: str, tree):
    await migrate.up(database, tree.load(), "app")
    changes = [
        "COMMENT ON COLUMN people.name IS 'changed'",
        "COMMENT ON FUNCTION count_people() IS 'changed'",
        "ALTER TABLE people ALTER COLUMN name DROP DEFAULT",
        "ALTER TABLE people DROP CONSTRAINT people_name_check",
        "ALTER TABLE pets ADD CONSTRAINT named CHECK (name <> 'x') NOT VALID",
        "ALTER TYPE mood ADD VALUE 'fair'",
        "ALTER POLICY mine ON pets USING (true)",
        "ALTER TABLE pets FORCE ROW LEVEL SECURITY",
        "REVOKE SELECT ON pets FROM cloudlab_app",
        "GRANT USAGE ON SCHEMA app TO cloudlab_app",
        "CREATE OR REPLACE FUNCTION count_people() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        "DROP INDEX idx_pets_name",
        "ALTER TABLE pets ALTER COLUMN name SET STATISTICS 10",
        "CREATE VIEW v AS SELECT 1 AS one",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO cloudlab_app",
        "REVOKE EXECUTE ON FUNCTION count_people() FROM PUBLIC",
    ]
    for change in changes:
        before = fingerprint(database, "app")
        with psycopg.connect(database, options="-c search_path=app") as conn:
            conn.execute(change)
        assert before != fingerprint(database, "app"), change


async def test_names_are_made_and_found_in_the_target_schema(database: str, tree):
    files = tree.load()
    for schema in ("first", 'the "second"; --'):
        await migrate.up(database, files, schema)
    owner = psycopg.connect(database)
    with owner:
        owner.execute('INSERT INTO "the ""second""; --".people (name) VALUES (\'Ada\')')
        counts = owner.execute('SELECT first.count_people(), "the ""second""; --".count_people()').fetchone()
    assert counts == (0, 1)


@pytest.mark.parametrize("act", [migrate.up, migrate.down, migrate.verify])
async def test_a_changed_file_is_refused_by_name(database: str, tree, act: Callable):
    await migrate.up(database, tree.load(), "app", to=2)
    path = tree.folder / "001_people.sql"
    path.write_text(path.read_text().replace("'bad'", "'worse'"))
    before = fingerprint(database, "app")
    with pytest.raises(ChecksumChanged, match=r"001_people\.sql was changed after it was applied"):
        await act(database, tree.load(), "app")
    assert before == fingerprint(database, "app")


@pytest.mark.parametrize("act", [migrate.up, migrate.down, migrate.verify])
async def test_a_missing_file_is_refused_by_name(database: str, tree, act: Callable):
    await migrate.up(database, tree.load(), "app")
    (tree.folder / "003_pets_by_name.sql").unlink()
    with pytest.raises(ChecksumChanged, match=r"003 \(pets by name\) was applied, but its file is not in"):
        await act(database, tree.load(), "app")


async def test_a_file_older_than_an_applied_one_is_refused_by_name(database: str, tree):
    await migrate.up(database, tree.load(), "app")
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM app.schema_migrations WHERE version = '002'")
    with pytest.raises(MigrationError, match=r"002_pets\.sql is not applied, but the later 003 is"):
        await migrate.up(database, tree.load(), "app")


async def test_verify_and_status_tell_what_is_pending(database: str, tree):
    files = tree.load()
    assert {State.PENDING} == {status.state for status in await migrate.status(database, files, "app")}
    await migrate.up(database, files, "app", to=2)
    statuses = await migrate.status(database, files, "app")
    assert states(statuses) == [("001", State.APPLIED), ("002", State.APPLIED), ("003", State.PENDING)]
    assert statuses[0].applied_at is not None
    with pytest.raises(MigrationError, match="003 is pending"):
        await migrate.verify(database, files, "app")


async def test_a_failing_migration_leaves_nothing_and_names_its_line(database: str, tree):
    files = tree.load()
    await migrate.up(database, files, "app")
    before = fingerprint(database, "app")
    sql = "CREATE TABLE more (a int);\nINSERT INTO people (name)\n  VALUES (''), (nobody);"
    path = tree.add("004_more.sql", sql, "DROP TABLE more;")
    with pytest.raises(MigrationError, match=rf'{re.escape(str(path))}:10: column "nobody" does not exist'):
        await migrate.up(database, tree.load(), "app")
    tree.add("004_more.sql", sql.replace(", (nobody)", ""), "DROP TABLE more;")
    with pytest.raises(MigrationError, match=rf"{re.escape(str(path))}:9: .*people_name_check"):
        await migrate.up(database, tree.load(), "app")
    assert before == fingerprint(database, "app")
    assert states(await migrate.status(database, tree.load(), "app"))[-1] == ("004", State.PENDING)
    assert rows(database, "SELECT count(*) FROM app.schema_migrations")[0][0] == 3


async def test_what_ran_before_the_failing_migration_stays(database: str, tree):
    tree.add("004_fails.sql", "SELECT 1/0;", "SELECT 1;")
    seen: list[str] = []
    with pytest.raises(MigrationError, match="division by zero"):
        await migrate.up(database, tree.load(), "app", progress=lambda applied: seen.append(applied.version))
    assert seen == ["001", "002", "003"]


async def test_a_statement_that_needs_no_transaction_says_how_to_write_it(database: str, tree):
    tree.add("004_index.sql", "CREATE INDEX CONCURRENTLY i ON people (name);", "DROP INDEX i;")
    with pytest.raises(MigrationError) as failed:
        await migrate.up(database, tree.load(), "app")
    assert "transaction:false" in failed.value.hint


async def test_a_dry_run_changes_nothing(database: str, tree):
    files = tree.load()
    empty = fingerprint(database, "app")
    planned = await migrate.up(database, files, "app", dry_run=True)
    assert [one.up.sql for one in files] == [applied.sql for applied in planned]
    assert {None} == {applied.seconds for applied in planned}
    assert empty == fingerprint(database, "app")
    await migrate.up(database, files, "app")
    full = fingerprint(database, "app")
    planned = await migrate.down(database, files, "app", to=1, dry_run=True)
    assert [files[2].down.sql, files[1].down.sql] == [applied.sql for applied in planned]
    assert full == fingerprint(database, "app")


async def test_an_unknown_version_is_refused(database: str, tree):
    for act in (migrate.up, migrate.down):
        with pytest.raises(MigrationError, match="no migration 009; the last one is 003"):
            await act(database, tree.load(), "app", to=9)


async def test_down_without_history_does_nothing(database: str, tree):
    before = fingerprint(database, "app")
    assert await migrate.down(database, tree.load(), "app", to=0) == []
    assert before == fingerprint(database, "app")


async def test_an_open_connection_serves_many_schemas(database: str, tree):
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        for number in range(3):
            assert len(await migrate.up(conn, tree.load(), f"tenant_{number}")) == 3
        assert len(await migrate.status(conn, tree.load(), "tenant_2")) == 3
    async with await psycopg.AsyncConnection.connect(database) as conn:
        with pytest.raises(MigrationError, match="autocommit"):
            await migrate.up(conn, tree.load(), "app")


async def test_a_login_that_may_not_create_is_told_so(each_postgres: Cluster, database: str, tree):
    url = database.replace("cloudlab_owner", "cloudlab_app")
    with pytest.raises(Exception, match="permission denied") as refused:
        await migrate.up(url, tree.load(), "app")
    assert refused.value.code == "CL300"


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, tree):
    with pytest.raises(Unavailable):
        await migrate.up(f"postgresql://nobody@/nothing?host={tmp_path}", tree.load(), "app")
