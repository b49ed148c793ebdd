"""`cloudlab online` as a person and as a script meet it."""

import json

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloudlab.cli.online import app
from cloudlab.errors import InvalidInput
from cloudlab.schema import online_operations
from fixtures.online_lab import make_shop


def invoke(url: str, *arguments: str) -> Result:
    options = [] if arguments[0] == "list" else ["--database", url, "--schema", "app"]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, *options])


def test_a_dry_run_shows_each_statement_with_its_lock_and_changes_nothing(database: str):
    make_shop(database)
    shown = invoke(database, "run", "set_not_null", "table=items", "column=price", "--dry-run")
    assert shown.exit_code == 0
    assert "ADD CONSTRAINT" in shown.output
    assert "lock: ACCESS EXCLUSIVE on app.items, for moments" in shown.output
    steps = json.loads(
        invoke(database, "run", "set_not_null", "table=items", "column=price", "--dry-run", "--json").output
    )
    assert [one["phase"] for one in steps] == ["expand"] * 3
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT to_regclass('app.online_operations')").fetchone() == (None,)


def test_run_status_contract_and_rollback(database: str):
    make_shop(database)
    words = ["rename_column", "table=items", "column=name", "to=title"]
    done = json.loads(invoke(database, "run", *words, "--json").output)
    assert done["state"] == "expanded"
    assert "rename_column" in invoke(database, "status").output
    assert json.loads(invoke(database, "rollback", "1", "--json").output)["state"] == "rolled back"
    assert invoke(database, "run", *words).exit_code == 0
    assert "is done after" in invoke(database, "contract", "2").output
    assert [one["state"] for one in json.loads(invoke(database, "status", "--json").output)] == ["done", "rolled back"]


def test_pause_and_resume(database: str):
    make_shop(database)
    assert invoke(database, "run", "rename_column", "table=items", "column=name", "to=title").exit_code == 0
    assert invoke(database, "pause", "1").exit_code == 0
    assert invoke(database, "resume", "1").exit_code == 0
    assert invoke(database, "pause", "9").exit_code != 0


def test_every_operation_is_listed_with_what_it_does():
    found = json.loads(invoke("", "list", "--json").output)
    assert set(found) == set(online_operations.OPERATIONS)
    assert all(len(one["does"]) > 20 for one in found.values())


def test_words_that_are_not_understood_show_how_it_is_written():
    for words in (["tabel=items"], [], ["table=items", "table=b"], ["table=items", "unique=maybe"]):
        with pytest.raises(InvalidInput):
            online_operations.build("add_unique" if not words else "add_index", words)
