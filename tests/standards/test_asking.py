"""A server is asked about queries, and does nothing but answer.

Standard: §5.2 Query Patterns
"""

import asyncio
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from cloudlab.cli.commands import app
from cloudlab.standards import asking, checking, files, reading, targets
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Finding, Rule
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script
from fixtures.postgres import TEMPLATES, Cluster

RULES = [rule for rule in every() if rule.asks and rule.query]
ROOT = Path(__file__).parents[2]


def judged(url: str, scripts: Sequence[Script], asked: Sequence[Rule] = RULES) -> list[Finding]:
    catalog, _ = asyncio.run(reading.read(url))
    answers = asyncio.run(asking.ask(url, asking.queries(scripts), catalog, checking.folded(scripts)))
    return list(checking.of_files(scripts, catalog, asked, answers))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_examples_are_judged_as_their_page_says(each_postgres: Cluster, rule: Rule):
    tables = rule.bad[0].rpartition("\n")[0]
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(tables.encode())
        for text in rule.bad:
            found = judged(url, [Script("q.sql", text.rpartition("\n")[2])], [rule])
            assert [one.rule.id for one in found] == [rule.id], text
        for text in rule.good:
            assert judged(url, [Script("q.sql", text.rpartition("\n")[2])], [rule]) == [], text


def test_nothing_is_executed(each_postgres: Cluster):
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)")
            conn.execute("CREATE FUNCTION f() RETURNS integer LANGUAGE plpgsql AS 'BEGIN DELETE FROM t; RETURN 1; END'")
            queries = "DELETE FROM t; INSERT INTO t VALUES ($1); SELECT f() FROM t; UPDATE t SET a = f() RETURNING a;"
            assert judged(url, [Script("q.sql", queries)]) == []
            assert conn.execute("SELECT count(*) FROM t").fetchone() == (1,)


@pytest.mark.parametrize(
    ("text", "numbered"),
    [
        (
            "SELECT a FROM t WHERE b = @tenantId::uuid AND c = @tenantId",
            "SELECT a FROM t WHERE b = $1::uuid AND c = $1",
        ),
        ("SELECT a FROM t WHERE b = $2 AND c = sqlc.narg('other')", "SELECT a FROM t WHERE b = $2 AND c = $3"),
        ("SELECT sqlc.embed(t) FROM t", "SELECT t.* FROM t"),
        ("SELECT a FROM t WHERE a @> b AND c <@d AND e = '@f' AND g = 'h@i'",) * 2,
    ],
)
def test_parameters_of_sqlc_are_parameters(text: str, numbered: str):
    assert asking.with_numbers(text) == numbered


def test_a_table_of_tenants_is_asked_about_where_one_of_them_has_it(each_postgres: Cluster):
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            for number in range(1, 13):
                schema = f"tenant_{number:03}"
                conn.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (order_id uuid)".encode())
        found = judged(url, [Script("q.sql", "SELECT order_id FROM orders; SELECT totl FROM orders")])
    assert [one.found.message for one in found] == ['the server refuses it: column "totl" does not exist']


def test_what_a_migration_is_about_to_add_is_not_missed(each_postgres: Cluster, tmp_path: Path):
    (tmp_path / "001_a.sql").write_text("CREATE TABLE t (a integer);\n")
    (tmp_path / "002_b.sql").write_text("ALTER TABLE t ADD COLUMN b integer;\n")
    (tmp_path / "app.py").write_text('A = "SELECT b FROM t WHERE a = %s"\nB = "SELECT t.a, x.c FROM t" + JOIN\n')
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE t (a integer)")
        assert judged(url, targets.scripts(files.read([str(tmp_path)], StringIO()))) == []
        (tmp_path / "002_b.sql").unlink()
        asked = CliRunner().invoke(app, ["check", url, str(tmp_path), "--select", "QY06"])
    assert asked.exit_code == 1
    assert f'{tmp_path}/app.py:1:1: error QY06: the server refuses it: column "b" does not exist' in asked.output


@pytest.mark.parametrize("tree", TEMPLATES)
def test_the_platforms_own_queries_fit_its_databases(migrated: Cluster, tree: str):
    scripts = [one for one in targets.scripts(files.read([str(ROOT / "src")], StringIO())) if one.is_part]
    scripts = [one for one in scripts if "standards/rules/" not in one.path]  # examples
    with migrated.database(tree, TEMPLATES[tree]) as name:
        url = migrated.url(name, "postgres")
        catalog, _ = asyncio.run(reading.read(url))
        answers = asyncio.run(asking.ask(url, asking.queries(scripts), catalog, Catalog()))
        found = list(checking.of_files(scripts, catalog, RULES, answers))
    assert len(answers) > 20
    assert [f"{one.at}: {one.found.message}" for one in found] == []
