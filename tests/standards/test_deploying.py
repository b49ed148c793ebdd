"""Migrations are held beside the database that they are for.

Standard: §6.1 Migration Tracking
"""

import asyncio
import re
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from cloudlab.cli.commands import app
from cloudlab.config import Config
from cloudlab.standards import checking, deploying, files, reading, targets
from cloudlab.standards.rule import Finding, Rule
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script
from fixtures.postgres import Cluster

RULES = [rule for rule in every() if rule.deployed]
ROOT = Path(__file__).parents[2]
HEADER = "".join(f"-- {name}: {{0}}\n" for name in ("Migration", "Author")) + (
    "-- Date: 2026-01-01\n-- Description: {0}\n-- Standard: §2.1 Table Naming\n"
)


def judged(postgres: Cluster, rule: Rule, example: str) -> list[Finding]:
    """Judge an example: what it says of the database, then its files."""
    before, *texts = example.split("\n-- next file\n")
    named = [(re.match(r"-- file: (\S+)\n", text), text) for text in texts]
    scripts = [Script(found[1], text[found.end() :], n) for n, (found, text) in enumerate(named, 1) if found]
    with postgres.database() as name:
        url = postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(before.encode())
        catalog, _ = asyncio.run(reading.read(url))
        deployments = asyncio.run(deploying.read(url, checking.migrations_of(scripts), catalog))
    return list(checking.of_deployments(deployments, [rule]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_examples_are_judged_as_their_page_says(each_postgres: Cluster, rule: Rule):
    for text in rule.bad:
        assert [one.rule.id for one in judged(each_postgres, rule, text)] == [rule.id], text
    for text in rule.good:
        assert judged(each_postgres, rule, text) == [], text


def written(folder: Path, name: str, up: str) -> None:
    text = HEADER.format(name.replace("_", " "))
    (folder / f"{name}.sql").write_text(f"{text}\n-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n")


def cloudlab(*arguments: str) -> str:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments)).output


def test_the_engines_own_history_is_read_from_end_to_end(each_postgres: Cluster, tmp_path: Path):
    written(tmp_path, "001_a", "CREATE TABLE a (a integer);")
    written(tmp_path, "003_b", "CREATE TABLE b (a integer);")
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        cloudlab("migrate", "up", "--dir", str(tmp_path), "--database", url)
        ask = ("check", url, str(tmp_path), "--select", "MF", "--select", "LK15", "--ignore", "MF04")
        assert cloudlab(*ask).strip() == "nothing found"
        written(tmp_path, "003_b", "CREATE TABLE b (a bigint);")
        written(tmp_path, "002_late", "CREATE TABLE late (a integer);")
        written(tmp_path, "004_next", "ALTER TABLE a ALTER COLUMN a TYPE bigint;")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("UPDATE pg_class SET relpages = 250000 WHERE relname = 'a'")
        said = cloudlab(*ask)
    assert "003_b.sql:1:1: error MF02: 003_b.sql: was changed after it was applied here" in said
    assert "002_late.sql:1:1: warning MF09: 002_late.sql: is not applied here, and the later 003 is" in said
    assert "004_next.sql:8:1: error LK15: a: a (2.0 GB) is rewritten in about 34 s, and everybody waits" in said


@pytest.mark.parametrize("tool", ["golang", "flyway"])
def test_a_migration_that_stopped_halfway_is_reported(each_postgres: Cluster, tool: str):
    tables = {
        "golang": "CREATE TABLE schema_migrations (version bigint, dirty boolean);"
        "INSERT INTO schema_migrations VALUES (2, true);",
        "flyway": "CREATE TABLE flyway_schema_history (version text, type text, script text, checksum integer,"
        " success boolean); INSERT INTO flyway_schema_history VALUES ('1', 'SQL', 'V1__a.sql', 1, true),"
        " ('2', 'SQL', 'V2__b.sql', 1, false);",
    }
    names = ("1_a.up.sql", "2_b.up.sql") if tool == "golang" else ("V1__a.sql", "V2__b.sql")
    texts = "".join(f"\n-- next file\n-- file: {name}\nCREATE TABLE t (a integer);" for name in names)
    found = judged(each_postgres, next(one for one in RULES if one.id == "MF02"), tables[tool] + texts)
    assert "did not run to its end" in found[-1].found.message


def test_a_table_that_cannot_be_named_in_another_schema_is_read(each_postgres: Cluster):
    before = """CREATE SCHEMA "Odd one"; CREATE TABLE "Odd one".schema_migrations (version text);
        INSERT INTO "Odd one".schema_migrations VALUES ('001'), ('003')"""
    text = "\n-- next file\n".join([before, *(f"-- file: 00{n}_a.sql\nCREATE TABLE t (a integer);" for n in (1, 2, 3))])
    assert len(judged(each_postgres, next(one for one in RULES if one.id == "MF09"), text)) == 1


def test_the_platforms_own_databases_have_what_its_files_say(config: Config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    trees = "src/cloudlab/schema/migrations"
    for url in (config.control.owner_url, *(shard.urls.owner_url for shard in config.shards)):
        assert cloudlab("check", url, trees, "--select", "MF", "--select", "LK15").strip() == "nothing found"
        catalog, _ = asyncio.run(reading.read(url))
        scripts = checking.migrations_of(targets.scripts(files.read([trees], StringIO())))
        assert asyncio.run(deploying.read(url, scripts, catalog))
