"""`cloudlab migrate up` refuses what would make others wait, unless somebody says why.

Standard: §6.2 Zero-Downtime Migrations
"""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloudlab.cli.migrate import app
from cloudlab.errors import InvalidInput, MigrationError

Command = Callable[..., Result]
ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY, name text);"
INDEX = "CREATE INDEX idx_items_name ON items (name);"


@pytest.fixture
def migrate(database: str, tmp_path: Path) -> Command:
    """The command for a folder and a database of the user's own."""

    def invoke(verb: str, *arguments: str, answer: str | None = None) -> Result:
        return CliRunner(env={"COLUMNS": "200", "DATABASE_URL": database}).invoke(
            app, [verb, *arguments, "--dir", str(tmp_path / "migrations")], input=answer
        )

    return invoke


def begun(migrate: Command, title: str, up: str, down: str = "SELECT 1;") -> Path:
    path = Path(migrate("new", title, "--author", "Ada").stdout.replace("\n", ""))
    path.write_text(path.read_text().replace("-- migrate:up\n", f"-- migrate:up\n{up}\n") + f"\n{down}\n")
    return path


def filled(database: str, *schemas: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for number, schema in enumerate(schemas):
            conn.execute(
                f"INSERT INTO {schema}.items SELECT n, 'item' FROM generate_series(1, {1000 * number}) AS n"  # noqa: S608
            )


def reasons(database: str, schema: str = "public") -> list[tuple[str, str | None]]:
    with psycopg.connect(database) as conn:
        return conn.execute(
            f"SELECT version, unsafe_reason FROM {schema}.schema_migrations ORDER BY version"  # noqa: S608
        ).fetchall()


def test_an_index_that_blocks_writes_is_refused_until_a_reason_is_given_and_recorded(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS)
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    begun(migrate, "Index them", INDEX)
    begun(migrate, "Harmless", "COMMENT ON TABLE items IS 'What is sold';")

    shown = migrate("up", "--dry-run")
    assert "SHARE on items (0." in shown.stdout
    assert "-- LK05: keeps everybody from writing to items" in shown.stdout
    assert "1 statements would be refused" in shown.stderr
    said = json.loads(migrate("up", "--dry-run", "--json").stdout)["judged"][0]["statements"][0]
    assert said["dangers"][0]["rule"] == "LK05"
    assert said["touched"][0]["estimated_seconds"] > 0

    refused = migrate("up").exception
    assert isinstance(refused, MigrationError)
    assert "safely: -- migrate:online add_index table=items columns=name name=idx_items_name" in str(refused.details)
    assert reasons(database) == [("001", None)]
    assert isinstance(migrate("up", "--unsafe", " ").exception, InvalidInput)

    assert migrate("up", "--unsafe", "nobody is awake").exit_code == 0
    assert reasons(database) == [("001", None), ("002", "LK05: nobody is awake"), ("003", None)]


def test_what_is_brief_enough_passes_when_that_is_wanted(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS)
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    begun(migrate, "Index them", INDEX)
    assert migrate("up", "--brief", "500").exit_code == 0


def test_of_many_schemas_the_largest_table_decides(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS)
    places = ("--schema", "a", "--schema", "b", "--schema", "c")
    assert migrate("up", *places).exit_code == 0
    begun(migrate, "Index them", INDEX)
    assert "empty" in migrate("up", "--dry-run", *places).stdout
    filled(database, "a", "b")  # a stays empty, and it is the first
    shown = migrate("up", "--dry-run", *places)
    assert "a and 2 more" in shown.stdout
    assert isinstance(migrate("up", *places).exception, MigrationError)
    assert migrate("up", *places, "--unsafe", "small").exit_code == 0
    assert reasons(database, "c") == [("001", None), ("002", "LK05: small")]


def test_tables_that_are_new_or_empty_are_nobodys(migrate: Command):
    begun(migrate, "Create items", ITEMS)
    assert migrate("up").exit_code == 0
    begun(migrate, "Index them", INDEX + "\nALTER TABLE items ALTER COLUMN name SET NOT NULL;")
    assert migrate("up").exit_code == 0


def test_a_file_may_say_itself_why_and_that_is_recorded(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS)
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    begun(migrate, "Index them", f"-- cloudlab: ignore LK05 because the table has a thousand rows\n{INDEX}")
    assert "excused by the file, LK05: the table has" in migrate("up", "--dry-run").stdout
    assert migrate("up").exit_code == 0
    assert reasons(database)[-1] == ("002", "LK05: the table has a thousand rows")
    begun(migrate, "Unique", "-- cloudlab: ignore LK05\nCREATE UNIQUE INDEX u ON items (id, name);")
    assert isinstance(migrate("up").exception, MigrationError)


def test_the_steps_of_an_online_operation_are_shown_with_their_locks(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS)
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    path = begun(migrate, "Never NULL", "-- migrate:online set_not_null table=items column=name")
    path.write_text(path.read_text().replace("-- migrate:up", "-- migrate:up transaction:false"))
    shown = migrate("up", "--dry-run").stdout
    assert "ACCESS EXCLUSIVE on public.items, for moments" in shown.replace('"', "")
    assert migrate("up").exit_code == 0


COLUMN = "ALTER TABLE items ADD COLUMN price numeric;"


def versions(database: str) -> list[str]:
    return [version for version, _ in reasons(database)]


def test_down_says_what_is_lost_and_asks_or_wants_a_yes_or_a_reason(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS, "DROP TABLE items;")
    begun(migrate, "Price", COLUMN, "ALTER TABLE items DROP COLUMN price;")
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")

    shown = migrate("down", "--to", "0", "--dry-run")
    assert "ACCESS EXCLUSIVE on items" in shown.stdout
    assert "-- loses the column price of items (0." in shown.stdout
    assert "-- loses the table items (0." in shown.stdout
    said = json.loads(migrate("down", "--dry-run", "--json").stdout)["judged"][0]
    assert said["losses"][0]["what"].startswith("the column price of items")

    asked = migrate("down", answer="n\n")
    assert asked.exit_code == 1
    assert "lost: public: " in asked.stderr
    assert "the column price of items (0." in asked.stderr
    assert versions(database) == ["001", "002"]
    assert migrate("down", answer="y\n").exit_code == 0
    assert migrate("up").exit_code == 0
    assert migrate("down", "--yes").exit_code == 0
    assert migrate("down", "--unsafe", "the shop is closed").exit_code == 0
    assert versions(database) == []


def test_an_empty_table_is_no_loss_though_down_still_asks(migrate: Command, database: str):
    begun(migrate, "Create items", ITEMS, "DROP TABLE items;")
    assert migrate("up").exit_code == 0
    asked = migrate("down", answer="n\n")
    assert asked.exit_code == 1
    assert "lost: " not in asked.stderr
    assert versions(database) == ["001"]


@pytest.mark.parametrize("verb", ["down", "redo"])
def test_a_way_down_that_blocks_writes_is_refused_until_a_reason_is_given(migrate: Command, database: str, verb: str):
    begun(migrate, "Create items", ITEMS, "DROP TABLE items;")
    begun(migrate, "No index", "DROP INDEX IF EXISTS idx_items_name;", INDEX)
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    refused = migrate(verb, "--yes").exception
    assert isinstance(refused, MigrationError)
    assert "safely: -- migrate:online add_index table=items columns=name" in str(refused.details)
    assert "LK05" in migrate(verb, "--dry-run").stdout
    assert versions(database) == ["001", "002"]
    assert migrate(verb, "--unsafe", "nobody is awake").exit_code == 0
    again = [("002", "LK05: nobody is awake")] if verb == "redo" else []
    assert reasons(database) == [("001", None), *again]


def test_redo_judges_the_way_up_against_what_the_way_down_leaves(migrate: Command, database: str):
    """A table that redo makes anew is empty: its index keeps nobody from writing."""
    begun(migrate, "Create items", f"{ITEMS}\n{INDEX}", "DROP TABLE items;")
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    shown = migrate("redo", "--dry-run")
    assert shown.stdout.count("-- loses the table items") == 1
    assert shown.stdout.count(ITEMS) == 1
    assert "would be refused" not in shown.stderr
    asked = migrate("redo", answer="n\n")
    assert (asked.exit_code, "the table items (" in asked.stderr) == (1, True)
    assert migrate("redo", "--yes").exit_code == 0
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM items").fetchone() == (0,)


@pytest.mark.parametrize(
    ("down", "lost"),
    [
        ("TRUNCATE items;", "every row of the table items"),
        ("DELETE FROM items WHERE id = 1;", "the rows that fit of the table items"),
        ("DELETE FROM items;", "every row of the table items"),
        ("DROP SCHEMA public CASCADE;", "the table items"),
        ("-- migrate:online drop_table table=items phase=contract", "the table items"),
        ("-- migrate:online drop_column table=items column=name phase=contract", "the column name of items"),
        ("-- migrate:online add_column table=items column=name type=text phase=rollback", "the column name of items"),
    ],
)
def test_every_way_to_lose_rows_is_named(migrate: Command, database: str, down: str, lost: str):
    begun(migrate, "Create items", ITEMS)
    path = begun(migrate, "Nothing", "SELECT 1;", down)
    path.write_text(path.read_text().replace("-- migrate:down", "-- migrate:down transaction:false"))
    assert migrate("up").exit_code == 0
    filled(database, "public", "public")
    said = json.loads(migrate("down", "--dry-run", "--json").stdout)["judged"][0]
    assert lost in [one["what"].partition(" (")[0] for one in said["losses"]]
