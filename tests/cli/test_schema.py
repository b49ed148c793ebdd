"""`cloudlab schema`: documents are written, differences are found with exit code 1, places that drifted are named.

Standard: §11.3 Operational Excellence, §4.1 Tenant-Specific Schemas
"""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloudlab.cli import migrate
from cloudlab.cli.describing import app
from cloudlab.config import Config
from fixtures.commands import write_config
from fixtures.postgres import Cluster

Command = Callable[..., Result]
FILE = """\
-- Migration: Create items
-- Author: Ada
-- Date: 2026-11-22
-- Description: What the shop sells
-- Standard: §2.1 Table Naming

-- migrate:up
CREATE TABLE items (item_id bigint PRIMARY KEY, name text NOT NULL CHECK (name <> ''));
COMMENT ON TABLE items IS 'What is sold';

-- migrate:down
DROP TABLE items;
"""
ONLINE = FILE.replace("Create items", "Index them").replace("-- migrate:up", "-- migrate:up transaction:false")
ONLINE = ONLINE.replace(
    "CREATE TABLE items (item_id bigint PRIMARY KEY, name text NOT NULL CHECK (name <> ''));",
    """\
-- migrate:online add_index table=items columns=name
-- migrate:online add_column table=items column=token type=uuid default=gen_random_uuid() not_null=true comment='A b'
-- migrate:online add_check table=items name=chk_items_id check='item_id > 0'
-- migrate:online add_unique table=items columns=name,item_id
""",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "001_create_items.sql").write_text(FILE)
    (folder / "002_index_them.sql").write_text(ONLINE)
    return folder


@pytest.fixture
def schema(database: str, folder: Path) -> Command:
    """`cloudlab schema` beside a database of the user's own that the folder's migrations were applied to."""

    def invoke(*arguments: object) -> Result:
        return CliRunner(env={"COLUMNS": "160", "DATABASE_URL": database}).invoke(app, list(map(str, arguments)))

    for place in ("public", "tenant_a", "tenant_b", "tenant_c"):
        arguments = ["up", "--dir", str(folder), "--database", database, "--schema", place]
        assert CliRunner().invoke(migrate.app, arguments).exit_code == 0
    return invoke


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement)


def test_describe_writes_a_dictionary_and_a_drawing_of_what_is_shipped(tmp_path: Path):
    done = CliRunner().invoke(app, ["describe", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    names = {Path(path).name for path in json.loads(done.stdout)}
    assert names == {f"{name}.{ending}" for name in ("control", "shard") for ending in ("md", "html", "mmd", "svg")}
    text = (tmp_path / "out" / "shard.md").read_text()
    assert "### shop.orders" in text
    assert "each with a comment" in text


def test_describe_reads_any_database_and_any_folder(schema: Command, database: str, folder: Path, tmp_path: Path):
    done = schema("describe", database, folder, "--schema", "tenant_a", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    by_name = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert "### tenant_a.items" in by_name["migrations.md"]
    assert "tenant_b" not in "".join(by_name.values())
    (described,) = [text for name, text in by_name.items() if name.startswith("scratch") and name.endswith(".md")]
    assert "What is sold" in described
    assert "`idx_items_name`" in described


def test_a_folder_and_the_database_it_has_made_do_not_differ(schema: Command, database: str, folder: Path):
    for place in ("public", "tenant_b"):
        done = schema("diff", folder, database, "--schema", place)
        assert (done.exit_code, done.stdout) == (0, "")


def test_a_difference_is_named_and_exits_with_1(schema: Command, database: str, folder: Path):
    execute(database, "ALTER TABLE items ADD COLUMN price integer; DROP INDEX idx_items_name")
    done = schema("diff", folder, database, "--schema", "public")
    assert done.exit_code == 1
    assert "+ column public.items.price" in done.stdout
    assert "- index public.items.idx_items_name" in done.stdout
    found = json.loads(schema("diff", database, folder, "--schema", "public", "--json").stdout)
    assert not found["same"]
    assert {one["change"] for one in found["differences"]} == {"missing in the first", "missing in the second"}


def test_two_databases_are_compared(each_postgres: Cluster, schema: Command, database: str):
    with each_postgres.database() as other:
        url = each_postgres.url(other)
        assert schema("diff", database, url, "--schema", "public").exit_code == 1
        assert schema("diff", url, url).exit_code == 0


def test_a_schema_that_drifted_is_named_and_the_others_are_not(schema: Command, database: str, folder: Path):
    arguments = ("drift", "--dir", folder, "--schema", "tenant_*")
    same = schema(*arguments)
    assert (same.exit_code, same.stdout) == (0, "")
    execute(database, "ALTER TABLE tenant_b.items ALTER name DROP NOT NULL; CREATE TABLE tenant_c.more (a integer)")
    execute(database, "GRANT SELECT ON tenant_a.items TO cloudlab_readonly")
    done = schema(*arguments)
    assert done.exit_code == 1
    assert done.stdout.split("tenant_b")[1].split("tenant_c")[0].split() == (
        ["~", "column", "items.name", "not", "null", "-", "true", "not", "null", "+", "false"]
    )
    assert "+ table more" in done.stdout
    found = {one["target"]: one["differences"] for one in json.loads(schema(*arguments, "--json").stdout)["targets"]}
    assert [one["kind"] for one in found["tenant_a"]] == ["table"]  # the grant that its neighbours have not


def test_a_place_that_is_behind_has_not_drifted(schema: Command, database: str, folder: Path):
    (folder / "003_more.sql").write_text(FILE.replace("items", "more"))
    assert schema("drift", "--dir", folder, "--schema", "tenant_*").exit_code == 0


def test_an_installation_that_was_just_migrated_has_not_drifted(config: Config, tmp_path: Path):
    runner = CliRunner(env={"CLOUDLAB_CONFIG": str(write_config(config, tmp_path)), "COLUMNS": "160"})
    done = runner.invoke(app, ["drift"])
    assert (done.exit_code, done.stdout) == (0, "")
    execute(config.shards[0].urls.owner_url, "ALTER TABLE shop.orders ADD COLUMN stray integer")
    done = runner.invoke(app, ["drift", "--target", "tenant"])
    assert done.exit_code == 1
    assert f"tenant:{config.shards[0].name}/shop" in done.stdout
    assert "+ column orders.stray" in done.stdout
    described = runner.invoke(app, ["diff", "tree:shard", f"shard:{config.shards[0].name}", "--schema", "cloudlab"])
    assert described.exit_code == 0, described.stdout
