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

    def invoke(verb: str, *arguments: str) -> Result:
        return CliRunner(env={"COLUMNS": "200", "DATABASE_URL": database}).invoke(
            app, [verb, *arguments, "--dir", str(tmp_path / "migrations")]
        )

    return invoke


def begun(migrate: Command, title: str, up: str) -> Path:
    path = Path(migrate("new", title, "--author", "Ada").stdout.replace("\n", ""))
    path.write_text(path.read_text().replace("-- migrate:up\n", f"-- migrate:up\n{up}\n") + "\nSELECT 1;\n")
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
