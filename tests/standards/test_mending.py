"""`cloudlab check --fix`: what it writes is a migration that `cloudlab migrate` applies, and the findings are gone.

Standard: §6.2 Zero-Downtime Migrations
"""

import asyncio
import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from cloudlab.cli.commands import app
from cloudlab.standards import checking, mending, reading, rules
from cloudlab.standards.rule import Finding
from fixtures.postgres import Cluster

# What each rule that mends has to mend; the rest of it breaks nothing.
BROKEN = """
    CREATE TABLE users (users_id uuid PRIMARY KEY, name text DEFAULT 'NULL', email text);
    CREATE TABLE orders (order_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), users_id uuid REFERENCES users);
    CREATE TABLE orders_archive (LIKE orders);
    ALTER TABLE orders_archive ADD PRIMARY KEY (order_id);
    ALTER TABLE orders ADD COLUMN note text;
    CREATE INDEX idx_users_email ON users (email);
    CREATE INDEX idx_users_email_2 ON users (email);
    ALTER TABLE orders ADD CONSTRAINT chk_orders_users_id CHECK (users_id IS NOT NULL) NOT VALID;
    ALTER TABLE orders SET (autovacuum_enabled = off);
    ALTER TABLE users ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON users USING (users_id = (SELECT current_setting('app.user', true)::uuid));
    CREATE VIEW names AS SELECT name FROM users;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END';
    CREATE FUNCTION secret() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
    CREATE TABLE notes (note_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), updated_at timestamptz);
    CREATE TABLE texts (text_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), updated_at timestamptz);
    CREATE TABLE words (word_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), updated_at timestamptz);
    CREATE TRIGGER trg_notes_updated_at BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE TRIGGER trg_texts_updated_at BEFORE UPDATE ON texts FOR EACH ROW EXECUTE FUNCTION touch();
"""


def found(url: str) -> list[Finding]:
    async def read() -> list[Finding]:
        async with reading.connect(url) as conn:
            return list(checking.of_schema(await reading.read_schema(conn)))

    return asyncio.run(read())


def cloudlab(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_written_is_applied_and_the_findings_are_gone(each_postgres: Cluster, tmp_path: Path):
    with each_postgres.database("scratch") as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(BROKEN)
            conn.execute("INSERT INTO users SELECT gen_random_uuid() FROM generate_series(1, 10)")
            conn.execute("INSERT INTO orders (users_id) SELECT users_id FROM users")
        mended = mending.mend(found(url), date(2026, 1, 1))
        assert {finding.rule.id for finding in mended.done} >= {
            "CN02", "CN04", "FK04", "IX01", "OB09", "RT01", "SE04", "TN02", "TN09", "TS02",
        }  # fmt: skip
        said = cloudlab("check", url, "--fix", str(tmp_path))
        assert "001_findings_of_the_checker_mended.sql: mends CN02 1, CN04 1" in said
        assert "yours to decide: " in said
        # The server of the tests has autovacuum off, which is not a migration's to change.
        assert "ALTER SYSTEM" not in next(tmp_path.iterdir()).read_text()
        cloudlab("migrate", "up", "--dir", str(tmp_path), "--database", url)
        after = found(url)
        assert {finding.rule.id for finding in after} & {finding.rule.id for finding in mended.done} == set()
        assert mending.mend(after, date(2026, 1, 1)).text == ""
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM orders").fetchone() == (10,)


def test_a_key_that_runs_out_is_widened_online_with_what_refers_to_it(each_postgres: Cluster, tmp_path: Path):
    with each_postgres.database("scratch") as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE counters (counter_id serial PRIMARY KEY, note text)")
            conn.execute(
                "CREATE TABLE visits (visit_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, counter_id int)"
            )
            conn.execute("ALTER TABLE visits ADD FOREIGN KEY (counter_id) REFERENCES counters ON DELETE CASCADE")
            conn.execute("INSERT INTO counters (note) SELECT 'n' FROM generate_series(1, 10)")
            conn.execute("INSERT INTO visits (counter_id) SELECT counter_id FROM counters")
        # The identity of visits waits for the next file: its table is written anew once already.
        for file, mended in (("001", "counters"), ("002", "visits")):
            told = json.loads(cloudlab("check", url, "--select", "PK02", "--fix", str(tmp_path), "--json"))
            assert [one["name"] for one in told["mended"]] == [mended], file
            cloudlab("migrate", "up", "--dir", str(tmp_path), "--database", url)
            with psycopg.connect(url) as conn:
                started = "SELECT operation_id FROM online_operations WHERE state = 'expanded' ORDER BY operation_id"
                running = [str(number) for (number,) in conn.execute(started)]
            for number in running:
                cloudlab("online", "contract", number, "--database", url)
        assert {one.rule.id for one in found(url)} & {"PK02", "FK05"} == set()
        with psycopg.connect(url) as conn:
            conn.execute("INSERT INTO counters (counter_id) VALUES (3000000000)")
            row = conn.execute("INSERT INTO visits (counter_id) VALUES (3000000000) RETURNING visit_id").fetchone()
            assert row == (11,)


def test_a_table_of_another_schema_is_not_written_anew_under_a_lock(each_postgres: Cluster):
    with each_postgres.database("scratch") as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE SCHEMA shop; CREATE TABLE shop.t (t_id serial PRIMARY KEY)")
        left = {finding.rule.id for finding in mending.mend(found(url), date(2026, 1, 1)).left}
    assert "PK02" in left


def test_what_it_writes_into_a_folder_counts_there(tmp_path: Path):
    (tmp_path / "001_shop.sql").write_text(
        "CREATE TABLE users (users_id uuid PRIMARY KEY);\n"
        "CREATE TABLE orders (order_id uuid PRIMARY KEY, users_id uuid REFERENCES users ON DELETE CASCADE);\n"
    )
    told = json.loads(cloudlab("check", str(tmp_path), "--fix", str(tmp_path), "--select", "FK04", "--json"))
    assert told["path"] == str(tmp_path / "002_findings_of_the_checker_mended.sql")
    assert told["mended"] == [{"rule": "FK04", "name": "orders.orders_users_id_fkey"}]
    assert "-- migrate:online add_index table=orders columns=users_id name=idx_orders_users_id" in told["sql"]
    assert cloudlab("check", str(tmp_path), "--select", "FK04").strip() == "nothing found"
    assert cloudlab("check", str(tmp_path), "--select", "FK04", "--fix", "-").strip() == (
        "nothing that can be mended without a decision"
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_only_what_is_whole_sql_is_written():
    for rule in rules.every():
        if not rule.mends:
            continue
        assert rule.schema, rule.id


@pytest.mark.parametrize("style", ["text", "json"])
def test_to_print_writes_no_file(tmp_path: Path, style: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "001_a.sql").write_text("CREATE TABLE a (a_id uuid PRIMARY KEY);\nCREATE INDEX i ON a (a_id);\n")
    assert "DROP INDEX CONCURRENTLY i" in cloudlab("check", ".", "--fix", "-", "--format", style, "--select", "IX01")
    assert [path.name for path in tmp_path.iterdir()] == ["001_a.sql"]
