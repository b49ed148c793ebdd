"""`cloudlab migrate` for anybody: a folder of files and any PostgreSQL database.

Standard: §6.1 Versioned Migrations
"""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloudlab.cli.migrate import app
from cloudlab.errors import InvalidInput, MigrationError, NotFound

Command = Callable[..., Result]


@pytest.fixture
def migrate(database: str, tmp_path: Path) -> Command:
    """The command for a folder and a database of the user's own, without any installation."""
    folder = tmp_path / "migrations"

    def invoke(verb: str, *arguments: str) -> Result:
        runner = CliRunner(env={"COLUMNS": "160", "DATABASE_URL": database, "CLOUDLAB_CONFIG": str(tmp_path / "none")})
        return runner.invoke(app, [verb, *arguments, "--dir", str(folder)])

    return invoke


def filled(path: Path, up: str, down: str) -> None:
    """Fill in the sections of a migration that was begun."""
    text = path.read_text()
    assert "-- Author: Ada" in text
    for section, sql in (("up", up), ("down", down)):
        text = text.replace(f"-- migrate:{section}\n", f"-- migrate:{section}\n{sql}\n")
    path.write_text(text)


def begun(migrate: Command, title: str, up: str, down: str) -> Path:
    path = Path(migrate("new", title, "--author", "Ada").stdout.replace("\n", ""))
    filled(path, up, down)
    return path


def test_from_the_first_file_to_the_last_command(migrate: Command, database: str):
    first = begun(migrate, "Create items", "CREATE TABLE items (id bigint PRIMARY KEY);", "DROP TABLE items;")
    add, drop = (f"ALTER TABLE items {verb} COLUMN price" for verb in ("ADD", "DROP"))
    second = begun(migrate, "Items have a price", f"{add} numeric;", f"{drop};")
    assert (first.name, second.name) == ("001_create_items.sql", "002_items_have_a_price.sql")

    planned = migrate("plan")
    assert planned.exit_code == 0
    assert "Items have a price" in planned.stdout
    assert "ALTER TABLE items ADD COLUMN price" in migrate("up", "--dry-run").stdout
    assert migrate("verify").exit_code == 1

    done = migrate("up")
    assert (done.exit_code, "2 applied" in done.stdout) == (0, True)
    assert migrate("verify").exit_code == 0
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT price FROM public.items").fetchall() == []

    second.write_text(second.read_text() + "\n-- a change\n")
    assert "was changed after it was applied" in migrate("verify").stderr
    second.write_text(second.read_text().removesuffix("\n-- a change\n"))
    assert migrate("redo", "--yes").exit_code == 0
    assert migrate("down", "--to", "0", "--yes").exit_code == 0
    assert "pending" in migrate("status").stdout


def test_many_schemas_by_a_pattern(migrate: Command, database: str):
    begun(migrate, "Create items", "CREATE TABLE items (id bigint PRIMARY KEY);", "DROP TABLE items;")
    with psycopg.connect(database, autocommit=True) as conn:
        for schema in ("tenant_a", "tenant_b", "tenantxc", "other"):
            conn.execute(f"CREATE SCHEMA {schema}")
    done = json.loads(migrate("up", "--schema", "tenant_*", "--schema", "new", "--json").stdout)
    assert [one["target"] for one in done["targets"]] == ["tenant_a", "tenant_b", "new"]
    shown = json.loads(migrate("status", "--schema", "*", "--json").stdout)
    states = {one["target"]: one["migrations"][0]["state"] for one in shown}
    applied = {"new", "tenant_a", "tenant_b"}
    assert {name for name, state in states.items() if state == "applied"} == applied
    assert {"other", "public", "tenantxc"} <= {name for name, state in states.items() if state == "pending"}


