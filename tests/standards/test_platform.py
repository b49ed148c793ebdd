"""CloudLab's own databases, migrations and queries pass the rules it holds others to.

Standard: §11.1 Design Principles
"""

import asyncio
from io import StringIO
from pathlib import Path

import pytest

from cloudlab.standards import checking, files, reading, running
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.order import Order
from fixtures.postgres import TEMPLATES, Cluster

ROOT = Path(__file__).parents[2]
# What a comment hides in the migrations stands in a database without its comment: the same findings, for the same
# reason. The control database says where tenants live, before a session is of one of them, and where
# they lived; SKUs stand on old invoices.
EXPLAINED = {
    "control": {
        ("FK06", "moves"),
        ("TN01", "erasures"),
        ("TN01", "moves"),
        ("TN01", "placements"),
        ("TN01", "tenant_lookups"),
    },
    "shard": {("RT02", "products.uq_products_sku")},
}


@pytest.mark.parametrize("tree", TEMPLATES)
def test_the_platforms_own_databases_have_no_finding(migrated: Cluster, tree: str):
    async def read(url: str) -> Catalog:
        async with reading.connect(url) as conn:
            return await reading.read_schema(conn)

    with migrated.database(tree, TEMPLATES[tree]) as name:
        catalog = asyncio.run(read(migrated.url(name, "postgres")))
    found = {
        (finding.rule.id, finding.found.name.split(".", 1)[-1]): finding.found.message
        for finding in checking.of_schema(catalog)
    }
    assert {key: found[key] for key in found if key not in EXPLAINED[tree]} == {}
    assert EXPLAINED[tree] <= set(found)


def test_the_platforms_own_migrations_and_queries_have_no_finding(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    targets = ("src",)
    result = running.run(Order(targets, fail_on="note"), files.read(targets, StringIO()))
    assert result.text == "nothing found"


def test_a_mistake_in_the_platform_would_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(ROOT)
    (tmp_path / "store.py").write_text('SQL = "SELECT name FROM products ORDER BY name LIMIT 10 OFFSET 50"\n')
    targets = ("src", str(tmp_path))
    assert "QY01" in running.run(Order(targets), files.read(targets, StringIO())).text
