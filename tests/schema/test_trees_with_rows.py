"""CloudLab's own migrations on a shop's rows: each goes down and up on the data of the version before it.

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from cloudlab.cli import loading
from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.schema import migrate
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.shop import readmodels
from fixtures.fingerprint import fingerprint
from fixtures.installation import MASTER_KEY, databases, migrate_templates
from fixtures.postgres import TEMPLATES, Cluster
from fixtures.shops import small_shop

# Those that hold rows of a shop with a few orders, and of a tenant in a schema of its own.
_TABLES = """
    SELECT c.oid::regclass::text, (xpath('/row/n/text()', query_to_xml(format(
        'SELECT concat(count(*), '' '', coalesce(sum(hashtextextended(t::text, 0)), 0)) AS n FROM %s AS t',
        c.oid::regclass), false, true, '')))[1]::text
    FROM pg_class AS c
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = ANY (%s::regnamespace[])
        AND c.relname <> 'schema_migrations'
"""


@pytest.fixture
def installed(each_postgres: Cluster, valkey_url: str, clickhouse_url: str) -> Iterator[Config]:
    """An installation on each server."""
    with databases(migrate_templates(each_postgres), TEMPLATES["control"], TEMPLATES["shard"]) as (control, shards):
        yield Config(control, shards, valkey_url, clickhouse_url, master_keys={1: MASTER_KEY})


@pytest.fixture
async def filled(installed: Config) -> Config:
    """The same with a shop in shared tables and one in a schema of its own; nobody is connected any more."""
    async with Platform.open(installed, projections=readmodels.ALL) as platform:
        for placement in ("row", "schema"):
            region = installed.shards[0].region
            tenant = await platform.create_tenant(f"of-{placement}", region=region, placement=placement)
            await loading.load(platform, tenant, small_shop(orders=8), concurrency=2)
    return installed


def rows(url: str, *schemas: str) -> dict[str, str]:
    """Return number and checksum of the rows of each table."""
    with psycopg.connect(url) as conn:
        return dict(conn.execute(sql.SQL(_TABLES.replace("%s AS t", "%%s AS t")), [list(schemas)]).fetchall())


def as_superuser(cluster: Cluster, owner_url: str) -> str:
    """Return the URL of a login that row security hides nothing from."""
    with psycopg.connect(owner_url) as conn:
        return cluster.url(conn.info.dbname, "postgres")


@pytest.mark.parametrize("tree", [Tree.TENANT, Tree.SHARD, Tree.CONTROL])
async def test_every_migration_goes_down_and_up_on_rows(filled: Config, each_postgres: Cluster, tree: Tree):
    shard = filled.shards[0].urls.owner_url
    url = filled.control.owner_url if tree is Tree.CONTROL else shard
    files = load_tree(tree)
    admin = as_superuser(each_postgres, url)
    with psycopg.connect(admin) as conn:
        found = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)' ORDER BY 1"
        schemas = [str(row[0]) for row in conn.execute(found).fetchall()]
    own = (
        [PLATFORM_SCHEMA] if tree is not Tree.TENANT else [one for one in schemas if one.startswith(("shop", "tenant"))]
    )
    held = rows(admin, *schemas)
    assert sum(not text.startswith("0 ") for text in held.values()) > (2 if tree is Tree.CONTROL else 20)
    if tree is Tree.SHARD:  # the shop stands on it
        for schema in (one for one in schemas if one.startswith(("shop", "tenant"))):
            await migrate.down(shard, load_tree(Tree.TENANT), schema, to=0)
    for file in reversed(files):
        for schema in own:
            before, print_before = rows(admin, *schemas), fingerprint(admin, schema)
            await migrate.down(url, files, schema)
            left = rows(admin, *schemas)
            await migrate.up(url, files, schema, to=file.number)
            assert fingerprint(admin, schema) == print_before, (
                f"{schema}: {file.path.name} is another after down and up"
            )
            again = rows(admin, *schemas)
            assert again.keys() == before.keys()
            kept = {name: text for name, text in left.items() if name in again}
            assert {name: again[name].split(" ")[0] for name in kept} == {
                name: text.split(" ")[0] for name, text in kept.items()
            }, f"{schema}: up {file.path.name} has lost or made rows"
            await migrate.down(url, files, schema)
            assert rows(admin, *schemas) == left