def test_failures_are_collected_when_that_is_wanted(migrate: Command, database: str):
    begun(migrate, "Create items", "CREATE TABLE items (id bigint PRIMARY KEY);", "DROP TABLE items;")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA b")
        conn.execute("CREATE TABLE b.items (id integer)")
    stopped = migrate("up", "--schema", "a", "--schema", "b", "--schema", "c")
    assert isinstance(stopped.exception, MigrationError)
    kept_on = migrate("up", "--schema", "a", "--schema", "b", "--schema", "d", "--keep-going")
    assert kept_on.exit_code == 1
    assert 'relation "items" already exists' in kept_on.stderr
    assert json.loads(migrate("status", "--schema", "d", "--json").stdout)[0]["migrations"][0]["state"] == "applied"


OTHERS = {
    "Alembic": ("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)", "alembic_version", "ae1027a6acf"),
    "Flyway": (
        "CREATE TABLE flyway_schema_history (installed_rank integer PRIMARY KEY, version varchar(50))",
        "flyway_schema_history (installed_rank, version)",
        "7",
    ),
    "dbmate or Rails": ("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)", "schema_migrations", "202601"),
    "golang-migrate": (
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL DEFAULT false)",
        "schema_migrations (version)",
        "12",
    ),
}


@pytest.mark.parametrize("tool", OTHERS)
def test_a_database_of_another_tool_is_taken_over(migrate: Command, database: str, tool: str):
    create, into, version = OTHERS[tool]
    begun(migrate, "Create items", "CREATE TABLE items (id bigint PRIMARY KEY);", "DROP TABLE items;")
    begun(migrate, "Create more", "CREATE TABLE more (id bigint PRIMARY KEY);", "DROP TABLE more;")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE items (id bigint PRIMARY KEY)")
        conn.execute(create)
        values = f"1, '{version}'" if tool == "Flyway" else f"'{version}'"
        conn.execute(f"INSERT INTO {into} VALUES ({values})")  # noqa: S608  a table of the test's own
    if "schema_migrations" in into:
        refused = migrate("up")
        assert isinstance(refused.exception, MigrationError)
        assert "another tool's" in refused.exception.message

    planned = json.loads(migrate("baseline", "--to", "1", "--dry-run", "--json").stdout)["targets"][0]
    assert planned == {"target": "public", "versions": ["001"], "tool": tool, "tool_version": version}
    assert migrate("baseline", "--to", "1").exit_code == 0
    done = migrate("up", "--json")
    assert [one["version"] for one in json.loads(done.stdout)["targets"][0]["migrations"]] == ["002"]
    assert migrate("verify").exit_code == 0
    with psycopg.connect(database) as conn:
        table = "schema_migrations_before_cloudlab" if "schema_migrations" in into else into.split(" ")[0]
        ((kept,),) = conn.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608  the same
    assert kept == 1
    again = migrate("baseline", "--to", "2")
    if "schema_migrations" in into:
        assert isinstance(again.exception, MigrationError)


def test_times_may_be_versions(migrate: Command, tmp_path: Path):
    folder = tmp_path / "migrations"
    path = begun(migrate, "Create items", "CREATE TABLE items (id bigint PRIMARY KEY);", "DROP TABLE items;")
    path.rename(folder / "20261122101500_create_items.sql")
    begun(migrate, "Create more", "CREATE TABLE more (id bigint PRIMARY KEY);", "DROP TABLE more;")
    assert migrate("up").exit_code == 0
    assert [one["version"] for one in json.loads(migrate("status", "--json").stdout)[0]["migrations"]] == [
        "20261122101500",
        "20261122101501",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["up", "--target", "shard", "--dir", "."], InvalidInput, "--target names places of the installation"),
        (["up", "--schema", "x"], InvalidInput, "--schema goes with --dir"),
        (["up", "--dir", "."], InvalidInput, "which database"),
        (["up", "--dir", "no/where", "--database", "postgresql://x@localhost/x"], NotFound, "no folder no/where"),
        (["down", "--yes"], InvalidInput, "of which places"),
        (["new", "***", "--dir", "x"], InvalidInput, "cannot name a migration"),
    ],
)
def test_wrong_use_says_what_to_give(arguments: list[str], error: type[Exception], said: str):
    done = CliRunner(env={"COLUMNS": "160", "DATABASE_URL": ""}).invoke(app, arguments)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
